package pkcs11_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// backWithin is what a device may take to be used again once it is back.
const backWithin = 5 * time.Second

// callLimit is far above what SoftHSM takes, also on a busy machine.
const callLimit = 500 * time.Millisecond

// dying is a module over a device that the test can break.
func dying(t *testing.T, change func(*pkcs11.Config)) (*pkcs11.Module, *faultylib.Device) {
	t.Helper()
	cfg := newToken(t)
	d, err := faultylib.New(t.TempDir(), cfg.Library)
	ok(t, err)
	cfg.Library = d.Path
	cfg.Sessions = 4
	cfg.CallTimeout, cfg.CallLimit = 2*time.Second, callLimit
	if change != nil {
		change(&cfg)
	}
	m, err := pkcs11.Open(testContext(t), cfg)
	ok(t, err)
	t.Cleanup(func() {
		d.Heal()
		if !errors.Is(m.Health().Outage, hsm.ErrPIN) {
			awaitBack(t, m)
		}
		ok(t, m.Close())
		ok(t, d.Close())
	})
	ok(t, m.CreateRoots(testContext(t), home, 1))
	return m, d
}

// awaitBack returns how long it took until the module served again.
func awaitBack(t *testing.T, m *pkcs11.Module) time.Duration {
	t.Helper()
	started := time.Now()
	for {
		changed := m.Changed()
		if m.Health().Outage == nil {
			break
		}
		select {
		case <-changed:
		case <-time.After(4 * backWithin):
			t.Fatalf("the module does not serve again: %v", m.Health().Outage)
		}
	}
	// A busy machine keeps a call beyond the limit, and then that is an outage too.
	for err := m.Check(testContext(t)); err != nil; err = m.Check(testContext(t)) {
		if time.Since(started) > 4*backWithin {
			t.Fatalf("the module says that it serves, but %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(started)
}

// await waits for an outage to begin.
func awaitOutage(t *testing.T, m *pkcs11.Module) {
	t.Helper()
	for range 2000 {
		if m.Health().Outage != nil {
			return
		}
		_ = m.Check(testContext(t))
		time.Sleep(time.Millisecond)
	}
	t.Fatal("there is no outage")
}

// seeOutage waits until a module that is kept busy has noticed that its device is
// away, after so many outages before: a busy machine may give the callers no turn
// for a while.
func seeOutage(t *testing.T, m *pkcs11.Module, before uint64) {
	t.Helper()
	for deadline := time.Now().Add(4 * backWithin); m.Health().Outages == before && m.Health().Outage == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("there is no outage")
		}
	}
}

// Killed, hung, wedged and brought back under load, for RAFTKMS_TORTURE or a
// few rounds: no wrong answer, back within five seconds, and nothing grows.
func TestDeviceThatDies(t *testing.T) {
	m, d := dying(t, nil)
	w := work(t, m)
	ctx := context.Background()
	stop := make(chan struct{})
	good, wait := load(ctx, t, w, stop)
	rounds, until := 14, time.Time{}
	if long, err := time.ParseDuration(os.Getenv("RAFTKMS_TORTURE")); err == nil {
		rounds, until = 1<<30, time.Now().Add(long)
	}
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	var slowest time.Duration
	var grown growth
	for round := range rounds {
		if !until.IsZero() && time.Now().After(until) {
			break
		}
		before, outages := good.Load(), m.Health().Outages
		fault := round % 7
		away := time.Duration(50+random.IntN(500)) * time.Millisecond
		switch fault {
		case 0, 1:
			d.Wedge(fault == 1)
			d.Unplug()
			seeOutage(t, m, outages)
			time.Sleep(away)
			d.Plug()
		case 2:
			d.LoseSessions()
		case 3:
			d.Hang(faultylib.Every)
			seeOutage(t, m, outages)
			time.Sleep(callLimit + 100*time.Millisecond + away)
			d.Release()
		case 4:
			d.Hang(faultylib.Encrypt)
			time.Sleep(callLimit + 100*time.Millisecond + away)
			d.Release()
		case 5:
			function := []faultylib.Function{faultylib.EncryptInit, faultylib.Sign, faultylib.UnwrapKey, faultylib.OpenSession}[random.IntN(4)]
			code := []uint{p11.CKR_DEVICE_ERROR, p11.CKR_GENERAL_ERROR, p11.CKR_USER_NOT_LOGGED_IN}[random.IntN(3)]
			d.Fail(function, code, 1+random.IntN(40))
			time.Sleep(away)
			d.Heal()
		case 6: // away, and back for a moment, and away
			for range 3 {
				d.Unplug()
				time.Sleep(away / 4)
				d.Plug()
				time.Sleep(20 * time.Millisecond)
			}
		}
		took := awaitBack(t, m)
		slowest = max(slowest, took)
		if took > backWithin {
			t.Errorf("round %d (fault %d, seed %d): back after %v", round, fault, seed, took)
		}
		for deadline := time.Now().Add(backWithin); good.Load() < before+50; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("round %d (fault %d, seed %d): the load does not go on", round, fault, seed)
			}
		}
		d.Wedge(false)
		if round >= 7 {
			grown.check(t, footprintOf(t, m, d, good.Load()))
		}
	}
	close(stop)
	wait()
	h := m.Health()
	t.Logf("%d good answers, %d outages, %d logins, %d reloads, slowest recovery %v", good.Load(), h.Outages, h.Logins, h.Reloads, slowest)
	w.works()
}

// A device that is away is told at once, and asked seldom.
func TestOutageFailsFast(t *testing.T) {
	m, d := dying(t, nil)
	w := work(t, m)
	d.Unplug()
	awaitOutage(t, m)
	before, started := d.Calls(faultylib.Every), time.Now()
	for range 1000 {
		if err := m.Check(testContext(t)); !errors.Is(err, hsm.ErrUnavailable) {
			t.Fatalf("Check: %v", err)
		}
		if err := w.keys[0].EncryptBlocks(testContext(t), make([]byte, 16), make([]byte, 16)); !errors.Is(err, hsm.ErrUnavailable) {
			t.Fatalf("EncryptBlocks: %v", err)
		}
	}
	if took := time.Since(started); took > time.Second {
		t.Errorf("2000 calls during an outage took %v", took)
	}
	if n := d.Calls(faultylib.Every) - before; n > 200 {
		t.Errorf("the device was asked %d times meanwhile", n)
	}
	ok(t, w.keys[0].Close())
	d.Plug()
	awaitBack(t, m)
	if n := m.Health().Loaded; n != 0 {
		t.Errorf("%d keys count as loaded", n)
	}
}

// A hung device does not hold those who are not inside it, and one that never
// comes back is told.
func TestHungForGood(t *testing.T) {
	told := make(chan error, 10)
	m, d := dying(t, func(c *pkcs11.Config) {
		c.CallLimit = 250 * time.Millisecond
		c.Hung = func(err error) { told <- err }
	})
	w := work(t, m)
	d.Hang(faultylib.Encrypt)
	var wg sync.WaitGroup
	var inside, outside atomic.Int64
	for range 200 {
		wg.Go(func() {
			started := time.Now()
			err := w.keys[0].EncryptBlocks(testContext(t), make([]byte, 16), make([]byte, 16))
			if errors.Is(err, hsm.ErrUnavailable) && time.Since(started) < 1250*time.Millisecond {
				outside.Add(1)
			} else {
				inside.Add(1)
			}
		})
	}
	select {
	case err := <-told:
		if !errors.Is(err, hsm.ErrUnavailable) {
			t.Errorf("told %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told")
	}
	if h := m.Health(); h.Outage == nil || h.Inside == 0 || h.Oldest < 6*250*time.Millisecond {
		t.Errorf("health %+v", h)
	}
	d.Release()
	awaitBack(t, m)
	wg.Wait()
	if inside.Load() > 4 || outside.Load() < 196 {
		t.Errorf("%d callers hung with the device, which has 4 sessions; %d were told", inside.Load(), outside.Load())
	}
	if len(told) > 0 {
		t.Error("told more than once")
	}
}

// A device of which nothing comes out any more is an outage long before the limit
// of one call, and so nobody waits for it. One call that lasts is none.
func TestSilence(t *testing.T) {
	m, d := dying(t, func(c *pkcs11.Config) { c.CallLimit = 4 * time.Second })
	w := work(t, m)
	var wg sync.WaitGroup
	hang := func() {
		wg.Go(func() { _ = w.keys[0].EncryptBlocks(testContext(t), make([]byte, 16), make([]byte, 16)) })
	}
	d.Hang(faultylib.Encrypt)
	hang()
	time.Sleep(2 * time.Second) // twice what would be silence
	if h := m.Health(); h.Outage != nil || h.Inside == 0 {
		t.Errorf("while one call lasts: health %+v", h)
	}
	for range 5 { // more than there are sessions
		hang()
	}
	awaitOutage(t, m)
	if out := m.Health().Outage; !errors.Is(out, hsm.ErrUnavailable) || !strings.Contains(out.Error(), "nothing has come out of the device") {
		t.Errorf("the outage is called %v", out)
	}
	d.Release()
	wg.Wait()
	awaitBack(t, m)
	const generateKeyPair faultylib.Function = 59
	d.Hang(generateKeyPair)
	wg.Go(func() { _, _ = m.Generate(testContext(t), hsm.LevelHSM, hsm.SpecRSA2048) })
	time.Sleep(2 * time.Second)
	if h := m.Health(); h.Outage != nil || h.Inside == 0 {
		t.Errorf("while a key pair is made: health %+v", h)
	}
	d.Release()
	wg.Wait()
}

// A PIN that is refused when the device comes back is tried once, by nobody else.
func TestRefusedAfterOutage(t *testing.T) {
	m, d := dying(t, nil)
	d.RefusePIN(true)
	before := d.Calls(faultylib.Login)
	d.Unplug()
	awaitOutage(t, m)
	d.Plug()
	for range 3000 {
		if errors.Is(m.Health().Outage, hsm.ErrPIN) || d.Calls(faultylib.Login) > before {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(3 * time.Second) // in which it could be tried again
	if n := d.Calls(faultylib.Login) - before; n != 1 {
		t.Errorf("the refused PIN was tried %d times", n)
	}
	if err := m.Check(testContext(t)); !errors.Is(err, hsm.ErrPIN) || strings.Count(err.Error(), "restart the node") != 1 {
		t.Errorf("Check: %v", err)
	}
}

// A full device says so, and has room again when a key is closed.
func TestFullDevice(t *testing.T) {
	m, d := dying(t, nil)
	ctx := testContext(t)
	wrapped, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	d.Limit(int(d.Objects()) + 3)
	var keys []hsm.Key
	for err == nil {
		var k hsm.Key
		if k, err = hsm.LoadKey(ctx, m, wrapped); err == nil {
			keys = append(keys, k)
		}
	}
	if !errors.Is(err, hsm.ErrFull) || len(keys) != 3 || m.Health().Loaded != 3 || m.Health().Outage != nil {
		t.Fatalf("%v after %d keys, health %+v", err, len(keys), m.Health())
	}
	ok(t, keys[0].Close())
	k, err := hsm.LoadKey(ctx, m, wrapped)
	ok(t, err)
	for _, k := range append(keys[1:], k) {
		ok(t, k.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)))
		ok(t, k.Close())
	}
}
