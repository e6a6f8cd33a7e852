package pkcs11_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

func TestOpenRefuses(t *testing.T) {
	good := newToken(t)
	text := filepath.Join(t.TempDir(), "text.so")
	ok(t, os.WriteFile(text, bytes.Repeat([]byte("no library "), 100), 0o600))
	f := func(change func(c *pkcs11.Config), want string) {
		t.Helper()
		c := good
		change(&c)
		m, err := pkcs11.Open(testContext(t), c)
		if err == nil {
			ok(t, m.Close())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
	}
	f(func(c *pkcs11.Config) { c.Library = "" }, "no PKCS#11 library")
	f(func(c *pkcs11.Config) { c.TokenLabel = "" }, "no token label")
	f(func(c *pkcs11.Config) { c.PIN = nil }, "no source of the user PIN")
	f(func(c *pkcs11.Config) { c.Sessions = -1 }, "negative")
	f(func(c *pkcs11.Config) { c.Library = filepath.Join(t.TempDir(), "absent.so") }, "absent.so: no such file")
	f(func(c *pkcs11.Config) { c.Library = text }, "text.so: invalid ELF header")
	f(func(c *pkcs11.Config) { c.Library = dynamicLinker(t) }, "no C_GetFunctionList")
	f(func(c *pkcs11.Config) { c.TokenLabel = "nobody's" }, "finding the token \"nobody's\": there are \"")
	f(func(c *pkcs11.Config) { c.Serial = "0000" }, good.TokenLabel)
	f(func(c *pkcs11.Config) { c.PIN = func() ([]byte, error) { return nil, os.ErrNotExist } }, "reading the PIN: file does not exist")

	// After all these refusals the token opens, once.
	open(t, good)
	f(func(c *pkcs11.Config) {}, "is open in this process already")
}

// dynamicLinker returns a shared library that is there and speaks no PKCS#11.
func dynamicLinker(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/lib/*-linux-gnu*/libm.so.6", "/lib64/libm.so.6", "/usr/lib/libm.so.6"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	t.Fatal("there is no libm.so.6 on this machine")
	return ""
}

func TestWrongPIN(t *testing.T) {
	for _, pin := range []string{"wrong-pin", "x", ""} {
		cfg := newToken(t)
		var given [][]byte
		cfg.PIN = func() ([]byte, error) {
			given = append(given, []byte(pin))
			return given[len(given)-1], nil
		}
		_, err := pkcs11.Open(testContext(t), cfg)
		if !errors.Is(err, hsm.ErrPIN) || pin != "" && !strings.Contains(err.Error(), "few tries are left") {
			t.Errorf("PIN %q: %v", pin, err)
		}
		if len(given) != 1 || !bytes.Equal(given[0], make([]byte, len(pin))) {
			t.Errorf("PIN %q: asked for %d times, then %q", pin, len(given), given)
		}
		open(t, config(t, cfg.TokenLabel))
	}
}

// The last try, and a locked PIN, are left to a person.
func TestLastTryIsLeft(t *testing.T) {
	cfg := newToken(t)
	for _, flag := range []uint{p11.CKF_USER_PIN_FINAL_TRY, p11.CKF_USER_PIN_LOCKED} {
		f := &faulty{tokenInfo: func(i *p11.TokenInfo) { i.Flags |= flag }}
		undo, err := pkcs11.InterposeLibrary(cfg.Library, f.interpose)
		ok(t, err)
		_, err = pkcs11.Open(testContext(t), cfg)
		if !errors.Is(err, hsm.ErrPIN) || f.logins.Load() != 0 {
			t.Errorf("flag %x: %v after %d logins", flag, err, f.logins.Load())
		}
		ok(t, undo())
	}
	m := open(t, cfg)
	ctx := testContext(t)
	ok(t, m.CreateRoots(ctx, home, 1))
	public, err := m.TransportKey(ctx)
	ok(t, err)
	for _, flag := range []uint{p11.CKF_SO_PIN_FINAL_TRY, p11.CKF_SO_PIN_LOCKED} {
		f := &faulty{tokenInfo: func(i *p11.TokenInfo) { i.Flags |= flag }}
		m.Interpose(f.interpose)
		_, err = m.ExportRoots(ctx, public, []byte(officerPIN))
		if !errors.Is(err, hsm.ErrOfficerPIN) || f.logins.Load() != 1 { // the user's, afterwards
			t.Errorf("flag %x: %v after %d logins", flag, err, f.logins.Load())
		}
		m.Interpose(func(pkcs11.Cryptoki) pkcs11.Cryptoki { return f.Cryptoki })
		ok(t, m.Check(ctx))
	}
}

// What the device cannot do shows when it is opened, not in the middle of the night.
func TestOpenLearns(t *testing.T) {
	ctx := testContext(t)
	cfg := newToken(t)
	without := func(kind uint) *faulty {
		return &faulty{mechanisms: func(list []*p11.Mechanism) (rest []*p11.Mechanism) {
			for _, m := range list {
				if m.Mechanism != kind {
					rest = append(rest, m)
				}
			}
			return rest
		}}
	}
	for _, kind := range []uint{p11.CKM_AES_KEY_GEN, p11.CKM_SHA256_HMAC, p11.CKM_GENERIC_SECRET_KEY_GEN} {
		undo, err := pkcs11.InterposeLibrary(cfg.Library, without(kind).interpose)
		ok(t, err)
		if _, err := pkcs11.Open(ctx, cfg); !errors.Is(err, hsm.ErrUnsupported) {
			t.Errorf("without mechanism %x: %v", kind, err)
		}
		ok(t, undo())
	}

	undo, err := pkcs11.InterposeLibrary(cfg.Library, without(p11.CKM_AES_ECB).interpose)
	ok(t, err)
	m, err := pkcs11.Open(ctx, cfg)
	ok(t, err)
	if d := m.Describe(); d.MaxBlocks != 0 || !strings.Contains(strings.Join(d.Notes, " "), "CKM_AES_ECB") {
		t.Errorf("without CKM_AES_ECB: %+v", d)
	}
	ok(t, m.CreateRoots(ctx, home, 1))
	w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	if _, err := m.Load(ctx, w); !errors.Is(err, hsm.ErrUnsupported) {
		t.Errorf("without CKM_AES_ECB: Load: %v", err)
	}
	ok(t, m.Close())
	ok(t, undo())

	small := &faulty{encrypt: func(size int) error {
		if size > 1000 {
			return p11.Error(p11.CKR_DATA_LEN_RANGE)
		}
		return nil
	}}
	undo, err = pkcs11.InterposeLibrary(cfg.Library, small.interpose)
	ok(t, err)
	m, err = pkcs11.Open(ctx, cfg)
	ok(t, err)
	if most := m.Describe().MaxBlocks; most != 32 {
		t.Errorf("a device that takes 1000 bytes: %d blocks at most", most)
	}
	_, err = m.OpenRoots(ctx, home)
	ok(t, err)
	k, err := hsm.LoadKey(ctx, m, w)
	ok(t, err)
	long := make([]byte, 16*77)
	ok(t, k.EncryptBlocks(ctx, long, long))
	for at := 16; at < len(long); at += 16 {
		if !bytes.Equal(long[at:at+16], long[:16]) {
			t.Fatalf("block %d of an input in pieces is wrong", at/16)
		}
	}
	ok(t, m.Close())
	ok(t, undo())
}

func TestDescribe(t *testing.T) {
	d := open(t, newToken(t)).Describe()
	if d.Kind != "pkcs11" || d.Hardware || d.Manufacturer != "SoftHSM project" || d.Model != "SoftHSM v2" ||
		len(d.Serial) != 16 || d.Firmware != "2.6" || d.MaxBlocks != 4096 {
		t.Errorf("%+v", d)
	}
}

func TestSoftHSMToken(t *testing.T) {
	f := func(dir, label, officer, user, want string) {
		t.Helper()
		_, err := pkcs11.CreateSoftHSMToken(dir, label, []byte(officer), []byte(user))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, not %q", err, want)
		}
	}
	f(tokens.dir, "", officerPIN, userPIN, "label")
	f(tokens.dir, strings.Repeat("x", 33), officerPIN, userPIN, "label")
	f(tokens.dir, "short", "123", userPIN, "PIN")
	f(tokens.dir, "short", officerPIN, "123", "PIN")
	f(tokens.dir, "first", officerPIN, userPIN, "already")

	before := os.Getenv("SOFTHSM2_CONF")
	dir := filepath.Join(t.TempDir(), "deeper")
	env, err := pkcs11.CreateSoftHSMToken(dir, "elsewhere", []byte(officerPIN), []byte(userPIN))
	ok(t, err)
	if len(env) != 1 || env["SOFTHSM2_CONF"] != filepath.Join(dir, "softhsm2.conf") || os.Getenv("SOFTHSM2_CONF") != before {
		t.Errorf("environment %q, own %q", env, os.Getenv("SOFTHSM2_CONF"))
	}
	for path, mode := range map[string]os.FileMode{"tokens": 0o700, "softhsm2.conf": 0o600} {
		info, err := os.Stat(filepath.Join(dir, path))
		ok(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	open(t, newToken(t))
	f(dir, "while open", officerPIN, userPIN, "another configuration")
}
