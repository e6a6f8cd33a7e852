package batch_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/batch"
	"github.com/raftkms/raftkms/hsm/hsmtest"
	"github.com/raftkms/raftkms/hsm/locked"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// newKey is a key of 32 times fill in locked memory.
func newKey(t testing.TB, fill byte) hsm.Key {
	t.Helper()
	arena := locked.NewArena(64 << 10)
	k, err := arena.NewKey(bytes.Repeat([]byte{fill}, 32))
	must(t, err)
	t.Cleanup(func() { must(t, k.Close(), arena.Close()) })
	return k
}

// newDevice is closed with the test, and must then have nobody in it.
func newDevice(t testing.TB, cfg batch.Config) *batch.Device {
	t.Helper()
	d := batch.New(cfg)
	t.Cleanup(func() {
		must(t, d.Close(context.Background()))
		if s := d.Stats(); s.Waiting != 0 || s.Sessions != 0 {
			t.Errorf("left over: %+v", s)
		}
	})
	return d
}

// blocks returns n blocks that no other tag has.
func blocks(tag, n int) []byte {
	b := make([]byte, 16*n)
	for i := range n {
		b[16*i], b[16*i+1], b[16*i+2], b[16*i+3] = byte(tag), byte(tag>>8), byte(i), 0x5a
	}
	return b
}

func encrypt(t testing.TB, k hsm.Key, src []byte) []byte {
	t.Helper()
	dst := make([]byte, len(src))
	must(t, k.EncryptBlocks(context.Background(), dst, src))
	return dst
}

// keyFunc is a key that is a function.
type keyFunc func(ctx context.Context, dst, src []byte) error

func (f keyFunc) EncryptBlocks(ctx context.Context, dst, src []byte) error { return f(ctx, dst, src) }
func (keyFunc) Close() error                                               { return nil }

// Many callers of several keys get what each would get alone, in place or not,
// whatever they bring, and no input is larger than allowed.
func TestSameBytesAsAlone(t *testing.T) {
	const callers, rounds, most = 32, 100, 24
	slow := hsmtest.NewSlowDevice(0, 3)
	d := newDevice(t, batch.Config{MaxBlocks: most, Sessions: 3})
	var direct, batched []hsm.Key
	for fill := range byte(5) {
		k := newKey(t, fill)
		direct = append(direct, k)
		batched = append(batched, d.Key(slow.Key(k)))
	}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for round := range rounds {
				i := rand.IntN(len(direct))
				src := blocks(caller*rounds+round, 1+rand.IntN(most))
				expect := encrypt(t, direct[i], src)
				dst := src
				if round%2 == 0 {
					dst = make([]byte, len(src))
				}
				if err := batched[i].EncryptBlocks(context.Background(), dst, src); err != nil || !bytes.Equal(dst, expect) {
					t.Errorf("key %d, %d bytes: error %v, the same output %v", i, len(src), err, bytes.Equal(dst, expect))
				}
			}
		})
	}
	wg.Wait()
	seen, stats := slow.Seen(), d.Stats()
	if seen.MostBlocks > most || seen.MostAtOnce > 3 {
		t.Errorf("bounds were not kept: %+v", seen)
	}
	if stats.Requests != callers*rounds || stats.Calls != uint64(seen.Calls) || stats.Blocks != uint64(seen.Blocks) || stats.Left != 0 {
		t.Errorf("%+v after %d requests, of which the device saw %+v", stats, callers*rounds, seen)
	}
}

// Callers who come, go and come again at any moment: nobody is forgotten, a
// success is right, and nothing is written to one who has left.
func TestLeavingAtAnyMoment(t *testing.T) {
	const callers, rounds = 32, 150
	slow := hsmtest.NewSlowDevice(20*time.Microsecond, 2)
	d := newDevice(t, batch.Config{MaxBlocks: 16, Sessions: 2})
	var direct, batched []hsm.Key
	for fill := range byte(3) {
		k := newKey(t, fill)
		direct = append(direct, k)
		batched = append(batched, d.Key(slow.Key(k)))
	}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			dst := make([]byte, 32)
			for round := range rounds {
				i := rand.IntN(len(direct))
				src := blocks(caller*rounds+round, 2)
				expect := encrypt(t, direct[i], src)
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(200))*time.Microsecond)
				err := batched[i].EncryptBlocks(ctx, dst, src)
				cancel()
				switch {
				case err == nil && !bytes.Equal(dst, expect):
					t.Error("wrong output without an error")
				case err != nil && !errors.Is(err, context.DeadlineExceeded):
					t.Error(err)
				}
				// The memory is the caller's again: the race detector looks on.
				clear(src)
				clear(dst)
			}
		})
	}
	wg.Wait()
	for i := range direct {
		if src := blocks(i, 2); !bytes.Equal(encrypt(t, batched[i], src), encrypt(t, direct[i], src)) {
			t.Errorf("key %d is another one afterwards", i)
		}
	}
}

func TestRefusals(t *testing.T) {
	d := newDevice(t, batch.Config{MaxBlocks: 8})
	k := d.Key(newKey(t, 1))
	for _, size := range [][2]int{{0, 0}, {1, 1}, {15, 15}, {17, 17}, {16, 32}, {32, 16}} {
		if err := k.EncryptBlocks(context.Background(), make([]byte, size[0]), make([]byte, size[1])); err == nil {
			t.Errorf("room for %d bytes, input of %d: accepted", size[0], size[1])
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.EncryptBlocks(ctx, make([]byte, 16), make([]byte, 16)); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if s := d.Stats(); s.Calls != 0 {
		t.Errorf("%d calls of the device", s.Calls)
	}
}

// A closed key is closed for its batch too, and other keys are not.
func TestClosedKey(t *testing.T) {
	d := newDevice(t, batch.Config{MaxBlocks: 8})
	k, other := d.Key(newKey(t, 1)), d.Key(newKey(t, 2))
	must(t, k.Close())
	if err := k.EncryptBlocks(context.Background(), make([]byte, 16), make([]byte, 16)); !errors.Is(err, locked.ErrClosed) {
		t.Errorf("a closed key: %v", err)
	}
	encrypt(t, other, blocks(1, 1))
}
