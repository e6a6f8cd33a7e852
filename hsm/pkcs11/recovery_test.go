package pkcs11_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// worked is a module with a key of each kind, and what they make of two blocks.
type worked struct {
	*pkcs11.Module
	t      *testing.T
	keys   []hsm.Key // HSM, SOFTWARE, seal
	expect [][]byte
	mac    []byte
}

func work(t *testing.T, m *pkcs11.Module) *worked {
	t.Helper()
	ctx := testContext(t)
	w := &worked{Module: m, t: t}
	for _, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelSoftware} {
		wrapped, err := m.Generate(ctx, level, hsm.SpecAES256)
		ok(t, err)
		k, err := hsm.LoadKey(ctx, m, wrapped)
		ok(t, err)
		w.keys = append(w.keys, k)
	}
	seal, err := m.Seal(ctx)
	ok(t, err)
	w.keys = append(w.keys, seal)
	for _, k := range w.keys {
		out := input()
		ok(t, k.EncryptBlocks(ctx, out, out))
		w.expect = append(w.expect, out)
	}
	w.mac, err = m.MAC(ctx, []byte("record"))
	ok(t, err)
	return w
}

// input is what every key encrypts, in place.
func input() []byte { return []byte("two blocks that are not all zero") }

// works checks that everything still gives what it gave, for many at once.
func (w *worked) works() {
	w.t.Helper()
	ctx := testContext(w.t)
	var wg sync.WaitGroup
	for range 4 {
		for i, k := range w.keys {
			wg.Go(func() {
				out := input()
				if err := k.EncryptBlocks(ctx, out, out); err != nil || !bytes.Equal(out, w.expect[i]) {
					w.t.Errorf("key %d: error %v, the same output %v", i, err, bytes.Equal(out, w.expect[i]))
				}
			})
		}
		wg.Go(func() {
			if err := w.VerifyMAC(ctx, []byte("record"), w.mac); err != nil {
				w.t.Errorf("VerifyMAC: %v", err)
			}
		})
	}
	wg.Wait()
}

// logins returns how many logins f has caused.
func (w *worked) logins(f func()) uint64 {
	w.t.Helper()
	before, err := w.Logins(testContext(w.t))
	ok(w.t, err)
	f()
	after, err := w.Logins(testContext(w.t))
	ok(w.t, err)
	return after - before
}

// Whatever goes away behind the module's back comes again, by one new login for
// all who noticed.
func TestLossIsMadeGood(t *testing.T) {
	m := rooted(t)
	w := work(t, m)
	library, err := pkcs11.FindSoftHSM()
	ok(t, err)
	behind := p11.New(library)
	for name, lose := range map[string]func(){
		"all sessions": func() { ok(t, behind.CloseAllSessions(m.Slot())) },
		"the sessions that own loaded keys": func() {
			handles := m.ObjectSessions()
			if len(handles) == 0 {
				t.Fatal("no session owns loaded keys")
			}
			for _, h := range handles {
				ok(t, behind.CloseSession(h))
			}
		},
		"a loaded key": func() {
			i := intrude(t, m)
			ok(t, i.DestroyObject(i.s, pkcs11.KeyHandle(w.keys[0])))
		},
		"the login": func() {
			i := intrude(t, m)
			ok(t, i.Logout(i.s))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &worked{Module: m, t: t, keys: w.keys, expect: w.expect, mac: w.mac}
			w.works()
			n := w.logins(func() {
				lose()
				w.works()
			})
			if n != 1 {
				t.Errorf("%d logins", n)
			}
			if n := w.logins(w.works); n != 0 {
				t.Errorf("%d more logins afterwards", n)
			}
		})
	}
	t.Run("before an export", func(t *testing.T) {
		ctx := testContext(t)
		public, err := m.TransportKey(ctx)
		ok(t, err)
		ok(t, behind.CloseAllSessions(m.Slot()))
		_, err = m.ExportRoots(ctx, public, []byte(officerPIN))
		ok(t, err)
		w.works()
	})
	ok(t, w.keys[0].Close())
	ok(t, behind.CloseAllSessions(m.Slot()))
	ok(t, w.keys[1].Close())
}

// A key that is closed beside its users is no loss to anybody.
func TestCloseIsNoLoss(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	w := work(t, m)
	wrapped, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	n := w.logins(func() {
		for range 50 {
			k, err := hsm.LoadKey(ctx, m, wrapped)
			ok(t, err)
			var wg sync.WaitGroup
			started := make(chan struct{})
			for range 3 {
				wg.Go(func() {
					ok := k.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)) == nil
					started <- struct{}{}
					for ok {
						ok = k.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)) == nil
					}
				})
			}
			for range 3 {
				<-started
			}
			ok(t, k.Close())
			wg.Wait()
		}
	})
	if n != 0 {
		t.Errorf("%d logins", n)
	}
	w.works()
}

// A PIN that is refused when the login must be renewed is tried once.
func TestChangedPIN(t *testing.T) {
	cfg := newToken(t)
	var wrong atomic.Bool
	cfg.PIN = func() ([]byte, error) {
		if wrong.Load() {
			return []byte("not any more"), nil
		}
		return []byte(userPIN), nil
	}
	m := open(t, cfg)
	ctx := testContext(t)
	ok(t, m.CreateRoots(ctx, home, 1))
	w := work(t, m)
	counted := new(faulty)
	m.Interpose(counted.interpose)
	wrong.Store(true)
	library, err := pkcs11.FindSoftHSM()
	ok(t, err)
	ok(t, p11.New(library).CloseAllSessions(m.Slot()))
	for range 5 {
		if err := m.Check(ctx); !errors.Is(err, hsm.ErrPIN) {
			t.Errorf("Check: %v", err)
		}
		if err := w.keys[0].EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)); !errors.Is(err, hsm.ErrPIN) {
			t.Errorf("EncryptBlocks: %v", err)
		}
	}
	if n := counted.logins.Load(); n != 1 {
		t.Errorf("the refused PIN was tried %d times", n)
	}
}

func TestFaultyDevice(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	w := work(t, m)
	f := new(faulty)
	m.Interpose(f.interpose)
	encrypt := func() error {
		out := input()
		err := w.keys[0].EncryptBlocks(ctx, out, out)
		if err == nil && !bytes.Equal(out, w.expect[0]) {
			t.Error("wrong output without an error")
		}
		if err != nil && !bytes.Equal(out, input()) {
			t.Error("the input was spoilt")
		}
		return err
	}

	// A session that is stuck is given up, and the call done on another.
	f.encryptInit = times(1, p11.CKR_OPERATION_ACTIVE)
	ok(t, encrypt())
	if n := f.closed.Load(); n != 1 {
		t.Errorf("%d sessions were closed", n)
	}
	f.encryptInit = times(2, p11.CKR_OPERATION_ACTIVE)
	if err := encrypt(); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("stuck twice: %v", err)
	}
	f.encryptInit = nil

	// A device error is the caller's to know; the session is not used again.
	for _, code := range []uint{p11.CKR_DEVICE_ERROR, p11.CKR_GENERAL_ERROR, p11.CKR_HOST_MEMORY, p11.CKR_VENDOR_DEFINED | 7} {
		f.closed.Store(0)
		failing := times(1, code)
		f.encrypt = func(int) error { return failing() }
		if err := encrypt(); !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("code %x: %v", code, err)
		}
		if n := f.closed.Load(); n != 1 {
			t.Errorf("code %x: %d sessions were closed", code, n)
		}
		ok(t, encrypt())
	}
	// A refusal costs no session.
	f.closed.Store(0)
	failing := times(1, p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	f.encrypt = func(int) error { return failing() }
	if err := encrypt(); err == nil || errors.Is(err, hsm.ErrUnavailable) || f.closed.Load() != 0 {
		t.Errorf("a refusal: %v, %d sessions were closed", err, f.closed.Load())
	}
	f.encrypt = nil

	// CKR_GENERAL_ERROR from unwrapping is a bad blob only if the device works.
	wrapped, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	bad := wrapped
	bad.Blob = bytes.Clone(wrapped.Blob)
	bad.Blob[20] ^= 1
	if _, err := m.Load(ctx, bad); !errors.Is(err, hsm.ErrUnwrap) {
		t.Errorf("a bad blob: %v", err)
	}
	if n := w.logins(w.works); n != 0 {
		t.Errorf("a bad blob cost %d logins", n)
	}
	f.unwrap, f.sign = times(1, p11.CKR_GENERAL_ERROR), times(1, p11.CKR_DEVICE_ERROR)
	if _, err := m.Load(ctx, wrapped); !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrUnwrap) {
		t.Errorf("a bad device: %v", err)
	}
	// The session that failed owned loaded keys, so all are made anew.
	if n := w.logins(w.works); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// Nobody waits for ever for a device that hangs, not even Close.
func TestHungDevice(t *testing.T) {
	cfg := newToken(t)
	cfg.Sessions, cfg.CallTimeout = 1, 50*time.Millisecond
	m := open(t, cfg)
	ctx := testContext(t)
	ok(t, m.CreateRoots(ctx, home, 1))
	w := work(t, m)
	f := new(faulty)
	m.Interpose(f.interpose)
	inside, release := make(chan struct{}), make(chan struct{})
	f.encryptInit = func() error {
		close(inside)
		<-release
		return nil
	}
	hung := make(chan error)
	go func() { hung <- w.keys[0].EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)) }()
	<-inside
	if err := m.Check(ctx); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("Check: %v", err)
	}
	soon, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	if err := m.Check(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Check with a deadline: %v", err)
	}
	if err := m.DestroyRoots(ctx, home, 1); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("DestroyRoots: %v", err)
	}
	loaded := m.Health().Loaded
	if err := w.keys[0].Close(); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("Close of the key: %v", err)
	}
	ok(t, w.keys[0].Close())
	if n := m.Health().Loaded; n != loaded-1 {
		t.Errorf("%d keys count as loaded of %d", n, loaded)
	}
	if err := m.Close(); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("Close: %v", err)
	}
	if err := m.Check(ctx); err == nil || errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("Check behind a Close that has not ended: %v", err)
	}
	close(release)
	ok(t, <-hung)
	ok(t, m.Close())
}

// A token that was away for a moment shows no private objects to a session that
// was opened since, and gives no error: its root keys are not gone.
func TestRootsAreNotGoneWithTheLogin(t *testing.T) {
	m, d := dying(t, nil)
	w := work(t, m)
	for range 5 {
		d.LoseSessions()
		ok(t, m.LoseLogin())
		if err := w.VerifyMAC(testContext(t), []byte("record"), w.mac); err != nil {
			t.Errorf("VerifyMAC: %v", err)
		}
	}
	w.works()
}

// A rewrap whose session was lost is done again with the same material.
func TestRewrapAfterALoss(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	w, err := m.Generate(ctx, hsm.LevelSoftware, hsm.SpecAES256)
	ok(t, err)
	ok(t, m.CreateRoots(ctx, home, 2))
	f := &faulty{unwrap: times(1, p11.CKR_SESSION_HANDLE_INVALID)}
	m.Interpose(f.interpose)
	again, err := m.Rewrap(ctx, w, 2)
	ok(t, err)
	k, err := m.Load(ctx, again)
	ok(t, err)
	ok(t, k.Close())
}
