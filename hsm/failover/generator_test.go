package failover_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/entropy"
	"github.com/raftkms/raftkms/hsm/failover"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// stuck is what the generators of these tests repeat.
const stuck = 0x0102030405060708

// lines is a log that many write.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// moody is a pair with roots in both devices, whose generators can be made to
// stick, and what it logs.
func moody(t *testing.T) (p *failover.Pair, d [2]*faultylib.Device, log *lines) {
	t.Helper()
	p, d, log = moodyWithout(t)
	rooted(t, p)
	return p, d, log
}

func moodyWithout(t *testing.T) (p *failover.Pair, d [2]*faultylib.Device, log *lines) {
	t.Helper()
	first, second := newToken(t), newToken(t)
	d = [2]*faultylib.Device{faulty(t, &first), faulty(t, &second)}
	p, log = openLogged(t, first, second)
	t.Cleanup(func() { d[0].Heal(); d[1].Heal() })
	return p, d, log
}

func openLogged(t *testing.T, first, second pkcs11.Config) (*failover.Pair, *lines) {
	t.Helper()
	log := new(lines)
	cfg := devices(first, second)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	p, err := failover.Open(testContext(t), cfg)
	ok(t, err)
	t.Cleanup(func() { ok(t, p.Close()) })
	return p, log
}

// wantOut checks what is said of a device whose generator has failed, and that
// the pair goes on with the other.
func wantOut(t *testing.T, p *failover.Pair, log *lines, i int) {
	t.Helper()
	name, other := []string{"first", "second"}[i], []string{"second", "first"}[i]
	if reason := p.Members()[i].Serves(); !errors.Is(reason, entropy.ErrGenerator) || strings.Contains(reason.Error(), "\n") {
		t.Errorf("why the %s device does not serve: %v", name, reason)
	}
	if h := p.Members()[i].Health; h.Outage == nil || time.Since(h.Since) > patience {
		t.Errorf("health of the %s device: %+v", name, h)
	}
	ok(t, p.Health().Outage)
	if got := used(t, p); got != other {
		t.Errorf("the %s device is used", got)
	}
	await(t, "error in the log", func() bool { return strings.Contains(log.String(), "is out until the node is restarted") })
	if n := strings.Count(log.String(), "level=ERROR msg=\"an HSM of two is out until the node is restarted\" hsm="+name+" "); n != 1 {
		t.Errorf("%d errors are logged about the %s device:\n%s", n, name, log)
	}
}

// A device whose generator sticks is out of the pair, for good and for
// everything, and callers notice nothing; what it gave comes to nobody.
func TestStuckGeneratorOfOneDevice(t *testing.T) {
	p, d, log := moody(t)
	w, err := p.Generate(testContext(t), hsm.LevelHSM, hsm.SpecECP256)
	ok(t, err)
	w.Use = hsm.UseSign
	loaded, err := p.Load(testContext(t), w)
	ok(t, err)
	t.Cleanup(func() { ok(t, loaded.Close()) })
	digest := sha256.Sum256([]byte("message"))
	sign := func() {
		t.Helper()
		_, err := loaded.(hsm.Signer).Sign(testContext(t), hsm.SchemeECDSASHA256, digest[:])
		ok(t, err)
	}
	sign()
	signed := d[0].Calls(faultylib.Sign)
	if signed == 0 {
		t.Fatal("the first device has not signed")
	}

	d[0].StickGenerator(stuck)
	drawn := make([]byte, entropy.DrawBytes)
	ok(t, p.Random(testContext(t), drawn))
	ok(t, entropy.NewTester().Check(drawn))
	wantOut(t, p, log, 0)
	sign()
	_, err = p.Generate(testContext(t), hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)

	d[0].UnstickGenerator() // what moves again is not believed
	asked := d[0].Calls(faultylib.Every)
	sign()
	time.Sleep(10 * 50 * time.Millisecond)
	ok(t, p.Random(testContext(t), drawn))
	wantOut(t, p, log, 0)
	if now := d[0].Calls(faultylib.Every); now != asked {
		t.Errorf("the device was asked %d times since", now-asked)
	}
	if now := d[0].Calls(faultylib.Sign); now != signed {
		t.Errorf("it has signed %d times since", now-signed)
	}
	if err := p.CreateRoots(testContext(t), home, 2); !errors.Is(err, entropy.ErrGenerator) || !strings.Contains(err.Error(), "the first is out") {
		t.Errorf("new roots with one device: %v", err)
	}
}

// A key that a device made is not believed when its generator sticks afterwards:
// it may have when the key was made.
func TestAKeyOfAStuckGeneratorIsMadeAgain(t *testing.T) {
	for _, spec := range []hsm.Spec{hsm.SpecAES256, hsm.SpecECP256} {
		p, d, log := moody(t)
		function := faultylib.GenerateKey
		if spec.Pair() {
			function = faultylib.GenerateKeyPair
		}
		d[0].StickGenerator(stuck)
		made := [2]uint64{d[0].Calls(function), d[1].Calls(function)}
		w, err := p.Generate(testContext(t), hsm.LevelHSM, spec)
		ok(t, err)
		for i := range made {
			made[i] = d[i].Calls(function) - made[i]
		}
		if made != [2]uint64{1, 1} {
			t.Errorf("%s: the devices made %v keys", spec, made)
		}
		wantOut(t, p, log, 0)
		k, err := p.Load(testContext(t), w)
		ok(t, err)
		ok(t, k.Close())
		ok(t, p.Close())
	}
}

// Roots of a device whose generator sticks afterwards are destroyed, and made in
// the other; and nobody is given a key to which roots could be wrapped.
func TestRootsOfAStuckGeneratorAreMadeAgain(t *testing.T) {
	first, second := newToken(t), newToken(t)
	d := faulty(t, &first)
	t.Cleanup(d.Heal)
	p, log := openLogged(t, first, second)
	d.StickGenerator(stuck)
	ok(t, p.CreateRoots(testContext(t), home, 1))
	wantOut(t, p, log, 0)
	if _, err := p.TransportKey(testContext(t)); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("a transport key: %v", err)
	}
	ok(t, p.Close())
	holds := func(cfg pkcs11.Config) error {
		m, err := pkcs11.Open(testContext(t), cfg)
		ok(t, err)
		_, err = m.OpenRoots(testContext(t), home)
		ok(t, m.Close())
		return err
	}
	ok(t, holds(second))
	if err := holds(first); !errors.Is(err, hsm.ErrNoRoots) {
		t.Errorf("the first device has roots: %v", err)
	}

	p, _ = openLogged(t, first, newToken(t))
	d.UnstickGenerator()
	if _, err := p.TransportKey(testContext(t)); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("a transport key of a device that was found out at the start: %v", err)
	}
	ok(t, p.Close())
	p, _ = openLogged(t, first, newToken(t))
	d.StickGenerator(stuck)
	before := d.Calls(faultylib.GenerateKeyPair) // by the probe of the device
	if _, err := p.TransportKey(testContext(t)); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("a transport key of a device that sticks: %v", err)
	}
	wantOutOnly(t, p, 0)
	if n := d.Calls(faultylib.GenerateKeyPair) - before; n > 0 {
		t.Errorf("%d transport keys were made", n)
	}
}

func wantOutOnly(t *testing.T, p *failover.Pair, i int) {
	t.Helper()
	if reason := p.Members()[i].Serves(); !errors.Is(reason, entropy.ErrGenerator) {
		t.Errorf("why device %d does not serve: %v", i, reason)
	}
	ok(t, p.Health().Outage)
}

// The second is found out before it is needed, and then does not take over.
func TestStuckGeneratorOfTheSecondDevice(t *testing.T) {
	p, d, log := moody(t)
	d[1].StickGenerator(stuck)
	await(t, "failure of the second device", func() bool { return p.Members()[1].Serves() != nil })
	wantOut(t, p, log, 1)

	d[0].Unplug()
	await(t, "outage of both", func() bool {
		_ = p.Check(testContext(t))
		return p.Health().Outage != nil
	})
	for what, err := range map[string]error{
		"the outage": p.Health().Outage, "a draw": p.Random(testContext(t), make([]byte, 8)), "a check": p.Check(testContext(t)),
	} {
		// It ends when the first is back.
		if !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, entropy.ErrGenerator) {
			t.Errorf("%s is %v", what, err)
		}
	}
	d[0].Plug()
	await(t, "use of the first device", func() bool { return used(t, p) == "first" })
}

// A device that is back is tested before it is believed.
func TestStuckGeneratorOfADeviceThatIsBack(t *testing.T) {
	p, d, log := moody(t)
	d[0].Unplug()
	await(t, "outage of the first device", func() bool {
		_ = p.Check(testContext(t))
		return p.Members()[0].Serves() != nil
	})
	d[0].StickGenerator(stuck)
	d[0].Plug()
	await(t, "failure of the first device", func() bool { return errors.Is(p.Members()[0].Serves(), entropy.ErrGenerator) })
	wantOut(t, p, log, 0)
}

// One that sticks when the pair is opened is out from the beginning.
func TestStuckGeneratorAtTheStart(t *testing.T) {
	first, second := newToken(t), newToken(t)
	mac := usedBefore(t, first, second)
	d, e := faulty(t, &first), faulty(t, &second)
	t.Cleanup(func() { d.Heal(); e.Heal() })
	d.StickGenerator(stuck)
	p, log := openLogged(t, first, second)
	wantOutOnly(t, p, 0)
	_, err := p.OpenRoots(testContext(t), home)
	ok(t, err)
	wantOut(t, p, log, 0)
	ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
	ok(t, p.Close())

	// Both: that is what a node with one device says.
	e.StickGenerator(stuck)
	p, log = openLogged(t, first, second)
	_, err = p.OpenRoots(testContext(t), home)
	for what, err := range map[string]error{
		"opening the roots": err, "the outage": p.Health().Outage, "a draw": p.Random(testContext(t), make([]byte, 8)),
	} {
		if !errors.Is(err, entropy.ErrGenerator) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	await(t, "both errors", func() bool { return strings.Count(log.String(), "is out until the node is restarted") == 2 })
}

// Only when both have failed has the node's generator failed; whoever draws from
// the pair learns it as from one device, and who waits for outages, too.
func TestStuckGeneratorsOfBothDevices(t *testing.T) {
	p, d, _ := moody(t)
	pool := entropy.NewPool(p)
	t.Cleanup(pool.Close)
	d[0].StickGenerator(stuck)
	ok(t, pool.Test(testContext(t)))
	ok(t, pool.Healthy())
	changed := p.Changed()
	d[1].StickGenerator(stuck)
	await(t, "outage", func() bool { return p.Health().Outage != nil })
	if err := p.Health().Outage; !errors.Is(err, entropy.ErrGenerator) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the outage is %v", err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the outage")
	}
	if err := pool.Read(testContext(t), make([]byte, 32)); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("a draw: %v", err)
	}
	select {
	case <-pool.Failed():
	default:
		t.Error("the pool calls the generator healthy")
	}
	for i := range d {
		d[i].UnstickGenerator()
	}
	if err := pool.Test(testContext(t)); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("what moves again is believed: %v", err)
	}
	if _, err := p.Generate(testContext(t), hsm.LevelHSM, hsm.SpecAES256); !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("a key is made: %v", err)
	}
}

// One that sticks while the other is away: the outage is of the kind that ends,
// and becomes one that does not when the other comes back stuck.
func TestStuckGeneratorsOneAfterTheOther(t *testing.T) {
	p, d, _ := moody(t)
	d[1].Unplug()
	await(t, "outage of the second device", func() bool { return p.Members()[1].Serves() != nil })
	d[0].StickGenerator(stuck)
	if err := p.Random(testContext(t), make([]byte, 1024)); !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("a draw: %v", err)
	}
	await(t, "outage", func() bool { return errors.Is(p.Health().Outage, hsm.ErrUnavailable) })
	changed := p.Changed()
	d[1].StickGenerator(stuck)
	d[1].Plug()
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("nobody is told that the outage does not end")
	}
	if err := p.Health().Outage; !errors.Is(err, entropy.ErrGenerator) {
		t.Errorf("the outage is %v", err)
	}
}

// A call that is inside a device when its generator is found to stick does not
// wait for it, and what comes of it is not used.
func TestACallInsideAStuckDeviceIsMadeAgain(t *testing.T) {
	p, d, _ := moody(t)
	ctx, cancel := context.WithTimeout(testContext(t), patience)
	defer cancel()
	d[0].Hang(faultylib.SignInit) // for less than the outage takes
	macs := make(chan error, 1)
	go func() {
		_, err := p.MAC(ctx, []byte("record"))
		macs <- err
	}()
	await(t, "call inside", func() bool { return d[0].Inside() > 0 })
	d[0].StickGenerator(stuck)
	ok(t, p.Random(ctx, make([]byte, 1024)))
	ok(t, <-macs)
	if n := d[0].Inside(); n != 1 {
		t.Errorf("%d calls are inside the device still", n)
	}
	d[0].Release()
	wantOutOnly(t, p, 0)
}
