package pkcs11_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/doctor"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// faultyToken is a new token behind a library that the test can break.
func faultyToken(t *testing.T) (pkcs11.Config, *faultylib.Device) {
	t.Helper()
	cfg := newToken(t)
	d, err := faultylib.New(t.TempDir(), cfg.Library)
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	cfg.Library = d.Path
	return cfg, d
}

func TestDiagnoseGoodDevice(t *testing.T) {
	cfg, d := faultyToken(t)
	m, err := pkcs11.Open(testContext(t), cfg)
	ok(t, err)
	ok(t, m.CreateRoots(testContext(t), home, 1))
	ok(t, m.Close())
	r := pkcs11.Diagnose(testContext(t), cfg)
	if !r.Carries() || len(r.Measures) < 10 || len(r.Capabilities) < 5 || len(r.Mechanisms) < 19 || len(r.Tokens) == 0 {
		t.Errorf("%+v", r)
	}
	for _, measured := range r.Measures {
		if measured.Error != "" || measured.Microseconds < 0 {
			t.Errorf("%+v", measured)
		}
	}
	timed := fmt.Sprint(r.Measures)
	for _, operation := range []string{
		"sign with RSASSA_PSS_SHA_384, RSA_3072", "decrypt with RSAES_OAEP_SHA_256, RSA_2048", "sign with ECDSA_SHA_256, EC_P256",
		"agree on a secret, EC_P256", "make a MAC, HMAC_256", "derive 64 data keys in one call, level HSM",
	} {
		if !strings.Contains(timed, operation) {
			t.Errorf("%q was not timed: %s", operation, timed)
		}
	}
	if len(r.Roots) != 1 || r.Roots[0].Generation != 1 || !strings.HasPrefix(r.Roots[0].Cluster, "68000000-") {
		t.Errorf("roots %+v", r.Roots)
	}
	if n := d.Sessions(); n != 0 {
		t.Errorf("%d sessions were left", n)
	}
	m, err = pkcs11.Open(testContext(t), cfg)
	ok(t, err)
	inUse := new(doctor.Report)
	ok(t, m.Survey(testContext(t), inUse))
	if inUse.Library != r.Library || inUse.Token != r.Token || !slices.Equal(inUse.Tokens, r.Tokens) ||
		!slices.Equal(inUse.Mechanisms, r.Mechanisms) || !slices.Equal(inUse.Roots, r.Roots) {
		t.Errorf("of a module in use: %+v", inUse)
	}
	sets, err := m.RootSets(testContext(t))
	ok(t, err)
	if len(sets) != 1 {
		t.Errorf("the examination left root keys: %+v", sets)
	}
	ok(t, m.Close())
}

func TestDiagnoseBadDevice(t *testing.T) {
	cfg, d := faultyToken(t)
	f := func(change func(c *pkcs11.Config), want string) {
		t.Helper()
		d.Heal()
		c := cfg
		change(&c)
		r := pkcs11.Diagnose(testContext(t), c)
		if r.Carries() || !strings.Contains(strings.Join(r.Problems, "; "), want) {
			t.Errorf("problems %q, not %q", r.Problems, want)
		}
		for _, p := range r.Problems {
			if strings.Contains(p, "\n") {
				t.Errorf("more than a sentence: %q", p)
			}
		}
	}
	f(func(c *pkcs11.Config) { c.Library = "/nowhere/lib.so" }, "no such file")
	f(func(c *pkcs11.Config) { c.TokenLabel = "nobody's" }, `there are "`)
	f(func(c *pkcs11.Config) { c.PIN = func() ([]byte, error) { return []byte("wrong-pin"), nil } }, "few tries are left")
	f(func(*pkcs11.Config) { d.TokenFlags(p11.CKF_USER_PIN_FINAL_TRY) }, "one try left")
	f(func(*pkcs11.Config) { d.Hide(p11.CKM_AES_ECB) }, "CKM_AES_ECB")
	f(func(*pkcs11.Config) { d.Hide(p11.CKM_AES_KEY_WRAP_PAD, p11.CKM_AES_KEY_WRAP) }, "AES key wrapping")
	f(func(*pkcs11.Config) { d.Hide(p11.CKM_SHA256_HMAC) }, "CKM_SHA256_HMAC")
	f(func(*pkcs11.Config) { d.Unplug() }, "there are none")
	f(func(*pkcs11.Config) { d.RefuseECB(true) }, "largest input")
	f(func(*pkcs11.Config) { d.StickGenerator(0x0102030405060708) }, "draw 64 KiB of randomness: the module's random generator failed its health test")
	d.Heal()
	if r := pkcs11.Diagnose(testContext(t), cfg); !r.Carries() {
		t.Errorf("a device that was healed: %q", r.Problems)
	}
}

// A device that answers is not one that answers rightly: whatever it answers
// wrongly, the report names, and says that it cannot carry a node.
func TestDiagnoseLyingDevice(t *testing.T) {
	cfg, d := faultyToken(t)
	lies := map[string]faultylib.Lie{
		"load it and derive 1 data keys, level HSM":                   {Function: faultylib.Encrypt, Size: 32},
		"load it and derive 64 data keys, level HSM":                  {Function: faultylib.Encrypt, Size: 64 * 32},
		"sign with RSASSA_PSS_SHA_512, RSA_2048":                      {Function: faultylib.Sign, Size: 256},
		"sign with ECDSA_SHA_256, EC_P256":                            {Function: faultylib.Sign, Size: 64},
		"wrap a key from elsewhere, load it and make a MAC, HMAC_384": {Function: faultylib.Sign, Size: 48},
		"decrypt with RSAES_OAEP_SHA_256, RSA_3072":                   {Function: faultylib.Decrypt, Size: 384},
		"agree on a secret, EC_P384":                                  {Function: faultylib.GetAttributeValue, Size: 48},
		"refuse an altered record":                                    {Function: faultylib.Verify, Size: 32},
	}
	d.Tell(slices.Collect(maps.Values(lies))...)
	r := pkcs11.Diagnose(testContext(t), cfg)
	for operation := range lies {
		want := operation + ": wrong answer, so this device cannot carry a node"
		if r.Carries() || !strings.Contains(strings.Join(r.Problems, "\n"), want) {
			t.Errorf("%q is not among the problems %q", want, r.Problems)
		}
	}
	if problems := strings.Join(r.Problems, "\n"); strings.Contains(problems, "EC_P521") || strings.Contains(problems, "RSA_4096") {
		t.Errorf("what was answered rightly is among the problems %q", problems)
	}
}

// A device that refuses attributes outright works without them, and says so.
func TestRefusedAttributes(t *testing.T) {
	cfg, d := faultyToken(t)
	for _, kinds := range [][]uint{
		{p11.CKA_WRAP_WITH_TRUSTED}, {p11.CKA_UNWRAP_TEMPLATE}, {p11.CKA_COPYABLE}, {p11.CKA_MODIFIABLE, p11.CKA_TRUSTED},
		{p11.CKA_WRAP_WITH_TRUSTED, p11.CKA_UNWRAP_TEMPLATE, p11.CKA_COPYABLE, p11.CKA_MODIFIABLE, p11.CKA_TRUSTED},
	} {
		d.RefuseAttributes(kinds...)
		m, err := pkcs11.Open(testContext(t), cfg)
		ok(t, err)
		ok(t, m.CreateRoots(testContext(t), home, 1))
		w := work(t, m)
		w.works()
		if !m.Describe().CarriesFor(hsm.SpecECP256, hsm.UseAgree) {
			t.Errorf("without %v the device agrees on no secrets", kinds)
		}
		notes := strings.Join(m.Describe().Notes, " ")
		for _, kind := range kinds {
			name := map[uint]string{
				p11.CKA_WRAP_WITH_TRUSTED: "CKA_WRAP_WITH_TRUSTED", p11.CKA_UNWRAP_TEMPLATE: "CKA_UNWRAP_TEMPLATE",
				p11.CKA_COPYABLE: "CKA_COPYABLE", p11.CKA_MODIFIABLE: "CKA_MODIFIABLE", p11.CKA_TRUSTED: "CKA_TRUSTED",
			}[kind]
			if !strings.Contains(notes, "refuses keys with "+name) {
				t.Errorf("no note about %s: %s", name, notes)
			}
		}
		ok(t, m.DestroyRoots(testContext(t), home, 1))
		ok(t, m.Close())
	}
	d.RefuseAttributes(p11.CKA_SENSITIVE)
	if m, err := pkcs11.Open(testContext(t), cfg); err == nil {
		if err := m.CreateRoots(testContext(t), home, 1); err == nil || errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("roots that anybody can read were made: %v", err)
		}
		ok(t, m.Close())
	}
}
