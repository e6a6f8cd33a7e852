package hsmtest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"maps"
	"testing"

	"github.com/raftkms/raftkms/hsm"
)

func (s *suite) describe(t *testing.T) {
	d := s.empty(t).Describe()
	if d.Kind == "" || d.MaxBlocks < 2 {
		t.Errorf("kind %q, %d blocks at most: a derivation takes two", d.Kind, d.MaxBlocks)
	}
}

// Without roots nothing that needs one works; with them nothing makes them twice.
func (s *suite) rootsLife(t *testing.T) {
	ctx := testContext(t)
	m := s.empty(t)
	_, openErr := m.OpenRoots(ctx, home)
	_, generateErr := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	_, loadErr := m.Load(ctx, hsm.Wrapped{Level: hsm.LevelHSM, Spec: hsm.SpecAES256, Generation: 1, Blob: make([]byte, 40)})
	_, sealErr := m.Seal(ctx)
	_, macErr := m.MAC(ctx, []byte("message"))
	_, exportErr := m.ExportRoots(ctx, s.stranger, s.OfficerPIN)
	for name, err := range map[string]error{
		"OpenRoots": openErr, "Generate": generateErr, "Load": loadErr, "Seal": sealErr, "MAC": macErr, "ExportRoots": exportErr,
		"VerifyMAC":    m.VerifyMAC(ctx, []byte("message"), make([]byte, 32)),
		"DestroyRoots": m.DestroyRoots(ctx, home, 1),
	} {
		if !errors.Is(err, hsm.ErrNoRoots) {
			t.Errorf("%s on an empty module: %v", name, err)
		}
	}

	ok(t, m.CreateRoots(ctx, home, 1))
	ok(t, m.Check(ctx))
	w, k := generate(t, m, hsm.LevelHSM)
	expect := encrypt(t, k, blocks(2))
	if err := m.CreateRoots(ctx, home, 1); !errors.Is(err, hsm.ErrRootsExist) {
		t.Errorf("CreateRoots twice: %v", err)
	}
	if !bytes.Equal(encrypt(t, load(t, m, w), blocks(2)), expect) {
		t.Error("the refused CreateRoots changed the roots")
	}

	m = s.reopen(t, m)
	if _, err := m.OpenRoots(ctx, foreign); !errors.Is(err, hsm.ErrForeignRoots) {
		t.Errorf("OpenRoots of another cluster: %v", err)
	}
	generation, err := m.OpenRoots(ctx, home)
	ok(t, err)
	if generation != 1 {
		t.Errorf("OpenRoots found generation %d", generation)
	}

	ok(t, m.DestroyRoots(ctx, home, 1))
	if _, err := m.Load(ctx, w); !errors.Is(err, hsm.ErrNoRoots) {
		t.Errorf("Load after DestroyRoots: %v", err)
	}
	m = s.reopen(t, m)
	if _, err := m.OpenRoots(ctx, home); !errors.Is(err, hsm.ErrNoRoots) {
		t.Errorf("OpenRoots after DestroyRoots and a restart: %v", err)
	}
}

// While the roots are rotated both generations open what they wrapped; the
// highest is the current one; destroying one leaves the other alone.
func (s *suite) rootsGenerations(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	for i, level := range levels {
		generation := hsm.RootGeneration(2*i + 2) // 2, then 4
		old, oldKey := generate(t, m, level)
		expectOld := encrypt(t, oldKey, blocks(1))
		oldMAC, err := m.MAC(ctx, []byte("a record"))
		ok(t, err)
		ok(t, m.CreateRoots(ctx, home, generation))
		young, youngKey := generate(t, m, level)
		expectYoung := encrypt(t, youngKey, blocks(1))
		if young.Generation != generation || old.Generation >= generation {
			t.Fatalf("wrapped under generations %d and %d", old.Generation, young.Generation)
		}

		m = s.reopen(t, m)
		found, err := m.OpenRoots(ctx, home)
		ok(t, err)
		if found != generation {
			t.Errorf("OpenRoots found generation %d, the highest is %d", found, generation)
		}
		if !bytes.Equal(encrypt(t, load(t, m, old), blocks(1)), expectOld) {
			t.Error("the older generation no longer opens its keys")
		}
		ok(t, m.VerifyMAC(ctx, []byte("a record"), oldMAC))
		borrowed := old
		borrowed.Generation = generation
		if _, err := m.Load(ctx, borrowed); !errors.Is(err, hsm.ErrUnwrap) {
			t.Errorf("a key of the older generation under the younger: %v", err)
		}

		ok(t, m.DestroyRoots(ctx, home, old.Generation))
		if _, err := m.Load(ctx, old); !errors.Is(err, hsm.ErrNoRoots) {
			t.Errorf("Load under a destroyed generation: %v", err)
		}
		if err := m.VerifyMAC(ctx, []byte("a record"), oldMAC); !errors.Is(err, hsm.ErrMAC) {
			t.Errorf("a MAC of a destroyed generation: %v", err)
		}
		if !bytes.Equal(encrypt(t, load(t, m, young), blocks(1)), expectYoung) {
			t.Error("destroying one generation took the other along")
		}
		if err := m.DestroyRoots(ctx, home, old.Generation); !errors.Is(err, hsm.ErrNoRoots) {
			t.Errorf("DestroyRoots twice: %v", err)
		}
	}
}

// What one module wrapped, another opens once it has been given the roots.
func (s *suite) rootsTransport(t *testing.T) {
	ctx := testContext(t)
	from, to := s.rooted(t), s.empty(t)
	canary, err := hsm.NewCanary(ctx, from, home, 1)
	ok(t, err)
	message := []byte("a record")
	mac, err := from.MAC(ctx, message)
	ok(t, err)
	seal := encrypt(t, sealKey(t, from), blocks(3))

	public, err := to.TransportKey(ctx)
	ok(t, err)
	key, err := x509.ParsePKIXPublicKey(public)
	ok(t, err)
	if rsaKey, is := key.(*rsa.PublicKey); !is || rsaKey.N.BitLen() != 3072 {
		t.Fatalf("the transport key is no RSA key with 3072 bits but %T", key)
	}
	to = s.reopen(t, to)
	again, err := to.TransportKey(ctx)
	ok(t, err)
	if !bytes.Equal(public, again) {
		t.Error("the transport key did not survive a restart")
	}

	bundle, err := from.ExportRoots(ctx, public, s.OfficerPIN)
	ok(t, err)
	if bundle.Cluster != home || bundle.Generation != 1 || len(bundle.Wrapped) != 4 {
		t.Fatalf("bundle of cluster %x, generation %d, with %d keys", bundle.Cluster, bundle.Generation, len(bundle.Wrapped))
	}
	ok(t, from.Check(ctx)) // exporting leaves the exporter in working order
	ok(t, to.ImportRoots(ctx, bundle))
	for _, restart := range []bool{false, true} {
		if restart {
			to = s.restart(t, to)
		}
		ok(t, canary.Verify(ctx, to))
		ok(t, to.VerifyMAC(ctx, message, mac))
		if !bytes.Equal(encrypt(t, sealKey(t, to), blocks(3)), seal) {
			t.Error("root-seal is another key after the transport")
		}
		for _, level := range levels {
			w, k := generate(t, from, level)
			if !bytes.Equal(encrypt(t, load(t, to, w), blocks(3)), encrypt(t, k, blocks(3))) {
				t.Errorf("%v: a key wrapped by the exporter is another one at the importer", level)
			}
			w, k = generate(t, to, level)
			if !bytes.Equal(encrypt(t, load(t, from, w), blocks(3)), encrypt(t, k, blocks(3))) {
				t.Errorf("%v: a key wrapped by the importer is another one at the exporter", level)
			}
		}
	}
	// A node that was joined can admit the next one.
	third := s.empty(t)
	public, err = third.TransportKey(ctx)
	ok(t, err)
	bundle, err = to.ExportRoots(ctx, public, s.OfficerPIN)
	ok(t, err)
	ok(t, third.ImportRoots(ctx, bundle))
	ok(t, canary.Verify(ctx, third))

	public, err = to.TransportKey(ctx)
	ok(t, err)
	if bytes.Equal(public, again) {
		t.Error("ImportRoots left the transport key in place")
	}
}

func (s *suite) rootsTransportRefusals(t *testing.T) {
	ctx := testContext(t)
	from, to := s.rooted(t), s.empty(t)
	public, err := to.TransportKey(ctx)
	ok(t, err)
	if _, err := from.ExportRoots(ctx, public[:len(public)-1], s.OfficerPIN); err == nil {
		t.Error("a truncated public key was wrapped to")
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	ok(t, err)
	if _, err := from.ExportRoots(ctx, marshalPublic(t, weak), s.OfficerPIN); err == nil {
		t.Error("a transport key with 2048 bits was wrapped to")
	}
	bundle, err := from.ExportRoots(ctx, public, s.OfficerPIN)
	ok(t, err)
	elsewhere, err := from.ExportRoots(ctx, s.stranger, s.OfficerPIN)
	ok(t, err)

	for name, change := range map[string]func(b *hsm.RootBundle){
		"unknown mechanism": func(b *hsm.RootBundle) { b.Mechanism = "ROT13" },
		"missing key":       func(b *hsm.RootBundle) { delete(b.Wrapped, hsm.RecordMAC) },
		"extra key":         func(b *hsm.RootBundle) { b.Wrapped[9] = b.Wrapped[hsm.RootHSM] },
		"altered key": func(b *hsm.RootBundle) {
			b.Wrapped[hsm.RootSeal] = bytes.Clone(b.Wrapped[hsm.RootSeal])
			b.Wrapped[hsm.RootSeal][100] ^= 1
		},
		"short key":           func(b *hsm.RootBundle) { b.Wrapped[hsm.RootSoft] = b.Wrapped[hsm.RootSoft][:383] },
		"another transport":   func(b *hsm.RootBundle) { b.Wrapped = elsewhere.Wrapped },
		"nothing but garbage": func(b *hsm.RootBundle) { b.Wrapped = nil },
	} {
		altered := bundle
		altered.Wrapped = maps.Clone(bundle.Wrapped)
		change(&altered)
		if err := to.ImportRoots(ctx, altered); err == nil {
			t.Fatalf("%s: the bundle was accepted", name)
		}
		if _, err := to.OpenRoots(ctx, home); !errors.Is(err, hsm.ErrNoRoots) {
			t.Fatalf("%s: the refused bundle left roots behind: %v", name, err)
		}
	}
	ok(t, to.ImportRoots(ctx, bundle)) // no refusal has used up the transport key
	if err := to.ImportRoots(ctx, bundle); err == nil {
		t.Error("the same bundle was accepted twice")
	}

	if s.OfficerPIN == nil {
		return
	}
	if _, err := from.ExportRoots(ctx, s.stranger, append([]byte("x"), s.OfficerPIN...)); !errors.Is(err, hsm.ErrOfficerPIN) {
		t.Errorf("ExportRoots with the wrong officer PIN: %v", err)
	}
	ok(t, from.Check(ctx))
	_, err = from.ExportRoots(ctx, s.stranger, s.OfficerPIN)
	ok(t, err) // the wrong PIN locked nobody out
}

func (s *suite) canary(t *testing.T) {
	ctx := testContext(t)
	m := s.rooted(t)
	canary, err := hsm.NewCanary(ctx, m, home, 1)
	ok(t, err)
	stored, err := canary.Encode()
	ok(t, err)
	canary, err = hsm.DecodeCanary(stored)
	ok(t, err)
	ok(t, canary.Verify(ctx, m))
	m = s.restart(t, m)
	ok(t, canary.Verify(ctx, m))

	// Another root set, though of the same cluster and generation.
	other := s.rooted(t)
	if err := canary.Verify(ctx, other); !errors.Is(err, hsm.ErrCanary) {
		t.Errorf("another root set opens the canary: %v", err)
	}
	otherCanary, err := hsm.NewCanary(ctx, other, home, 1)
	ok(t, err)
	for name, change := range map[string]func(c *hsm.Canary){
		"cluster":    func(c *hsm.Canary) { c.Cluster = foreign },
		"generation": func(c *hsm.Canary) { c.Generation = 2 },
		"hsm":        func(c *hsm.Canary) { c.HSM = otherCanary.HSM },
		"soft":       func(c *hsm.Canary) { c.Soft = otherCanary.Soft },
		"levels":     func(c *hsm.Canary) { c.HSM, c.Soft = c.Soft, c.HSM },
		"seal":       func(c *hsm.Canary) { c.Seal = otherCanary.Seal },
		"mac":        func(c *hsm.Canary) { c.MAC = otherCanary.MAC },
	} {
		altered := canary
		change(&altered)
		if err := altered.Verify(ctx, m); !errors.Is(err, hsm.ErrCanary) {
			t.Errorf("%s altered: %v", name, err)
		}
	}
}

func sealKey(t *testing.T, m hsm.Module) hsm.Key {
	t.Helper()
	k, err := m.Seal(testContext(t))
	ok(t, err)
	return k
}

func marshalPublic(t *testing.T, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	ok(t, err)
	return der
}
