package failover_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/failover"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

const (
	officerPIN = "officer-1234"
	userPIN    = "user-5678"
	// patience is for a busy machine; nothing takes so long on an idle one.
	patience = 40 * time.Second
)

var (
	home  = hsm.ClusterID{0x68, 15: 1}
	other = hsm.ClusterID{0x6f, 15: 2}
)

// tokens is the one SoftHSM of the test process: a process has one configuration.
var tokens struct {
	dir     string
	library string
	next    atomic.Int64
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "pair-")
		if err == nil {
			defer os.RemoveAll(dir)
			tokens.dir = dir
			tokens.library, err = pkcs11.FindSoftHSM()
		}
		if err == nil {
			err = os.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf"))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "these tests need SoftHSM (apt-get install softhsm2):", err)
			return 1
		}
		return m.Run()
	}())
}

// newToken makes an empty token and returns the configuration to open it with.
func newToken(t *testing.T) pkcs11.Config {
	t.Helper()
	label := fmt.Sprintf("token %d", tokens.next.Add(1))
	_, err := pkcs11.CreateSoftHSMToken(tokens.dir, label, []byte(officerPIN), []byte(userPIN))
	ok(t, err)
	return pkcs11.Config{
		Library: tokens.library, TokenLabel: label, Sessions: 4, CallTimeout: 2 * time.Second, CallLimit: time.Second,
		PIN: func() ([]byte, error) { return []byte(userPIN), nil },
	}
}

// faulty puts a library in front of the token's that the test can break. Each has
// a SoftHSM of its own: two libraries are two devices.
func faulty(t *testing.T, cfg *pkcs11.Config) *faultylib.Device {
	t.Helper()
	dir := t.TempDir()
	from, err := os.Open(cfg.Library)
	ok(t, err)
	defer from.Close()
	to, err := os.Create(filepath.Join(dir, "libown.so"))
	ok(t, err)
	_, err = io.Copy(to, from)
	ok(t, errors.Join(err, to.Close()))
	d, err := faultylib.New(dir, to.Name())
	ok(t, err)
	cfg.Library = d.Path
	t.Cleanup(func() { ok(t, d.Close()) })
	return d
}

func devices(first, second pkcs11.Config) failover.Config {
	device := func(name string, cfg pkcs11.Config) failover.Device {
		cfg.OpenLimit = -1 // the pair's is enough
		return failover.Device{Name: name, Open: func(ctx context.Context) (hsm.Module, error) {
			m, err := pkcs11.Open(ctx, cfg)
			if err != nil {
				return nil, err
			}
			return m, nil
		}}
	}
	return failover.Config{Pause: 50 * time.Millisecond, Devices: [2]failover.Device{device("first", first), device("second", second)}}
}

func openPair(t *testing.T, first, second pkcs11.Config) *failover.Pair {
	t.Helper()
	p, err := failover.Open(testContext(t), devices(first, second))
	ok(t, err)
	t.Cleanup(func() { ok(t, p.Close()) })
	return p
}

// rooted makes roots in the first device and brings them to the second.
func rooted(t *testing.T, p *failover.Pair) {
	t.Helper()
	ok(t, p.CreateRoots(testContext(t), home, 1))
	to, err := p.CopyRoots(testContext(t), 1, []byte(officerPIN))
	ok(t, err)
	if len(to) != 1 || to[0] != "second" {
		t.Fatalf("the roots were copied to %v", to)
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s", what)
		}
	}
}

// used tells which device answers now.
func used(t *testing.T, p *failover.Pair) string {
	t.Helper()
	before := p.Members()
	if err := p.Check(testContext(t)); err != nil {
		return "none"
	}
	after := p.Members()
	// The second is looked at now and then also when nobody uses it, and that
	// does not count as a call.
	switch {
	case after[1].Calls > before[1].Calls:
		return "second"
	case after[0].Calls > before[0].Calls:
		return "first"
	}
	return "none"
}

// Two slots of one library: what is wrapped in the one opens in the other, also
// when the node comes up with either one alone.
func TestTwoSlotsOfOneLibrary(t *testing.T) {
	first, second := newToken(t), newToken(t)
	p := openPair(t, first, second)
	if err := hsm.Outage(p); err != nil {
		t.Errorf("two empty tokens are an outage: %v", err)
	}
	if _, err := p.OpenRoots(testContext(t), home); !errors.Is(err, hsm.ErrNoRoots) {
		t.Errorf("roots in two empty tokens: %v", err)
	}
	ok(t, p.CreateRoots(testContext(t), home, 1))
	if reason := p.Members()[1].Serves(); reason == nil || !strings.Contains(reason.Error(), "kmsctl root copy") {
		t.Errorf("the second device has no roots yet: %v", reason)
	}
	if err := p.CreateRoots(testContext(t), home, 2); err == nil || !strings.Contains(err.Error(), "the second HSM lacks") {
		t.Errorf("the next generation before the first is in both: %v", err)
	}
	keys, err := p.Lacking(testContext(t), 1)
	ok(t, err)
	if len(keys) != 1 {
		t.Fatalf("%d devices lack the roots", len(keys))
	}
	_, err = p.CopyRoots(testContext(t), 1, []byte("wrong-9999"))
	if !errors.Is(err, hsm.ErrOfficerPIN) {
		t.Errorf("copied with a wrong officer's PIN: %v", err)
	}
	to, err := p.CopyRoots(testContext(t), 1, []byte(officerPIN))
	ok(t, err)
	if again, err := p.CopyRoots(testContext(t), 1, []byte(officerPIN)); err != nil || len(again) != 0 || len(to) != 1 {
		t.Errorf("copied to %v, and again to %v: %v", to, again, err)
	}
	w, err := p.Generate(testContext(t), hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	mac, err := p.MAC(testContext(t), []byte("record"))
	ok(t, err)
	ok(t, p.Close())

	m, err := pkcs11.Open(testContext(t), second)
	ok(t, err)
	_, err = m.OpenRoots(testContext(t), home)
	ok(t, err)
	ok(t, m.VerifyMAC(testContext(t), []byte("record"), mac))
	key, err := hsm.LoadKey(testContext(t), m, w)
	ok(t, err)
	ok(t, errors.Join(key.Close(), m.Close()))

	p = openPair(t, second, first) // whichever is preferred
	_, err = p.OpenRoots(testContext(t), home)
	ok(t, err)
	ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
	// The next generation goes the same way, and both are in both until one is destroyed.
	ok(t, p.CreateRoots(testContext(t), home, 2))
	_, err = p.CopyRoots(testContext(t), 2, []byte(officerPIN))
	ok(t, err)
	ok(t, p.DestroyRoots(testContext(t), home, 1))
	if err := p.VerifyMAC(testContext(t), []byte("record"), mac); !errors.Is(err, hsm.ErrMAC) {
		t.Errorf("a MAC of roots that were destroyed: %v", err)
	}
	for _, member := range p.Members() {
		ok(t, member.Serves())
	}
}

// What is wrong with the second device is said when the node starts, in one sentence.
func TestRefusals(t *testing.T) {
	first, second := newToken(t), newToken(t)
	wrongPIN := second
	wrongPIN.PIN = func() ([]byte, error) { return []byte("wrong-9999"), nil }
	_, err := failover.Open(testContext(t), devices(first, wrongPIN))
	if !errors.Is(err, hsm.ErrPIN) || !strings.Contains(err.Error(), "the second HSM: ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("opened with a wrong PIN: %v", err)
	}
	nowhere := first
	nowhere.TokenLabel = "nowhere"
	if _, err := failover.Open(testContext(t), devices(nowhere, nowhere)); err == nil {
		t.Error("opened without any device")
	}
	for name, cluster := range map[string]hsm.ClusterID{"the same cluster": home, "another cluster": other} {
		for _, made := range []struct {
			cfg     pkcs11.Config
			cluster hsm.ClusterID
		}{{first, home}, {second, cluster}} {
			m, err := pkcs11.Open(testContext(t), made.cfg)
			ok(t, err)
			if err := m.CreateRoots(testContext(t), made.cluster, 1); err != nil && !errors.Is(err, hsm.ErrRootsExist) {
				t.Fatal(err)
			}
			ok(t, m.Close())
		}
		p, err := failover.Open(testContext(t), devices(first, second))
		ok(t, err)
		_, err = p.OpenRoots(testContext(t), home)
		want := hsm.ErrCanary
		if cluster != home {
			want = hsm.ErrForeignRoots
		}
		if !errors.Is(err, want) || !strings.Contains(err.Error(), "the second HSM") || strings.Contains(err.Error(), "\n") {
			t.Errorf("other roots of %s: %v", name, err)
		}
		ok(t, p.Close())
		second = newToken(t)
	}
}

// keptBusy is callers that use every kind of call until stop, and count. No
// answer may be wrong; what fails is counted.
type keptBusy struct {
	good, failed atomic.Int64
	last         atomic.Pointer[error]
	stop         context.CancelFunc
	all          sync.WaitGroup
}

func keepBusy(t *testing.T, p *failover.Pair) *keptBusy {
	t.Helper()
	ctx := testContext(t)
	var keys []hsm.Key
	var expect [][]byte
	in := bytes.Repeat([]byte{7}, 64)
	for i, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelHSM, hsm.LevelSoftware} {
		w, err := p.Generate(ctx, level, hsm.SpecAES256)
		ok(t, err)
		key, err := hsm.LoadKey(ctx, p, w)
		ok(t, err)
		keys, expect = append(keys, key), append(expect, make([]byte, len(in)))
		ok(t, key.EncryptBlocks(ctx, expect[i], in))
	}
	seal, err := p.Seal(ctx)
	ok(t, err)
	keys, expect = append(keys, seal), append(expect, make([]byte, len(in)))
	ok(t, seal.EncryptBlocks(ctx, expect[3], in))
	mac, err := p.MAC(ctx, []byte("record"))
	ok(t, err)
	wrapped, err := p.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	running, stop := context.WithCancel(context.Background())
	b := &keptBusy{stop: stop}
	for i := range 8 {
		b.all.Go(func() {
			for running.Err() == nil {
				err := func() error {
					switch i {
					case 0:
						return p.VerifyMAC(context.Background(), []byte("record"), mac)
					case 1:
						return p.Random(context.Background(), make([]byte, 64))
					case 2:
						k, err := hsm.LoadKey(context.Background(), p, wrapped)
						if err != nil {
							return err
						}
						return errors.Join(k.EncryptBlocks(context.Background(), make([]byte, 16), make([]byte, 16)), k.Close())
					default:
						k := i % len(keys)
						out := make([]byte, len(in))
						err := keys[k].EncryptBlocks(context.Background(), out, in)
						if err == nil && !bytes.Equal(out, expect[k]) {
							t.Errorf("key %d: a wrong answer", k)
						}
						return err
					}
				}()
				if err != nil {
					b.failed.Add(1)
					b.last.Store(&err)
				} else {
					b.good.Add(1)
				}
				if errors.Is(err, hsm.ErrMAC) || errors.Is(err, hsm.ErrUnwrap) || errors.Is(err, hsm.ErrNoRoots) {
					t.Errorf("caller %d was told what is not so: %v", i, err)
				}
			}
		})
	}
	t.Cleanup(func() {
		b.end()
		for _, k := range keys {
			ok(t, k.Close())
		}
	})
	return b
}

func (b *keptBusy) end() {
	b.stop()
	b.all.Wait()
}

// goesOn waits until so many more calls were answered.
func (b *keptBusy) goesOn(t *testing.T) {
	t.Helper()
	before := b.good.Load()
	await(t, "answers", func() bool { return b.good.Load() >= before+50 })
}

func (b *keptBusy) wantNoneFailed(t *testing.T, when string) {
	t.Helper()
	if n := b.failed.Swap(0); n > 0 {
		t.Errorf("%s: %d calls failed, %d were answered; one of them: %v", when, n, b.good.Load(), *b.last.Load())
	}
}

// The first device dies under load in every way, and comes back: no call fails,
// none is answered wrongly, and the first is used again.
func TestFirstDiesUnderLoad(t *testing.T) {
	first, second := newToken(t), newToken(t)
	d := faulty(t, &first)
	p := openPair(t, first, second)
	t.Cleanup(d.Heal)
	rooted(t, p)
	b := keepBusy(t, p)
	b.goesOn(t)
	b.wantNoneFailed(t, "before")
	for _, fault := range []struct {
		name        string
		begin, back func()
	}{
		{"unplugged", d.Unplug, d.Plug},
		{"unplugged and wedged", func() { d.Wedge(true); d.Unplug() }, func() { d.Plug() }},
		{"hanging", func() { d.Hang(faultylib.Every) }, d.Release},
	} {
		fault.begin()
		await(t, "outage of the first device when it is "+fault.name, func() bool { return p.Members()[0].Serves() != nil })
		b.goesOn(t)
		if got := used(t, p); got != "second" {
			t.Errorf("%s: the %s device is used", fault.name, got)
		}
		if out := p.Health().Outage; out != nil {
			t.Errorf("%s: the pair is out: %v", fault.name, out)
		}
		fault.back()
		await(t, "first device that is back from being "+fault.name, func() bool { return p.Members()[0].Serves() == nil })
		d.Wedge(false)
		await(t, "use of the first device again", func() bool { return used(t, p) == "first" })
		b.goesOn(t)
		b.wantNoneFailed(t, fault.name)
	}
	b.end()
	if n := d.Objects(); n > 64 {
		t.Errorf("%d objects are in the first device", n)
	}
}

// An outage of the pair is one of both devices; the one that is back first serves.
func TestBothDie(t *testing.T) {
	first, second := newToken(t), newToken(t)
	d, e := faulty(t, &first), faulty(t, &second)
	p := openPair(t, first, second)
	t.Cleanup(func() { d.Heal(); e.Heal() })
	rooted(t, p)
	w, err := p.Generate(testContext(t), hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	key, err := hsm.LoadKey(testContext(t), p, w)
	ok(t, err)
	expect, out := make([]byte, 16), make([]byte, 16)
	ok(t, key.EncryptBlocks(testContext(t), expect, expect))

	changed := p.Changed()
	e.Unplug() // that of the one that nobody uses is seen, too
	await(t, "outage of the second device", func() bool { return p.Members()[1].Serves() != nil })
	if err := p.CreateRoots(testContext(t), home, 2); err == nil || !strings.Contains(err.Error(), "the second is out") {
		t.Errorf("new roots while the second device is out: %v", err)
	}
	if err := p.Health().Outage; err != nil {
		t.Errorf("the pair is out with one device: %v", err)
	}
	d.Unplug()
	await(t, "outage of both", func() bool {
		_ = p.Check(testContext(t))
		return p.Health().Outage != nil
	})
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the outage")
	}
	if err := p.Health().Outage; !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("the outage is %v", err)
	}
	if err := key.EncryptBlocks(testContext(t), out, make([]byte, 16)); !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("with both out a key says %v", err)
	}
	e.Plug()
	await(t, "end of the outage", func() bool { return p.Health().Outage == nil })
	ok(t, key.EncryptBlocks(testContext(t), out, make([]byte, 16)))
	if !bytes.Equal(out, expect) {
		t.Error("the key is another one in the second device")
	}
	if got := used(t, p); got != "second" {
		t.Errorf("the %s device is used", got)
	}
	d.Plug()
	await(t, "use of the first device again", func() bool { return used(t, p) == "first" })
	ok(t, key.EncryptBlocks(testContext(t), out, make([]byte, 16)))
	if !bytes.Equal(out, expect) {
		t.Error("the key is another one in the first device")
	}
	ok(t, key.Close())
}

// usedBefore is what a pair of the devices, which has roots since, made of a record.
func usedBefore(t *testing.T, first, second pkcs11.Config) (mac []byte) {
	t.Helper()
	p := openPair(t, first, second)
	rooted(t, p)
	mac, err := p.MAC(testContext(t), []byte("record"))
	ok(t, err)
	ok(t, p.Close())
	return mac
}

// A node comes up while one device is away, and uses it once it is there.
func TestStartsWithOne(t *testing.T) {
	first, second := newToken(t), newToken(t)
	d := faulty(t, &first)
	mac := usedBefore(t, first, second)

	d.Unplug()
	p := openPair(t, first, second)
	t.Cleanup(d.Heal)
	_, err := p.OpenRoots(testContext(t), home)
	ok(t, err)
	ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
	if got := used(t, p); got != "second" {
		t.Errorf("the %s device is used", got)
	}
	if reason := p.Members()[0].Serves(); !errors.Is(reason, hsm.ErrUnavailable) {
		t.Errorf("the first device is away: %v", reason)
	}
	d.Plug()
	await(t, "use of the first device", func() bool { return used(t, p) == "first" })
	ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
}

// A node comes up while the library of one device hangs, wherever in its opening,
// and uses the device once it lets go.
func TestStartsWithOneThatHangs(t *testing.T) {
	first, second := newToken(t), newToken(t)
	d := faulty(t, &first)
	mac := usedBefore(t, first, second)

	for _, in := range []faultylib.Function{faultylib.Initialize, faultylib.GetSlotList, faultylib.Login, faultylib.Every} {
		d.Hang(in)
		cfg := devices(first, second)
		cfg.OpenLimit = 500 * time.Millisecond
		started := time.Now()
		p, err := failover.Open(testContext(t), cfg)
		if err != nil {
			d.Release()
			t.Fatalf("function %d hangs: %v", in, err)
		}
		if took := time.Since(started); took > patience/4 {
			t.Errorf("function %d hangs: opened after %v", in, took)
		}
		_, err = p.OpenRoots(testContext(t), home)
		ok(t, err)
		ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
		if got := used(t, p); got != "second" {
			t.Errorf("function %d hangs: the %s device is used", in, got)
		}
		if reason := p.Members()[0].Serves(); !errors.Is(reason, hsm.ErrUnavailable) || !strings.Contains(reason.Error(), "has not been opened within 500ms; check") {
			t.Errorf("function %d hangs: the first device is said to be %v", in, reason)
		}
		time.Sleep(10 * cfg.Pause)
		if n := d.Inside(); n != 1 {
			t.Errorf("function %d hangs: %d calls are inside", in, n)
		}
		d.Release()
		await(t, "use of the first device", func() bool { return used(t, p) == "first" })
		ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
		ok(t, p.Close())
	}
}

// A device that comes when its pair is closed already is closed, too; and one
// that never came keeps nobody from closing it.
func TestComesTooLate(t *testing.T) {
	first, second := newToken(t), newToken(t)
	d := faulty(t, &first)
	cfg := devices(first, second)
	cfg.OpenLimit = 500 * time.Millisecond
	d.Hang(faultylib.Login)
	t.Cleanup(d.Heal)
	p, err := failover.Open(testContext(t), cfg)
	ok(t, err)
	time.AfterFunc(time.Second, d.Release)
	ok(t, p.Close())
	if n := d.Sessions(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}

	// Two that hang are one sentence, as soon as the limit is over.
	e := faulty(t, &second)
	t.Cleanup(e.Heal)
	cfg = devices(first, second)
	cfg.OpenLimit = 500 * time.Millisecond
	d.Hang(faultylib.Every)
	e.Hang(faultylib.OpenSession)
	started := time.Now()
	_, err = failover.Open(testContext(t), cfg)
	if !errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), "the first HSM") || !strings.Contains(err.Error(), "the second HSM") || time.Since(started) > patience/4 {
		t.Errorf("both hang: %v, after %v", err, time.Since(started))
	}
	d.Release()
	e.Release()
	await(t, "end of the openings", func() bool { return d.Calls(faultylib.Finalize) > 1 && e.Calls(faultylib.Finalize) > 0 })
	await(t, "end of all sessions", func() bool { return d.Sessions()+e.Sessions() == 0 })
	p = openPair(t, first, second)
	ok(t, p.CreateRoots(testContext(t), home, 1))
}

// A key of every kind, loaded while the first device served, does in the second
// what it is for; and what the first then makes, the second opens.
func TestEveryUse(t *testing.T) {
	first, second := newToken(t), newToken(t)
	d := faulty(t, &first)
	p := openPair(t, first, second)
	t.Cleanup(d.Heal)
	rooted(t, p)
	load := func(spec hsm.Spec, use hsm.Use) (hsm.Wrapped, hsm.Loaded) {
		w, err := p.Generate(testContext(t), hsm.LevelHSM, spec)
		ok(t, err)
		w.Use = use
		k, err := p.Load(testContext(t), w)
		ok(t, err)
		t.Cleanup(func() { ok(t, k.Close()) })
		return w, k
	}
	pair, signer := load(hsm.SpecECP256, hsm.UseSign)
	peer, agreer := load(hsm.SpecECP256, hsm.UseAgree)
	_, macer := load(hsm.SpecHMAC256, 0)
	encrypted, decrypter := load(hsm.SpecRSA2048, hsm.UseEncrypt)
	secret, err := agreer.(hsm.Agreer).Agree(testContext(t), pair.PublicKey)
	ok(t, err)
	mac, err := macer.(hsm.MACer).MAC(testContext(t), []byte("message"))
	ok(t, err)
	digest := sha256.Sum256([]byte("message"))
	ciphertext, err := keypair.Encrypt(hsm.SpecRSA2048, encrypted.PublicKey, hsm.PaddingOAEPSHA256, []byte("label"), digest[:])
	ok(t, err)
	public, err := x509.ParsePKIXPublicKey(encrypted.PublicKey)
	ok(t, err)
	block, err := rsa.EncryptPKCS1v15(rand.Reader, public.(*rsa.PublicKey), digest[:]) //lint:ignore SA1019 what is tested is how it is decrypted
	ok(t, err)

	for _, at := range []string{"first", "second"} {
		if at == "second" {
			d.Unplug()
			await(t, "outage of the first device", func() bool { return used(t, p) == "second" })
		}
		signature, err := signer.(hsm.Signer).Sign(testContext(t), hsm.SchemeECDSASHA256, digest[:])
		ok(t, err)
		verifies, err := keypair.Verify(hsm.SpecECP256, pair.PublicKey, hsm.SchemeECDSASHA256, digest[:], signature)
		if err != nil || !verifies {
			t.Errorf("%s: the signature is not by the key: %v", at, err)
		}
		again, err := agreer.(hsm.Agreer).Agree(testContext(t), pair.PublicKey)
		if err != nil || !bytes.Equal(again, secret) {
			t.Errorf("%s: another secret (%v)", at, err)
		}
		if again, err := macer.(hsm.MACer).MAC(testContext(t), []byte("message")); err != nil || !bytes.Equal(again, mac) {
			t.Errorf("%s: another MAC (%v)", at, err)
		}
		opened, err := decrypter.(hsm.Decrypter).Decrypt(testContext(t), hsm.PaddingOAEPSHA256, []byte("label"), ciphertext)
		if err != nil || !bytes.Equal(opened, digest[:]) {
			t.Errorf("%s: what was encrypted does not open (%v)", at, err)
		}
		dst := make([]byte, len(digest))
		if err := decrypter.(hsm.Decrypter).DecryptPKCS1(testContext(t), dst, block); err != nil || !bytes.Equal(dst, digest[:]) {
			t.Errorf("%s: what was encrypted with PKCS #1 v1.5 does not open (%v)", at, err)
		}
		imported, err := p.Import(testContext(t), hsm.LevelHSM, hsm.SpecAES256, bytes.Repeat([]byte{9}, 32))
		ok(t, err)
		k, err := hsm.LoadKey(testContext(t), p, imported)
		ok(t, err)
		ok(t, k.Close())
		d, err := p.Rewrap(testContext(t), imported, 1)
		if err == nil || !errors.Is(err, hsm.ErrNotPermitted) {
			t.Errorf("%s: rewrapped without leave: %v, %v", at, d.Generation, err)
		}
	}
	if !p.Describe().Carries(peer.Spec) {
		t.Error("the pair does not say that it carries the keys")
	}
}
