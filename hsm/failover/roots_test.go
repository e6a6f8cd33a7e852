package failover_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/failover"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
)

// hungRoots is a pair that is open, of devices that have roots.
func hungRoots(t *testing.T) (p *failover.Pair, d, e *faultylib.Device, mac []byte) {
	t.Helper()
	first, second := newToken(t), newToken(t)
	d, e = faulty(t, &first), faulty(t, &second)
	mac = usedBefore(t, first, second)
	p = openPair(t, first, second)
	t.Cleanup(func() { d.Heal(); e.Heal() })
	return p, d, e, mac
}

// within has f return in time, whatever hangs.
func within(t *testing.T, limit time.Duration, what string, f func(ctx context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(testContext(t), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit + patience/4):
		t.Fatalf("%s has not returned", what)
		return nil
	}
}

// wantSecond checks that the pair serves by the second device, and does again
// after that was away for a moment.
func wantSecond(t *testing.T, p *failover.Pair, second *faultylib.Device, mac []byte) {
	t.Helper()
	ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
	await(t, "use of the second device", func() bool { return used(t, p) == "second" })
	second.Unplug()
	await(t, "outage of the second device", func() bool { return p.Members()[1].Serves() != nil })
	second.Plug()
	await(t, "use of the second device again", func() bool { return used(t, p) == "second" })
	ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
}

// A node whose first device hangs while it opens the roots serves with the second,
// wherever the first hangs, and with the first once it has let go.
func TestOpensRootsWithOneThatHangs(t *testing.T) {
	for _, in := range []faultylib.Function{faultylib.FindObjects, faultylib.WrapKey} { // when they are looked for, and when their canary is made
		p, d, e, mac := hungRoots(t)
		d.Hang(in)
		ok(t, within(t, 10*time.Second, "opening the roots", func(ctx context.Context) error {
			_, err := p.OpenRoots(ctx, home)
			return err
		}))
		if reason := p.Members()[0].Serves(); !errors.Is(reason, hsm.ErrUnavailable) {
			t.Errorf("function %d hangs: the first device is said to be %v", in, reason)
		}
		wantSecond(t, p, e, mac)
		d.Release()
		await(t, "use of the first device", func() bool { return used(t, p) == "first" })
		ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
		ok(t, p.Close())
	}
}

// A device that hangs while it changes roots keeps neither its caller nor the
// other device.
func TestChangesRootsWhileOneHangs(t *testing.T) {
	for what, change := range map[string]func(ctx context.Context, p *failover.Pair) error{
		"destroying": func(ctx context.Context, p *failover.Pair) error { return p.DestroyRoots(ctx, home, 7) },
		"creating":   func(ctx context.Context, p *failover.Pair) error { return p.CreateRoots(ctx, home, 2) },
		"copying": func(ctx context.Context, p *failover.Pair) error {
			_, err := p.CopyRoots(ctx, 2, []byte(officerPIN))
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			p, d, e, mac := hungRoots(t)
			_, err := p.OpenRoots(testContext(t), home)
			ok(t, err)
			if what == "copying" {
				ok(t, p.CreateRoots(testContext(t), home, 2))
			}
			d.Hang(faultylib.FindObjects)
			err = within(t, patience, what, func(ctx context.Context) error { return change(ctx, p) })
			if !errors.Is(err, hsm.ErrUnavailable) {
				t.Errorf("the first device hangs: %v", err)
			}
			if what != "copying" { // then the second lacks what is in use
				wantSecond(t, p, e, mac)
			}
			d.Release()
			await(t, "use of the first device", func() bool { return used(t, p) == "first" })
			ok(t, p.VerifyMAC(testContext(t), []byte("record"), mac))
		})
	}
}

// Two that hang while roots are opened anew are not taken for devices without any.
func TestRootsAreKeptWhileBothHang(t *testing.T) {
	p, d, e, mac := hungRoots(t)
	_, err := p.OpenRoots(testContext(t), home)
	ok(t, err)
	d.Hang(faultylib.FindObjects)
	e.Hang(faultylib.FindObjects)
	err = within(t, 2*time.Second, "opening the roots", func(ctx context.Context) error {
		_, err := p.OpenRoots(ctx, home)
		return err
	})
	if err == nil {
		t.Error("opened the roots of two that hang")
	}
	d.Release()
	e.Release()
	await(t, "answer", func() bool { return p.VerifyMAC(testContext(t), []byte("record"), mac) == nil })
	e.Unplug() // one that is back proves that it has them
	await(t, "outage of the second device", func() bool { return p.Members()[1].Serves() != nil })
	e.Plug()
	await(t, "service of both", func() bool { return p.Members()[0].Serves() == nil && p.Members()[1].Serves() == nil })
}
