package pkcs11_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"errors"
	"fmt"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// The names under which roots lie in tokens are a stored format.
func TestRootNames(t *testing.T) {
	m := open(t, newToken(t))
	cluster := hsm.ClusterID{0: 0x11, 7: 0x77, 15: 0xff}
	ok(t, m.CreateRoots(testContext(t), cluster, 0x01020304))
	i := intrude(t, m)
	got := make(map[string]string)
	for _, h := range i.find(attribute(p11.CKA_TOKEN, true)) {
		name, err := i.GetAttributeValue(i.s, h, []*p11.Attribute{attribute(p11.CKA_LABEL, nil), attribute(p11.CKA_ID, nil)})
		ok(t, err)
		got[string(name[0].Value)] = fmt.Sprintf("%x", name[1].Value)
	}
	for _, name := range []string{"root-hsm", "root-soft", "root-seal", "record-mac"} {
		if id := got["raftkms "+name+" 16909060"]; id != "110000000000007700000000000000ff01020304" {
			t.Errorf("%s: %q", name, got)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d objects: %q", len(got), got)
	}
}

// A set is there when its last key is there, and gone with its first.
func TestUnfinishedRoots(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	i := intrude(t, m)

	f := new(faulty)
	m.Interpose(f.interpose)
	for made := range 4 {
		passed := 0
		f.generate = func() error {
			if passed++; passed > made {
				return p11.Error(p11.CKR_DEVICE_MEMORY)
			}
			return nil
		}
		if err := m.CreateRoots(ctx, home, 2); !errors.Is(err, hsm.ErrFull) {
			t.Errorf("CreateRoots on a full device: %v", err)
		}
		if n := len(i.find(attribute(p11.CKA_TOKEN, true))); n != 4 {
			t.Errorf("%d keys are in the token after a failure behind %d", n, made)
		}
	}
	f.generate = nil

	ok(t, m.CreateRoots(ctx, home, 2))
	ok(t, m.DestroyRoot(ctx, hsm.RecordMAC)) // as a process leaves it that ends on the way
	generation, err := m.OpenRoots(ctx, home)
	ok(t, err)
	if generation != 1 {
		t.Errorf("an unfinished set was opened: generation %d", generation)
	}
	ok(t, m.CreateRoots(ctx, home, 2))
	if n := len(i.find(attribute(p11.CKA_TOKEN, true))); n != 8 {
		t.Errorf("two root sets are %d keys", n)
	}

	ok(t, m.DestroyRoot(ctx, hsm.RootSeal))
	if _, err := m.OpenRoots(ctx, home); err == nil || !strings.Contains(err.Error(), `"raftkms root-seal 2"`) {
		t.Errorf("a damaged set: %v", err)
	}
	ok(t, m.DestroyRoots(ctx, home, 2))
	if generation, err = m.OpenRoots(ctx, home); err != nil || generation != 1 {
		t.Errorf("generation %d, %v", generation, err)
	}
	if err := m.CreateRoots(ctx, home, 0); err == nil {
		t.Error("generation 0 was made")
	}
	if err := m.CreateRoots(ctx, other, 1); !errors.Is(err, hsm.ErrForeignRoots) {
		t.Errorf("a second cluster in one module: %v", err)
	}
}

// While roots are rotated, what the older generation signed still holds.
func TestOlderMAC(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	mac, err := m.MAC(ctx, []byte("record"))
	ok(t, err)
	ok(t, m.CreateRoots(ctx, home, 2))
	ok(t, m.VerifyMAC(ctx, []byte("record"), mac))
	ok(t, m.DestroyRoots(ctx, home, 1))
	if err := m.VerifyMAC(ctx, []byte("record"), mac); !errors.Is(err, hsm.ErrMAC) {
		t.Errorf("after its key was destroyed: %v", err)
	}
}

// The bundle is plain RSA-OAEP: what holds the private key reads the roots. That
// is what the comparing of fingerprints is for.
func TestExportIsOAEP(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	key, err := rsa.GenerateKey(rand.Reader, 3072)
	ok(t, err)
	bundle, err := m.ExportRoots(ctx, marshal(t, key), []byte(officerPIN))
	ok(t, err)
	if bundle.Mechanism != "RSA-OAEP-SHA1" {
		t.Errorf("wrapped by %s", bundle.Mechanism)
	}
	seen := make(map[string]bool)
	for root, wrapped := range bundle.Wrapped {
		raw, err := rsa.DecryptOAEP(sha1.New(), nil, key, wrapped, nil)
		if err != nil || len(raw) != 32 || seen[string(raw)] {
			t.Errorf("root %d: %d bytes, %v", root, len(raw), err)
		}
		seen[string(raw)] = true
	}
}

// However the officer's part ends, the user is logged in again.
func TestOfficerLeavesTheUser(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	w := work(t, m)
	public, err := m.TransportKey(ctx)
	ok(t, err)
	for _, pin := range []string{"wrong-pin", "", userPIN} {
		if _, err := m.ExportRoots(ctx, public, []byte(pin)); !errors.Is(err, hsm.ErrOfficerPIN) {
			t.Errorf("officer PIN %q: %v", pin, err)
		}
		w.works()
	}
	f := new(faulty)
	m.Interpose(f.interpose)
	f.create = times(1, p11.CKR_TEMPLATE_INCONSISTENT)
	if _, err := m.ExportRoots(ctx, public, []byte(officerPIN)); err == nil {
		t.Error("a refused trusted key was used")
	}
	w.works()
	f.create = times(1, p11.CKR_DEVICE_ERROR)
	if _, err := m.ExportRoots(ctx, public, []byte(officerPIN)); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("a device error: %v", err)
	}
	w.works()
	f.create = func() error { panic("in the officer's part") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic went missing")
			}
		}()
		_, _ = m.ExportRoots(ctx, public, []byte(officerPIN))
	}()
	f.create = nil
	w.works()
	_, err = m.ExportRoots(ctx, public, []byte(officerPIN))
	ok(t, err)
	w.works()
	i := intrude(t, m)
	if n := len(i.find(attribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY), attribute(p11.CKA_TRUSTED, true))); n != 0 {
		t.Errorf("%d trusted keys are left", n)
	}
}

func BenchmarkEncryptBlocks(b *testing.B) {
	m := rooted(b)
	ctx := testContext(b)
	w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(b, err)
	k, err := hsm.LoadKey(ctx, m, w)
	ok(b, err)
	for _, blocks := range []int{2, 128, 512} {
		b.Run(fmt.Sprintf("blocks=%d", blocks), func(b *testing.B) {
			src, dst := make([]byte, 16*blocks), make([]byte, 16*blocks)
			for b.Loop() {
				ok(b, k.EncryptBlocks(ctx, dst, src))
			}
		})
	}
}
