package batch_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/batch"
	"github.com/raftkms/raftkms/hsm/hsmtest"
)

// asked is one caller in the background.
type asked struct {
	dst    []byte
	cancel context.CancelFunc
	answer chan error
}

func ask(k hsm.Key, src []byte) *asked {
	ctx, cancel := context.WithCancel(context.Background())
	a := &asked{dst: make([]byte, len(src)), cancel: cancel, answer: make(chan error, 1)}
	go func() { a.answer <- k.EncryptBlocks(ctx, a.dst, src) }()
	synctest.Wait()
	return a
}

// expect waits for the answer and fails when it is another error or takes longer.
func (a *asked) expect(t *testing.T, want error, within time.Duration) {
	t.Helper()
	defer a.cancel()
	began := time.Now()
	if err := <-a.answer; !errors.Is(err, want) {
		t.Errorf("answered with %v instead of %v", err, want)
	}
	if took := time.Since(began); took > within {
		t.Errorf("answered after %v, not %v", took, within)
	}
}

// slowKey is one key of a device with one session and calls of a millisecond.
func slowKey(t *testing.T, sessions int) (*batch.Device, *hsmtest.SlowDevice, hsm.Key, hsm.Key) {
	t.Helper()
	slow := hsmtest.NewSlowDevice(time.Millisecond, 1)
	d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: sessions})
	direct := newKey(t, 1)
	return d, slow, direct, d.Key(slow.Key(direct))
}

func TestLeavingTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, slow, _, k := slowKey(t, 1)
		first, second, third := ask(k, blocks(1, 2)), ask(k, blocks(2, 3)), ask(k, blocks(3, 5))
		second.cancel()
		second.expect(t, context.Canceled, 0)
		if s := d.Stats(); s.Waiting != 1 || s.Left != 1 {
			t.Errorf("%+v", s)
		}
		third.cancel()
		third.expect(t, context.Canceled, 0)
		first.expect(t, nil, time.Millisecond)
		if seen := slow.Seen(); seen.Calls != 1 || seen.Blocks != 2 {
			t.Errorf("the device saw %+v", seen)
		}
	})
}

func TestLeavingWhileInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, slow, direct, k := slowKey(t, 1)
		first := ask(k, blocks(1, 2))
		leader, stays, leaves := ask(k, blocks(2, 2)), ask(k, blocks(3, 2)), ask(k, blocks(4, 2))
		first.expect(t, nil, time.Millisecond)
		synctest.Wait() // the others are inside
		leaves.cancel()
		leaves.expect(t, context.Canceled, 0)
		copy(leaves.dst, "the caller's own again..........")
		// Who leads is inside the device and comes back with it, as in a call
		// of its own.
		leader.cancel()
		leader.expect(t, nil, time.Millisecond)
		stays.expect(t, nil, 0)
		if !bytes.Equal(stays.dst, encrypt(t, direct, blocks(3, 2))) || !bytes.Equal(leader.dst, encrypt(t, direct, blocks(2, 2))) {
			t.Error("wrong output")
		}
		if string(leaves.dst) != "the caller's own again.........." {
			t.Error("written to a caller who had left")
		}
		if seen, s := slow.Seen(), d.Stats(); seen.Calls != 2 || s.Left != 1 || s.Requests != 4 {
			t.Errorf("the device saw %+v, the batch %+v", seen, s)
		}
	})
}

// stuck has a call of three callers wait for a session that others than the
// batch have for the next 2 ms, the first of the three inside for the others.
func stuck(t *testing.T, most int) (d *batch.Device, slow *hsmtest.SlowDevice, direct, k hsm.Key, three []*asked) {
	t.Helper()
	slow = hsmtest.NewSlowDevice(time.Millisecond, 1)
	d = newDevice(t, batch.Config{MaxBlocks: most, Sessions: 2})
	direct = newKey(t, 1)
	k = d.Key(slow.Key(direct))
	first := ask(k, blocks(1, 2))
	for i := range 3 {
		three = append(three, ask(k, blocks(2+i, 2)))
	}
	for range 2 {
		ask(slow.Key(direct), blocks(9, 1))
	}
	first.expect(t, nil, time.Millisecond)
	synctest.Wait()
	if s := d.Stats(); s.Waiting != 0 || s.Requests != 4 || s.Sessions != 1 {
		t.Fatalf("the batch is not on its way: %+v", s)
	}
	return d, slow, direct, k, three
}

// The context of who leads ends while the module waits for a session: the
// others do not get that error but go again, before all who came later.
func TestLeaderRunsOutOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, slow, direct, k, three := stuck(t, 6)
		three = append(three, ask(k, blocks(5, 2)), ask(k, blocks(6, 2)))
		three[0].cancel()
		three[0].expect(t, context.Canceled, 0)
		three[1].expect(t, nil, 3*time.Millisecond)
		three[2].expect(t, nil, 0)
		three[3].expect(t, nil, 0)
		three[4].expect(t, nil, time.Millisecond)
		for i, a := range three[1:] {
			if !bytes.Equal(a.dst, encrypt(t, direct, blocks(3+i, 2))) {
				t.Errorf("caller %d: wrong output", i)
			}
		}
		if seen, s := slow.Seen(), d.Stats(); seen.Calls != 5 || seen.Blocks != 2+1+1+6+2 || s.Left != 1 {
			t.Errorf("the device saw %+v, the batch %+v", seen, s)
		}
	})
}

// Those who would go again after Close do not.
func TestLeaderRunsOutOfTimeInClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, slow, _, _, three := stuck(t, largest)
		closed := make(chan error)
		go func() { closed <- d.Close(context.Background()) }()
		synctest.Wait()
		three[1].cancel()
		three[1].expect(t, context.Canceled, 0)
		three[0].cancel()
		three[0].expect(t, context.Canceled, 0)
		three[2].expect(t, batch.ErrClosed, 0)
		must(t, <-closed)
		time.Sleep(10 * time.Millisecond)
		if seen := slow.Seen(); seen.Calls != 3 {
			t.Errorf("the device saw %+v", seen)
		}
	})
}

// A caller's time is over at the very moment at which its turn comes: it does
// not take the session with it.
func TestLeavingOnesTurn(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			_, _, _, k := slowKey(t, 1)
			first := ask(k, blocks(1, 2))
			answer := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				defer cancel()
				answer <- k.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16))
			}()
			synctest.Wait()
			last := ask(k, blocks(2, 2))
			first.expect(t, nil, time.Millisecond)
			if err := <-answer; err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			last.expect(t, nil, 2*time.Millisecond)
		})
	}
}

// What the device answers is for all who went together, and for no others.
func TestErrorsAreForTheWholeBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 1})
		calls := 0
		k := d.Key(keyFunc(func(context.Context, []byte, []byte) error {
			time.Sleep(time.Millisecond)
			if calls++; calls == 2 {
				return hsm.ErrUnavailable
			}
			return nil
		}))
		first, second, third := ask(k, blocks(1, 2)), ask(k, blocks(2, 2)), ask(k, blocks(3, 2))
		first.expect(t, nil, time.Millisecond)
		synctest.Wait()
		fourth := ask(k, blocks(4, 2))
		second.expect(t, hsm.ErrUnavailable, time.Millisecond)
		third.expect(t, hsm.ErrUnavailable, 0)
		fourth.expect(t, nil, time.Millisecond)
		if calls != 3 {
			t.Errorf("%d calls", calls)
		}
	})
}

// A key that panics does so for who called it; nobody else hangs, and the
// session is there again.
func TestPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 1})
		calls := 0
		k := d.Key(keyFunc(func(context.Context, []byte, []byte) error {
			time.Sleep(time.Millisecond)
			if calls++; calls == 2 {
				panic("in the module")
			}
			return nil
		}))
		first := ask(k, blocks(1, 2))
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			_ = k.EncryptBlocks(context.Background(), make([]byte, 16), make([]byte, 16))
		}()
		synctest.Wait()
		other := ask(k, blocks(2, 2))
		first.expect(t, nil, time.Millisecond)
		if err := <-other.answer; err == nil {
			t.Error("a call that panicked was a success for who was in it")
		}
		if <-panicked == nil {
			t.Error("the panic was swallowed")
		}
		encrypt(t, k, blocks(3, 2))
		other.cancel()
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, slow, direct, k := slowKey(t, 1)
		inside, other := ask(k, blocks(1, 2)), d.Key(slow.Key(direct))
		waits, waitsToo := ask(k, blocks(2, 2)), ask(other, blocks(3, 2))
		ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
		defer cancel()
		if err := d.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close with a call inside: %v", err)
		}
		waits.expect(t, batch.ErrClosed, 0)
		waitsToo.expect(t, hsm.ErrUnavailable, 0)
		must(t, d.Close(context.Background()))
		synctest.Wait()
		inside.expect(t, nil, 0)
		if !bytes.Equal(inside.dst, encrypt(t, direct, blocks(1, 2))) {
			t.Error("wrong output")
		}
		ask(k, blocks(4, 2)).expect(t, batch.ErrClosed, 0)
		if seen := slow.Seen(); seen.Calls != 1 {
			t.Errorf("%d calls", seen.Calls)
		}
	})
}

func TestCloseBesideCallers(t *testing.T) {
	for range 20 {
		slow := hsmtest.NewSlowDevice(0, 2)
		d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 2})
		k := d.Key(slow.Key(newKey(t, 1)))
		var wg sync.WaitGroup
		started := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				b := blocks(1, 2)
				for first := true; ; first = false {
					err := k.EncryptBlocks(context.Background(), b, b)
					if first {
						started <- struct{}{}
					}
					if err != nil {
						if !errors.Is(err, batch.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		for range 8 {
			<-started
		}
		must(t, d.Close(context.Background()))
		calls := slow.Seen().Calls
		wg.Wait()
		if slow.Seen().Calls != calls {
			t.Error("a call of the device after Close")
		}
	}
}

// Derivations and one-time keys do not stay in the buffers of the batch.
func TestBuffersAreWiped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, failure := range []error{nil, hsm.ErrUnavailable} {
			d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 1})
			direct := newKey(t, 1)
			var buffers [][]byte
			k := d.Key(keyFunc(func(ctx context.Context, dst, src []byte) error {
				if err := direct.EncryptBlocks(ctx, dst, src); err != nil {
					return err
				}
				time.Sleep(time.Millisecond)
				if len(src) == 2*32 {
					buffers = append(buffers, dst, src)
					return failure
				}
				return nil
			}))
			first, second, third := ask(k, blocks(1, 2)), ask(k, blocks(2, 2)), ask(k, blocks(3, 2))
			first.expect(t, nil, time.Millisecond)
			second.expect(t, failure, time.Millisecond)
			third.expect(t, failure, 0)
			synctest.Wait()
			if len(buffers) != 2 {
				t.Fatalf("%d buffers of a batch were seen", len(buffers))
			}
			for _, b := range buffers {
				if !bytes.Equal(b, make([]byte, len(b))) {
					t.Errorf("after %v: %x", failure, b)
				}
			}
		}
	})
}
