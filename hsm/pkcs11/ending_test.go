package pkcs11_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/doctor"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// endings are the calls in which a library may hang when somebody leaves it.
var endings = map[string]faultylib.Function{"C_CloseSession": faultylib.CloseSession, "C_Finalize": faultylib.Finalize}

// within runs f, which must not last longer than a busy machine makes it.
func within[T any](t *testing.T, what string, f func() T) T {
	t.Helper()
	ended := make(chan T, 1)
	go func() { ended <- f() }()
	select {
	case v := <-ended:
		return v
	case <-time.After(40 * time.Second):
		t.Fatalf("%s has not ended", what)
		panic("unreachable")
	}
}

// A library that hangs when its last user leaves it keeps nobody: Close says which
// call it hangs in, and the rest is done when it lets go.
func TestCloseOfALibraryThatHangs(t *testing.T) {
	for name, in := range endings {
		cfg, d := hanging(t, in)
		d.Release()
		cfg.CallLimit, cfg.OpenLimit = 300*time.Millisecond, 0
		m, err := pkcs11.Open(testContext(t), cfg)
		ok(t, err)
		d.Hang(in)
		err = within(t, "closing a library that hangs in "+name, m.Close)
		if !errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), cfg.Library+" hangs in its "+name) || strings.Contains(err.Error(), "\n") {
			t.Errorf("closed, with a library that hangs in %s: %v", name, err)
		}
		d.Release()
		ok(t, within(t, "closing it again", m.Close))
		ok(t, within(t, "and again", m.Close))
		if n := d.Sessions(); n != 0 {
			t.Errorf("%s: %d sessions are left", name, n)
		}
		m, err = pkcs11.Open(testContext(t), cfg)
		ok(t, err)
		ok(t, m.Close())
	}
}

// The doctor says so, too, beside all else that was found out; also when the
// library was not any good before.
func TestDiagnoseALibraryThatHangsAtTheEnd(t *testing.T) {
	for name, in := range endings {
		cfg, d := hanging(t, faultylib.Finalize)
		d.Release()
		cfg.CallLimit, cfg.OpenLimit = time.Second, 0
		m, err := pkcs11.Open(testContext(t), cfg) // which leaves nothing to be closed in between
		ok(t, err)
		ok(t, m.Close())
		d.Hide(p11.CKM_RSA_PKCS_KEY_PAIR_GEN) // whose keys take long to make
		d.Hang(in)
		r := within(t, "the examination", func() *doctor.Report { return pkcs11.Diagnose(testContext(t), cfg) })
		if said := strings.Join(r.Problems, "\n"); len(r.Problems) != 1 || !strings.Contains(said, "hangs in its "+name) {
			t.Errorf("%s: the problems are %q", name, r.Problems)
		}
		if len(r.Measures) < 5 {
			t.Errorf("%s: it knows of %d measures", name, len(r.Measures))
		}
		d.Release()
	}

	cfg, _ := hanging(t, faultylib.Finalize)
	cfg.CallLimit, cfg.OpenLimit = 300*time.Millisecond, 0
	cfg.PIN = func() ([]byte, error) { return []byte("wrong-9999"), nil }
	r := within(t, "the examination", func() []string { return pkcs11.Diagnose(testContext(t), cfg).Problems })
	if said := strings.Join(r, "\n"); len(r) != 2 || !strings.Contains(said, "PIN") || !strings.Contains(said, "hangs in its C_Finalize") {
		t.Errorf("the problems are %q", r)
	}
}
