package failover

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/raftkms/raftkms/hsm"
)

var errKeyClosed = errors.New("the key is closed")

// Load loads the key in the device that serves; the other loads it when it is
// first asked for it. What is in memory of this process needs no second.
func (p *Pair) Load(ctx context.Context, w hsm.Wrapped) (hsm.Loaded, error) {
	type where struct {
		i      int
		loaded hsm.Loaded
	}
	at, err := call[where]{
		do: func(ctx context.Context, i int, module hsm.Module) (where, error) {
			loaded, err := module.Load(ctx, w)
			return where{i, loaded}, err
		},
		dispose: func(l where) { _ = l.loaded.Close() },
	}.on(ctx, p)
	if err != nil || w.Level != hsm.LevelHSM {
		return at.loaded, err
	}
	k := &key{p: p, wrapped: w}
	for i := range k.places {
		k.places[i].loading = make(chan struct{}, 1)
	}
	k.places[at.i].loaded.Store(&at.loaded)
	switch at.loaded.(type) {
	case hsm.Key:
		return &blocks{k}, nil
	case hsm.Signer:
		return &signer{k}, nil
	case hsm.Decrypter:
		return &decrypter{k}, nil
	case hsm.Agreer:
		return &agreer{k}, nil
	case hsm.MACer:
		return &macer{k}, nil
	default:
		return nil, errors.Join(fmt.Errorf("loading a key: %w: %T", hsm.ErrUnsupported, at.loaded), k.Close())
	}
}

// key is one key in both devices, or so far in one.
type key struct {
	p       *Pair
	wrapped hsm.Wrapped
	places  [2]place
	closed  atomic.Bool
}

// place is what one device has of a key.
type place struct {
	loaded  atomic.Pointer[hsm.Loaded]
	loading chan struct{} // held by who loads: one for all who wait
}

// in returns the key as the device has it.
func (k *key) in(ctx context.Context, i int, module hsm.Module) (hsm.Loaded, error) {
	at := &k.places[i]
	if l := at.loaded.Load(); l != nil {
		return *l, nil
	}
	if k.closed.Load() {
		return nil, errKeyClosed
	}
	select {
	case at.loading <- struct{}{}:
		defer func() { <-at.loading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l := at.loaded.Load(); l != nil {
		return *l, nil
	}
	loaded, err := module.Load(ctx, k.wrapped)
	if err != nil {
		return nil, fmt.Errorf("loading the key in the %s HSM: %w", k.p.members[i].name, err)
	}
	at.loaded.Store(&loaded)
	if k.closed.Load() { // Close may have looked here before
		if l := at.loaded.Swap(nil); l != nil {
			return nil, errors.Join(errKeyClosed, (*l).Close())
		}
		return nil, errKeyClosed
	}
	return loaded, nil
}

// Close closes what either device has. Those that are out have lost it anyway.
func (k *key) Close() error {
	k.closed.Store(true)
	var all []error
	for i := range k.places {
		if l := k.places[i].loaded.Swap(nil); l != nil {
			all = append(all, (*l).Close())
		}
	}
	return errors.Join(all...)
}

// use has a device do something with its key, which implements K.
func use[K hsm.Loaded, T any](ctx context.Context, k *key, do func(ctx context.Context, key K) (T, error), dispose func(T)) (T, error) {
	return call[T]{
		do: func(ctx context.Context, i int, module hsm.Module) (none T, err error) {
			loaded, err := k.in(ctx, i, module)
			if err != nil {
				return none, err
			}
			same, is := loaded.(K)
			if !is {
				return none, fmt.Errorf("%w: the two HSMs make different things of a %s key", hsm.ErrUnsupported, k.wrapped.Spec)
			}
			return do(ctx, same)
		},
		dispose: dispose,
	}.on(ctx, k.p)
}

// wipe disposes of what is secret.
func wipe(b []byte) { clear(b) }

// blocks is an AES key.
type blocks struct{ *key }

// EncryptBlocks implements [hsm.Key].
func (k *blocks) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	return encrypt(dst, src, func(in []byte) ([]byte, error) {
		return use(ctx, k.key, func(ctx context.Context, key hsm.Key) ([]byte, error) {
			return encrypted(ctx, key, in)
		}, wipe)
	})
}

// encrypt hands a device blocks of its own, and gives the caller what came back.
// What a device may hold on to is for the garbage collector to free, but is
// wiped as soon as it answers.
func encrypt(dst, src []byte, do func(in []byte) ([]byte, error)) error {
	if len(dst) != len(src) {
		return fmt.Errorf("encrypting blocks: room for %d bytes, input of %d", len(dst), len(src))
	}
	out, err := do(bytes.Clone(src))
	if err != nil {
		return err
	}
	copy(dst, out)
	clear(out)
	return nil
}

func encrypted(ctx context.Context, key hsm.Key, in []byte) ([]byte, error) {
	out := make([]byte, len(in))
	if err := key.EncryptBlocks(ctx, out, in); err != nil {
		clear(out)
		return nil, err
	}
	return out, nil
}

// signer is the private half of a pair that signs.
type signer struct{ *key }

// Sign implements [hsm.Signer].
func (k *signer) Sign(ctx context.Context, scheme hsm.Scheme, digest []byte) ([]byte, error) {
	digest = bytes.Clone(digest)
	return use(ctx, k.key, func(ctx context.Context, key hsm.Signer) ([]byte, error) { return key.Sign(ctx, scheme, digest) }, nil)
}

// decrypter is the private half of a pair that decrypts.
type decrypter struct{ *key }

// Decrypt implements [hsm.Decrypter].
func (k *decrypter) Decrypt(ctx context.Context, padding hsm.Padding, label, ciphertext []byte) ([]byte, error) {
	label, ciphertext = bytes.Clone(label), bytes.Clone(ciphertext)
	return use(ctx, k.key, func(ctx context.Context, key hsm.Decrypter) ([]byte, error) {
		return key.Decrypt(ctx, padding, label, ciphertext)
	}, wipe)
}

// DecryptPKCS1 implements [hsm.Decrypter].
func (k *decrypter) DecryptPKCS1(ctx context.Context, dst, ciphertext []byte) error {
	ciphertext = bytes.Clone(ciphertext)
	before := bytes.Clone(dst) // what stays where the block is not opened; a device that hangs may read it yet
	out, err := use(ctx, k.key, func(ctx context.Context, key hsm.Decrypter) ([]byte, error) {
		out := bytes.Clone(before)
		return out, key.DecryptPKCS1(ctx, out, ciphertext)
	}, wipe)
	if err != nil {
		return err
	}
	copy(dst, out)
	clear(out)
	return nil
}

// agreer is the private half of a pair that agrees on secrets.
type agreer struct{ *key }

// Agree implements [hsm.Agreer].
func (k *agreer) Agree(ctx context.Context, peer []byte) ([]byte, error) {
	peer = bytes.Clone(peer)
	return use(ctx, k.key, func(ctx context.Context, key hsm.Agreer) ([]byte, error) { return key.Agree(ctx, peer) }, wipe)
}

// macer is an HMAC key.
type macer struct{ *key }

// MAC implements [hsm.MACer].
func (k *macer) MAC(ctx context.Context, message []byte) ([]byte, error) {
	message = bytes.Clone(message)
	return use(ctx, k.key, func(ctx context.Context, key hsm.MACer) ([]byte, error) { return key.MAC(ctx, message) }, nil)
}
