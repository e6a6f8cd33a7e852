package pkcs11_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// reloadWithin is what two devices may take to be used again that need a reload
// of their library: their supervisors look every two seconds.
const reloadWithin = 10 * time.Second

// pins is where a device of a test gets its PIN from.
type pins struct {
	asked atomic.Int64
	err   atomic.Pointer[error]
	wrong atomic.Bool
}

func (p *pins) pin() ([]byte, error) {
	p.asked.Add(1)
	if err := p.err.Load(); err != nil {
		return nil, *err
	}
	if p.wrong.Load() {
		return []byte("wrong-9999"), nil
	}
	return []byte(userPIN), nil
}

// twins are two tokens of one library that the test can break, which breaks both.
func twins(t *testing.T) (cfgs [2]pkcs11.Config, from [2]*pins, d *faultylib.Device) {
	t.Helper()
	for i := range cfgs {
		cfgs[i], from[i] = newToken(t), new(pins)
		cfgs[i].PIN = from[i].pin
		cfgs[i].CallTimeout, cfgs[i].CallLimit = 2*time.Second, callLimit
	}
	d, err := faultylib.New(t.TempDir(), cfgs[0].Library)
	ok(t, err)
	cfgs[0].Library, cfgs[1].Library = d.Path, d.Path
	t.Cleanup(func() { ok(t, d.Close()) })
	return cfgs, from, d
}

// awaitReload waits for the devices to serve again, from now.
func awaitReload(t *testing.T, all ...*pkcs11.Module) {
	t.Helper()
	within := time.After(reloadWithin)
	for _, m := range all {
		for changed := m.Changed(); m.Health().Outage != nil; changed = m.Changed() {
			select {
			case <-changed:
			case <-within:
				t.Fatalf("within %v the library was not loaded again: %v", reloadWithin, m.Health().Outage)
			}
		}
	}
}

// A library that serves two tokens is loaded again when both need it.
func TestReloadForTwoTokens(t *testing.T) {
	cfgs, _, d := twins(t)
	a, b := open(t, cfgs[0]), open(t, cfgs[1])
	ok(t, a.CreateRoots(testContext(t), home, 1))
	ok(t, b.CreateRoots(testContext(t), home, 1))
	d.Wedge(true)
	d.Unplug()
	awaitOutage(t, a)
	awaitOutage(t, b)
	d.Plug()
	awaitReload(t, a, b)
	if n := a.Health().Reloads + b.Health().Reloads; n == 0 {
		t.Error("the library was not loaded again")
	}
	ok(t, a.Check(testContext(t)))
	ok(t, b.Check(testContext(t)))
}

// A device that waits for a person to put its PIN right keeps no other from that.
func TestReloadBesideARefusedPIN(t *testing.T) {
	cfgs, from, d := twins(t)
	a, b := open(t, cfgs[0]), open(t, cfgs[1])
	ok(t, a.CreateRoots(testContext(t), home, 1))
	ok(t, b.CreateRoots(testContext(t), home, 1))
	from[1].wrong.Store(true)
	listed := d.Calls(faultylib.GetSlotList)
	d.LoseSessions()
	if err := b.Check(testContext(t)); !errors.Is(err, hsm.ErrPIN) {
		t.Fatalf("Check with a wrong PIN: %v", err)
	}
	for deadline := time.Now().Add(4 * backWithin); d.Calls(faultylib.GetSlotList) == listed; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the supervisor does not look")
		}
	}
	d.Wedge(true)
	d.Unplug()
	awaitOutage(t, a)
	d.Plug()
	awaitReload(t, a)
	if n := a.Health().Reloads + b.Health().Reloads; n == 0 {
		t.Error("the library was not loaded again")
	}
	if n := from[1].asked.Load(); n != 2 {
		t.Errorf("the PIN that was refused was asked for %d times", n-1)
	}
}

// Who has closed a device that was out is no user any more: the library is not
// loaded again below one that serves.
func TestNoReloadBelowADeviceThatServes(t *testing.T) {
	cfgs, from, d := twins(t)
	b := open(t, cfgs[1])
	ok(t, b.CreateRoots(testContext(t), home, 1))
	reason := errors.New("the file with the PIN cannot be read")
	isOut := func(a *pkcs11.Module) {
		t.Helper()
		from[0].err.Store(&reason)
		d.LoseSessions()
		awaitOutage(t, a)
		asked := from[0].asked.Load()
		for deadline := time.Now().Add(4 * backWithin); from[0].asked.Load() < asked+3; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the supervisor does not try")
			}
			ok(t, b.Check(testContext(t)))
		}
	}
	for generation := range hsm.RootGeneration(2) {
		from[0].err.Store(nil)
		a, err := pkcs11.Open(testContext(t), cfgs[0])
		ok(t, err)
		ok(t, a.CreateRoots(testContext(t), home, 1+generation))
		isOut(a)
		ok(t, a.Close())
	}
	if n := d.Calls(faultylib.Finalize); n != 0 {
		t.Errorf("the library was finalised %d times below a device that serves", n)
	}
}
