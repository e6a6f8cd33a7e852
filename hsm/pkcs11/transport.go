package pkcs11

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

const (
	transportBits = 3072
	transportSize = transportBits / 8 // of a wrapped root, in bytes
)

// oaep is a way of wrapping, and its name in a bundle.
type oaep struct {
	name      string
	hash, mgf uint
}

// oaeps are the ways of wrapping, the better first. SHA-1 (all that SoftHSM
// 2.6.1 has) is sound here: OAEP does not need its hash to resist collisions.
var oaeps = [...]oaep{
	{"RSA-OAEP-SHA256", p11.CKM_SHA256, p11.CKG_MGF1_SHA256},
	{"RSA-OAEP-SHA1", p11.CKM_SHA_1, p11.CKG_MGF1_SHA1},
}

func (o oaep) mechanism() []*p11.Mechanism {
	return []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS_OAEP, p11.NewOAEPParams(o.hash, o.mgf, p11.CKZ_DATA_SPECIFIED, nil))}
}

// TransportKey finds the pair by its label, or makes it.
func (m *Module) TransportKey(ctx context.Context) (publicKey []byte, err error) {
	err = m.administer(ctx, func(s *session) error {
		public, private, err := m.transportPair(s)
		if err != nil {
			return err
		}
		if len(public) != 1 || len(private) != 1 {
			// None yet, or the rest of an attempt that was cut off.
			if err := m.destroyAll(s, append(private, public...)); err != nil {
				return err
			}
			if public, err = m.makeTransportPair(s); err != nil {
				return err
			}
		}
		publicKey, err = m.readPublic(s, public[0])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("finding the transport key: %w", err)
	}
	return publicKey, nil
}

func (m *Module) transportPair(s *session) (public, private []p11.ObjectHandle, err error) {
	label := attribute(p11.CKA_LABEL, transportLabel)
	if public, err = m.find(s, template{attribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY), attribute(p11.CKA_TOKEN, true), label}); err != nil {
		return nil, nil, err
	}
	private, err = m.find(s, template{attribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY), attribute(p11.CKA_TOKEN, true), label})
	return public, private, err
}

func (m *Module) makeTransportPair(s *session) (public []p11.ObjectHandle, err error) {
	inner := newNested(withoutKinds(forcedOnRoots(), m.refused))
	defer inner.free()
	s.stay.slowly()
	h, _, err := m.dev.api.GenerateKeyPair(s.handle, mechanism(p11.CKM_RSA_PKCS_KEY_PAIR_GEN), transportPublic(), transportPrivate(inner))
	if err != nil {
		return nil, fmt.Errorf("making the pair: %w", err)
	}
	return []p11.ObjectHandle{h}, nil
}

func (m *Module) readPublic(s *session, public p11.ObjectHandle) ([]byte, error) {
	parts, err := m.dev.api.GetAttributeValue(s.handle, public,
		template{attribute(p11.CKA_MODULUS, nil), attribute(p11.CKA_PUBLIC_EXPONENT, nil)})
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(parts[0].Value), E: int(new(big.Int).SetBytes(parts[1].Value).Int64())}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	if _, err := parseTransport(der); err != nil {
		return nil, fmt.Errorf("the token made another key than asked for: %w", err)
	}
	return der, nil
}

func parseTransport(der []byte) (*rsa.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("parsing the transport key: %w", err)
	}
	key, is := parsed.(*rsa.PublicKey)
	if !is || key.N.BitLen() != transportBits || key.E < 1<<16+1 {
		return nil, fmt.Errorf("the transport key is not RSA with %d bits", transportBits)
	}
	return key, nil
}

// ExportRoots has the security officer mark the transport key as trusted, and
// then, with the user logged in again, the device wrap each root under it. Calls
// of others wait meanwhile; HSM level keys are loaded again when they are next used.
func (m *Module) ExportRoots(ctx context.Context, publicKey, officerPIN []byte) (hsm.RootBundle, error) {
	return m.exportUnder(ctx, 0, publicKey, officerPIN)
}

func (m *Module) exportUnder(ctx context.Context, generation hsm.RootGeneration, publicKey, officerPIN []byte) (hsm.RootBundle, error) {
	fail := func(err error) (hsm.RootBundle, error) {
		return hsm.RootBundle{}, fmt.Errorf("exporting the roots: %w", err)
	}
	to, err := parseTransport(publicKey)
	if err != nil {
		return fail(err)
	}
	if err := m.admin.Acquire(ctx, 1); err != nil {
		return fail(err)
	}
	defer m.admin.Release(1)
	var bundle hsm.RootBundle
	err = m.dev.callAlone(ctx, func(s *session) (err error) {
		t, err := m.table(s) // shows, too, whether something was lost before
		if err == nil {
			_, err = t.root(t.pick(generation), hsm.RootHSM)
		}
		if err == nil {
			bundle, err = m.exportRoots(t.pick(generation), to, officerPIN)
		}
		return err
	})
	if err != nil {
		return fail(err)
	}
	return bundle, nil
}

// exportRoots is for a caller that is alone in the device.
func (m *Module) exportRoots(generation hsm.RootGeneration, to *rsa.PublicKey, officerPIN []byte) (bundle hsm.RootBundle, err error) {
	var trusted p11.ObjectHandle
	err = m.dev.asOfficer(officerPIN, func(s p11.SessionHandle) (err error) {
		trusted, err = m.dev.api.CreateObject(s, trustedPublic(to.N.Bytes(), big.NewInt(int64(to.E)).Bytes()))
		if err != nil {
			return fmt.Errorf("marking the transport key as trusted: %w", err)
		}
		return nil
	})
	if err != nil {
		return hsm.RootBundle{}, err
	}
	s := &session{handle: m.dev.idle, open: true}
	defer func() {
		if derr := m.dev.api.DestroyObject(s.handle, trusted); derr != nil {
			// It goes with its session then.
			err = errors.Join(err, fmt.Errorf("destroying the trusted key: %w", derr), m.dev.connect())
		}
	}()
	return m.wrapRoots(s, generation, trusted)
}

// wrapRoots wraps a root set. The first root finds out which way of
// wrapping the device has.
func (m *Module) wrapRoots(s *session, generation hsm.RootGeneration, trusted p11.ObjectHandle) (hsm.RootBundle, error) {
	t, err := m.table(s)
	if err != nil {
		return hsm.RootBundle{}, err
	}
	ways := oaeps[:]
	b := hsm.RootBundle{Cluster: t.cluster, Generation: generation, Wrapped: make(map[hsm.Root][]byte)}
	for _, k := range rootKinds {
		h, err := t.root(generation, k.root)
		if err != nil {
			return hsm.RootBundle{}, err
		}
		var wrapped []byte
		for {
			wrapped, err = m.dev.api.WrapKey(s.handle, ways[0].mechanism(), trusted, h)
			if err == nil || len(ways) == 1 || faultOf(err) != faultNone {
				break
			}
			ways = ways[1:]
		}
		if err != nil {
			return hsm.RootBundle{}, fmt.Errorf("wrapping %s: %w", k.name, err)
		}
		b.Wrapped[k.root] = wrapped
	}
	b.Mechanism = ways[0].name
	return b, nil
}

// ImportRoots unwraps the bundle with the private transport key. The device
// refuses to make anything weaker of it than a root: see forcedOnRoots.
func (m *Module) ImportRoots(ctx context.Context, bundle hsm.RootBundle) error {
	how, err := checkBundle(bundle)
	if err == nil {
		err = m.administer(ctx, func(s *session) error { return m.importRoots(s, bundle, how) })
	}
	if err != nil {
		return fmt.Errorf("importing the roots: %w", err)
	}
	return nil
}

func (m *Module) importRoots(s *session, bundle hsm.RootBundle, how oaep) error {
	public, private, err := m.transportPair(s)
	if err != nil {
		return err
	}
	err = m.makeRoots(s, bundle.Cluster, bundle.Generation, func(k rootKind, inner nested) (p11.ObjectHandle, error) {
		if len(private) != 1 {
			return 0, errors.New("there is no transport key that they could have been wrapped to")
		}
		h, err := m.dev.api.UnwrapKey(s.handle, how.mechanism(), private[0], bundle.Wrapped[k.root],
			k.template(bundle.Cluster, bundle.Generation, 0, inner))
		refused, doubt := unwrapRefused(err)
		if refused && doubt {
			var some [1]byte
			refused = m.dev.api.RandomInto(s.handle, some[:]) == nil
		}
		if refused {
			return 0, fmt.Errorf("%w (%v)", hsm.ErrUnwrap, err)
		}
		return h, err
	})
	if err != nil {
		return err
	}
	if err := m.destroyAll(s, append(private, public...)); err != nil {
		return fmt.Errorf("the roots are imported, but the transport key is still there: %w", err)
	}
	return nil
}

func (m *Module) destroyAll(s *session, objects []p11.ObjectHandle) error {
	for _, o := range objects {
		if err := m.dev.api.DestroyObject(s.handle, o); err != nil {
			return fmt.Errorf("destroying the transport key: %w", err)
		}
	}
	return nil
}

func checkBundle(b hsm.RootBundle) (oaep, error) {
	if len(b.Wrapped) != len(rootKinds) {
		return oaep{}, fmt.Errorf("%w: the bundle has %d keys instead of %d", hsm.ErrUnwrap, len(b.Wrapped), len(rootKinds))
	}
	for _, k := range rootKinds {
		if len(b.Wrapped[k.root]) != transportSize {
			return oaep{}, fmt.Errorf("%w: the bundle has no proper %s", hsm.ErrUnwrap, k.name)
		}
	}
	for _, o := range oaeps {
		if o.name == b.Mechanism {
			return o, nil
		}
	}
	return oaep{}, fmt.Errorf("%w: the bundle is wrapped by %q", hsm.ErrUnsupported, b.Mechanism)
}
