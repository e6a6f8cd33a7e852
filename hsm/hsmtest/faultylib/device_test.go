package faultylib_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

const userPIN = "user-5678"

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a faulty device in front of SoftHSM, used without the module.
type world struct {
	*p11.Ctx
	t    *testing.T
	d    *faultylib.Device
	slot uint
}

func newWorld(t *testing.T) *world {
	t.Helper()
	env, err := pkcs11.CreateSoftHSMToken(t.TempDir(), "faulty", []byte("officer-1234"), []byte(userPIN))
	ok(t, err)
	for name, value := range env {
		t.Setenv(name, value)
	}
	target, err := pkcs11.FindSoftHSM()
	ok(t, err)
	d, err := faultylib.New(t.TempDir(), target)
	ok(t, err)
	t.Cleanup(func() { ok(t, d.Close()) })
	w := &world{Ctx: p11.New(d.Path), t: t, d: d}
	if w.Ctx == nil {
		t.Fatal("the library does not load")
	}
	w.start()
	t.Cleanup(func() { ok(t, w.Finalize()) })
	return w
}

func (w *world) start() {
	w.t.Helper()
	ok(w.t, w.Initialize())
	slots, err := w.GetSlotList(true)
	ok(w.t, err)
	w.slot = slots[0]
}

// login opens a session in which the user is logged in.
func (w *world) login() p11.SessionHandle {
	w.t.Helper()
	s, err := w.OpenSession(w.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	ok(w.t, err)
	if err := w.Login(s, p11.CKU_USER, userPIN); err != nil && !is(err, p11.CKR_USER_ALREADY_LOGGED_IN) {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) key(s p11.SessionHandle, more ...*p11.Attribute) (p11.ObjectHandle, error) {
	return w.GenerateKey(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, append([]*p11.Attribute{
		p11.NewAttribute(p11.CKA_TOKEN, false), p11.NewAttribute(p11.CKA_VALUE_LEN, 32), p11.NewAttribute(p11.CKA_ENCRYPT, true),
	}, more...))
}

func (w *world) encrypt(s p11.SessionHandle, key p11.ObjectHandle, size int) error {
	if err := w.EncryptInit(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_ECB, nil)}, key); err != nil {
		return err
	}
	_, err := w.Encrypt(s, make([]byte, size))
	return err
}

func is(err error, code uint) bool {
	got, is := errors.AsType[p11.Error](err)
	return is && uint(got) == code
}

func (w *world) wants(err error, code uint) {
	w.t.Helper()
	if !is(err, code) {
		w.t.Errorf("%v instead of %v", err, p11.Error(code))
	}
}

func TestForwards(t *testing.T) {
	w := newWorld(t)
	s := w.login()
	key, err := w.key(s)
	ok(t, err)
	ok(t, w.encrypt(s, key, 64))
	if n := w.d.Calls(faultylib.Encrypt); n != 2 { // the wrapper asks for the size first
		t.Errorf("%d calls of C_Encrypt", n)
	}
	if w.d.Sessions() != 1 || w.d.Objects() != 1 || w.d.Inside() != 0 || w.d.Calls(faultylib.Every) < 5 {
		t.Errorf("%d sessions, %d objects, %d inside, %d calls", w.d.Sessions(), w.d.Objects(), w.d.Inside(), w.d.Calls(faultylib.Every))
	}
	other, err := faultylib.Attach(w.d.Path)
	ok(t, err)
	if other.Calls(faultylib.Encrypt) != 2 {
		t.Error("another who attaches reads other counters")
	}
	ok(t, other.Close())
	ok(t, w.CloseSession(s))
	if w.d.Sessions() != 0 || w.d.Objects() != 0 {
		t.Errorf("%d sessions, %d objects after the only session was closed", w.d.Sessions(), w.d.Objects())
	}
}

func TestUnplugged(t *testing.T) {
	w := newWorld(t)
	s := w.login()
	key, err := w.key(s)
	ok(t, err)
	w.d.Wedge(true)
	w.d.Unplug()
	w.wants(w.encrypt(s, key, 16), p11.CKR_DEVICE_REMOVED)
	_, err = w.OpenSession(w.slot, p11.CKF_SERIAL_SESSION)
	w.wants(err, p11.CKR_TOKEN_NOT_PRESENT)
	if slots, err := w.GetSlotList(true); err != nil || len(slots) != 0 {
		t.Errorf("%d slots with a token, error %v", len(slots), err)
	}
	w.d.Plug()
	w.wants(w.encrypt(s, key, 16), p11.CKR_DEVICE_ERROR) // wedged
	ok(t, w.Finalize())
	w.start()
	w.wants(w.encrypt(s, key, 16), p11.CKR_SESSION_HANDLE_INVALID)
	again := w.login()
	w.wants(w.encrypt(again, key, 16), p11.CKR_OBJECT_HANDLE_INVALID)
	w.d.LoseSessions()
	w.wants(w.encrypt(again, key, 16), p11.CKR_SESSION_HANDLE_INVALID)
}

func TestHangsAndDelays(t *testing.T) {
	w := newWorld(t)
	s := w.login()
	w.d.Hang(faultylib.GenerateRandom)
	done := make(chan error)
	go func() {
		_, err := w.GenerateRandom(s, 32)
		done <- err
	}()
	select {
	case <-done:
		t.Fatal("the call did not hang")
	case <-time.After(50 * time.Millisecond):
	}
	if w.d.Inside() != 1 {
		t.Errorf("%d calls inside", w.d.Inside())
	}
	w.login() // others go on
	w.d.Release()
	ok(t, <-done)
	w.d.Delay(20 * time.Millisecond)
	started := time.Now()
	_, err := w.GenerateRandom(s, 32)
	ok(t, err)
	if took := time.Since(started); took < 20*time.Millisecond {
		t.Errorf("a delayed call took %v", took)
	}
}

func TestLacksAndRefuses(t *testing.T) {
	w := newWorld(t)
	s := w.login()
	key, err := w.key(s)
	ok(t, err)

	w.d.RefuseECB(true)
	w.wants(w.encrypt(s, key, 16), p11.CKR_MECHANISM_INVALID)
	w.d.RefuseECB(false)
	w.d.MostInput(32)
	w.wants(w.encrypt(s, key, 48), p11.CKR_DATA_LEN_RANGE)
	ok(t, w.encrypt(s, key, 32))
	w.d.Fail(faultylib.EncryptInit, p11.CKR_GENERAL_ERROR, 1)
	w.wants(w.encrypt(s, key, 16), p11.CKR_GENERAL_ERROR)
	ok(t, w.encrypt(s, key, 16))

	w.d.Limit(2)
	_, err = w.key(s)
	ok(t, err)
	_, err = w.key(s)
	w.wants(err, p11.CKR_DEVICE_MEMORY)
	w.d.Limit(0)
	w.d.RefuseAttributes(p11.CKA_COPYABLE)
	_, err = w.key(s, p11.NewAttribute(p11.CKA_COPYABLE, false))
	w.wants(err, p11.CKR_ATTRIBUTE_TYPE_INVALID)

	w.d.Hide(p11.CKM_AES_KEY_GEN)
	_, err = w.key(s)
	w.wants(err, p11.CKR_MECHANISM_INVALID)
	list, err := w.GetMechanismList(w.slot)
	ok(t, err)
	if len(list) < 10 || slices.ContainsFunc(list, func(m *p11.Mechanism) bool { return m.Mechanism == p11.CKM_AES_KEY_GEN }) {
		t.Errorf("%d mechanisms, the hidden one among them?", len(list))
	}

	w.d.StickGenerator(0x0102030405060708)
	random, err := w.GenerateRandom(s, 24)
	ok(t, err)
	if !bytes.Equal(random[:8], random[8:16]) || !bytes.Equal(random[:8], random[16:]) {
		t.Errorf("a stuck generator gave %x", random)
	}
	w.d.TokenFlags(p11.CKF_USER_PIN_FINAL_TRY)
	info, err := w.GetTokenInfo(w.slot)
	ok(t, err)
	if info.Flags&p11.CKF_USER_PIN_FINAL_TRY == 0 {
		t.Errorf("flags %x", info.Flags)
	}
	ok(t, w.Logout(s))
	w.d.RefusePIN(true)
	w.wants(w.Login(s, p11.CKU_USER, userPIN), p11.CKR_PIN_INCORRECT)
	w.d.Heal()
	_, err = w.key(w.login())
	ok(t, err)
}

// Every object that a call makes is in the books until it is destroyed, or a leak
// of it would show nowhere; and a full device makes none of them.
func TestBooksEveryObject(t *testing.T) {
	w := newWorld(t)
	s := w.login()
	counts := func(after string, want uint64) {
		t.Helper()
		if n := w.d.Objects(); n != want {
			t.Errorf("after %s: %d objects, not %d", after, n, want)
		}
	}
	session := p11.NewAttribute(p11.CKA_TOKEN, false)
	pair := func() (public, private p11.ObjectHandle, err error) {
		p256 := []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}
		return w.GenerateKeyPair(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_EC_KEY_PAIR_GEN, nil)},
			[]*p11.Attribute{session, p11.NewAttribute(p11.CKA_EC_PARAMS, p256)}, []*p11.Attribute{session, p11.NewAttribute(p11.CKA_DERIVE, true)})
	}
	public, private, err := pair()
	ok(t, err)
	counts("making a pair", 2)
	point, err := w.GetAttributeValue(s, public, []*p11.Attribute{p11.NewAttribute(p11.CKA_EC_POINT, nil)})
	ok(t, err)
	derive := func() (p11.ObjectHandle, error) {
		parameters := p11.NewECDH1DeriveParams(p11.CKD_NULL, nil, point[0].Value)
		return w.DeriveKey(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_ECDH1_DERIVE, parameters)}, private, []*p11.Attribute{
			session, p11.NewAttribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY), p11.NewAttribute(p11.CKA_KEY_TYPE, p11.CKK_GENERIC_SECRET),
			p11.NewAttribute(p11.CKA_VALUE_LEN, 32),
		})
	}
	secret, err := derive()
	ok(t, err)
	counts("deriving", 3)
	twin, err := w.CopyObject(s, secret, []*p11.Attribute{session})
	ok(t, err)
	counts("copying", 4)
	w.d.Limit(4)
	_, err = derive()
	w.wants(err, p11.CKR_DEVICE_MEMORY)
	_, err = w.CopyObject(s, secret, []*p11.Attribute{session})
	w.wants(err, p11.CKR_DEVICE_MEMORY)
	w.d.Limit(5)
	_, _, err = pair()
	w.wants(err, p11.CKR_DEVICE_MEMORY) // there is room for one half of it
	for _, o := range []p11.ObjectHandle{public, private, secret, twin} {
		ok(t, w.DestroyObject(s, o))
	}
	counts("destroying all", 0)
}

func TestRefusesWhatIsNotThere(t *testing.T) {
	d, err := faultylib.New(t.TempDir(), "/nowhere/at-all.so")
	ok(t, err)
	defer d.Close()
	_, err = pkcs11.Open(t.Context(), pkcs11.Config{Library: d.Path, TokenLabel: "any", PIN: func() ([]byte, error) { return nil, nil }})
	if err == nil || !strings.Contains(err.Error(), "no C_GetFunctionList") {
		t.Errorf("a library without a target: %v", err)
	}
	if _, err := faultylib.Attach(t.TempDir() + "/faulty.so"); err == nil {
		t.Error("there is nothing to attach to")
	}
}
