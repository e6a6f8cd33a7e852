package soft

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/hsm"
)

const (
	// mechanism is how the roots are wrapped to a transport key. The label of
	// the padding names cluster, generation and root.
	mechanism     = "RSA-OAEP-SHA256"
	transportBits = 3072
)

// TransportKey implements [hsm.Module].
func (m *Module) TransportKey(ctx context.Context) ([]byte, error) {
	done, err := m.change(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding the transport key: %w", err)
	}
	defer done()
	pair, err := m.readTransport()
	if err != nil {
		return nil, err
	}
	if pair == nil {
		if pair, err = m.createTransport(); err != nil {
			return nil, err
		}
	}
	public, err := x509.MarshalPKIXPublicKey(&pair.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("encoding the transport key: %w", err)
	}
	return public, nil
}

// ExportRoots implements [hsm.Module]. The module has no security officer, so
// the PIN is ignored.
func (m *Module) ExportRoots(ctx context.Context, publicKey, _ []byte) (hsm.RootBundle, error) {
	return m.exportUnder(ctx, 0, publicKey)
}

func (m *Module) exportUnder(ctx context.Context, generation hsm.RootGeneration, publicKey []byte) (hsm.RootBundle, error) {
	public, err := parseTransport(publicKey)
	if err != nil {
		return hsm.RootBundle{}, fmt.Errorf("exporting the roots: %w", err)
	}
	bundle := hsm.RootBundle{Mechanism: mechanism, Wrapped: make(map[hsm.Root][]byte)}
	err = m.use(ctx, generation, func(s *rootSet) error {
		bundle.Cluster, bundle.Generation = m.cluster, s.generation
		raw := s.raw.Bytes()
		for _, root := range everyRoot {
			label := transportLabel(bundle.Cluster, bundle.Generation, root)
			wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, rootOf(raw, root), label)
			if err != nil {
				return err
			}
			bundle.Wrapped[root] = wrapped
		}
		return nil
	})
	if err != nil {
		return hsm.RootBundle{}, fmt.Errorf("exporting the roots: %w", err)
	}
	return bundle, nil
}

// ImportRoots implements [hsm.Module]. A bundle that is refused leaves the
// transport key in place.
func (m *Module) ImportRoots(ctx context.Context, bundle hsm.RootBundle) error {
	done, err := m.change(ctx)
	if err != nil {
		return fmt.Errorf("importing the roots: %w", err)
	}
	defer done()
	if bundle.Mechanism != mechanism {
		return fmt.Errorf("importing the roots: wrapped with %q, not %s: %w", bundle.Mechanism, mechanism, hsm.ErrUnsupported)
	}
	pair, err := m.readTransport()
	if err != nil {
		return err
	}
	if pair == nil {
		return errors.New("importing the roots: this module has no transport key: ask it for one, and have the roots wrapped to that")
	}
	plain, err := unwrapBundle(pair, bundle)
	if err != nil {
		return fmt.Errorf("importing the roots: %w", err)
	}
	if err := m.add(bundle.Cluster, bundle.Generation, plain); err != nil {
		clear(plain)
		return fmt.Errorf("importing the roots: %w", err)
	}
	if err := removeFile(m.transportName()); err != nil {
		return fmt.Errorf("the roots are imported, but the transport key remains: %w", err)
	}
	return nil
}

// unwrapBundle returns the four keys in their order.
func unwrapBundle(pair *rsa.PrivateKey, bundle hsm.RootBundle) ([]byte, error) {
	if len(bundle.Wrapped) != len(everyRoot) {
		return nil, fmt.Errorf("%d keys instead of %d: %w", len(bundle.Wrapped), len(everyRoot), hsm.ErrUnwrap)
	}
	plain := make([]byte, rootSetSize)
	for _, root := range everyRoot {
		label := transportLabel(bundle.Cluster, bundle.Generation, root)
		key, err := rsa.DecryptOAEP(sha256.New(), nil, pair, bundle.Wrapped[root], label)
		if err != nil || len(key) != rootSize {
			clear(plain)
			return nil, fmt.Errorf("key %d of the root set: %w", root, hsm.ErrUnwrap)
		}
		copy(rootOf(plain, root), key)
		clear(key)
	}
	return plain, nil
}

func transportLabel(cluster hsm.ClusterID, generation hsm.RootGeneration, root hsm.Root) []byte {
	label := append([]byte("raftkms root transport v1"), cluster[:]...)
	label = binary.BigEndian.AppendUint32(label, uint32(generation))
	return append(label, byte(root))
}

func parseTransport(der []byte) (*rsa.PublicKey, error) {
	if len(der) > 1024 {
		return nil, fmt.Errorf("a transport key of %d bytes", len(der))
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading the transport key: %w", err)
	}
	public, is := key.(*rsa.PublicKey)
	if !is || public.N.BitLen() != transportBits {
		return nil, fmt.Errorf("the transport key is not RSA with %d bits: %w", transportBits, hsm.ErrUnsupported)
	}
	return public, nil
}

// readTransport returns nil when there is no transport pair.
func (m *Module) readTransport() (*rsa.PrivateKey, error) {
	name := m.transportName()
	b, err := readOptional(name)
	if err != nil {
		return nil, fmt.Errorf("reading the transport key: %w", err)
	}
	if b == nil {
		return nil, nil
	}
	contents, err := m.vault.authentic(b)
	if err != nil {
		return nil, fmt.Errorf("reading the transport key in %s: %w", name, err)
	}
	var f transportFile
	if err := decode(transportMagic, contents, &f); err != nil {
		return nil, fmt.Errorf("reading the transport key in %s: %w", name, err)
	}
	if !bytes.Equal(f.PublicKey, m.vault.public) {
		return nil, fmt.Errorf("reading the transport key in %s: %w", name, errOtherVault)
	}
	der, err := m.vault.open([]byte(transportMagic), f.Sealed)
	if err != nil {
		return nil, fmt.Errorf("reading the transport key in %s: %w", name, errFormat)
	}
	defer clear(der)
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("reading the transport key in %s: %w", name, errFormat)
	}
	pair, is := key.(*rsa.PrivateKey)
	if !is {
		return nil, fmt.Errorf("reading the transport key in %s: %w", name, errFormat)
	}
	return pair, nil
}

func (m *Module) createTransport() (*rsa.PrivateKey, error) {
	pair, err := rsa.GenerateKey(rand.Reader, transportBits)
	if err != nil {
		return nil, fmt.Errorf("making the transport key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		return nil, fmt.Errorf("encoding the transport key: %w", err)
	}
	defer clear(der)
	sealed, err := m.vault.seal([]byte(transportMagic), der)
	if err != nil {
		return nil, fmt.Errorf("encrypting the transport key: %w", err)
	}
	contents, err := encode(transportMagic, transportFile{PublicKey: m.vault.public, Sealed: sealed})
	if err != nil {
		return nil, err
	}
	if contents, err = m.vault.authenticate(contents); err != nil {
		return nil, err
	}
	if err := writeFile(m.transportName(), contents); err != nil {
		return nil, fmt.Errorf("writing the transport key: %w", err)
	}
	return pair, nil
}

func (m *Module) transportName() string { return m.config.RootsFile + ".transport" }
