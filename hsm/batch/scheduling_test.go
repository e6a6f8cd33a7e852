package batch_test

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/batch"
	"github.com/raftkms/raftkms/hsm/hsmtest"
)

// Time here passes only when everybody waits, so all counts are exact.

const largest = 4096 // blocks

// callers have k encrypt two blocks each, in rounds one after the other.
func callers(t *testing.T, wg *sync.WaitGroup, k hsm.Key, n, rounds int) {
	t.Helper()
	for i := range n {
		wg.Go(func() {
			b := blocks(i, 2)
			for range rounds {
				if err := k.EncryptBlocks(context.Background(), b, b); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestCallsPerDerivation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, rounds = 256, 50
		slow := hsmtest.NewSlowDevice(time.Millisecond, 1)
		d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 1})
		var wg sync.WaitGroup
		callers(t, &wg, d.Key(slow.Key(newKey(t, 1))), n, rounds)
		wg.Wait()
		seen := slow.Seen()
		t.Logf("%d derivations in %d calls", n*rounds, seen.Calls)
		if seen.Calls > n*rounds/32 {
			t.Errorf("%d calls for %d derivations are more than one in 32", seen.Calls, n*rounds)
		}
	})
}

// While calls are short, one at a time serves a key; other keys have theirs.
func TestShortCallsDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := hsmtest.NewSlowDevice(200*time.Microsecond, 4)
		d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 4})
		var wg sync.WaitGroup
		for fill := range byte(4) {
			callers(t, &wg, d.Key(slow.Key(newKey(t, fill))), 16, 20)
		}
		wg.Wait()
		if seen := slow.Seen(); seen.MostOfOne != 1 || seen.MostAtOnce != 4 {
			t.Errorf("%+v", seen)
		}
	})
}

// A further session comes with the first caller after 200 µs of one call, and
// takes along those who came before. Once calls are known to be long it comes
// at once, and when they are short again no more.
func TestFurtherSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		latency := time.Millisecond
		inside, most := 0, 0
		var mu sync.Mutex
		d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 4})
		k := d.Key(keyFunc(func(context.Context, []byte, []byte) error {
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			time.Sleep(latency)
			mu.Lock()
			inside--
			mu.Unlock()
			return nil
		}))
		var wg sync.WaitGroup
		come := func(expectInside, expectWaiting int) {
			t.Helper()
			callers(t, &wg, k, 1, 1)
			synctest.Wait()
			if s := d.Stats(); s.Sessions != expectInside || s.Waiting != expectWaiting {
				t.Errorf("%d calls in the device, %d callers waiting; not %d and %d", s.Sessions, s.Waiting, expectInside, expectWaiting)
			}
		}
		come(1, 0)
		come(1, 1)
		time.Sleep(200 * time.Microsecond)
		come(1, 2)
		time.Sleep(time.Microsecond)
		come(2, 0) // takes both
		come(2, 1) // that call is young
		wg.Wait()
		if s := d.Stats(); s.Calls != 3 || s.Requests != 5 {
			t.Errorf("%+v", s)
		}

		for calls := range 4 { // known to be long by now
			come(calls+1, 0)
		}
		come(4, 1) // no more sessions
		wg.Wait()

		latency = 10 * time.Microsecond
		callers(t, &wg, k, 1, 32)
		wg.Wait()
		most = 0
		callers(t, &wg, k, 16, 10)
		wg.Wait()
		if most != 1 {
			t.Errorf("%d short calls at once", most)
		}
	})
}

// An outlier (a goroutine that waited for a processor) does not make a device slow.
func TestOneLongCallIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		latency := time.Hour
		d := newDevice(t, batch.Config{MaxBlocks: largest, Sessions: 4})
		k := d.Key(keyFunc(func(context.Context, []byte, []byte) error {
			time.Sleep(latency)
			return nil
		}))
		encrypt(t, k, blocks(1, 2))
		latency = 100 * time.Microsecond
		var wg sync.WaitGroup
		for range 2 {
			callers(t, &wg, k, 1, 1)
			synctest.Wait()
		}
		if s := d.Stats(); s.Sessions != 1 || s.Waiting != 1 {
			t.Errorf("%d calls in the device, %d callers waiting", s.Sessions, s.Waiting)
		}
		wg.Wait()
	})
}

// More callers than go into one call take all sessions of a slow device at once.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := hsmtest.NewSlowDevice(time.Second, 4)
		d := newDevice(t, batch.Config{MaxBlocks: 16, Sessions: 4}) // 8 requests
		k := d.Key(slow.Key(newKey(t, 1)))
		for range 3 { // now it is known to be slow
			encrypt(t, k, blocks(1, 2))
		}
		var wg sync.WaitGroup
		callers(t, &wg, k, 100, 1)
		synctest.Wait()
		if s := d.Stats(); s.Sessions != 4 {
			t.Errorf("%d calls in the device, %d callers waiting", s.Sessions, s.Waiting)
		}
		wg.Wait()
	})
}

// Who is ready to come joins the first call, however short the calls are; and
// soon again after a time in which there was nobody.
func TestThoseWhoAreReadyJoin(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	d := newDevice(t, batch.Config{MaxBlocks: largest})
	k := d.Key(newKey(t, 1))
	// The scheduler may look at who yielded before it has run all the others.
	for _, c := range []struct{ alone, most uint64 }{{0, 8}, {1000, 8 + 16}, {1, 8}} {
		// On a busy machine whoever runs may be put aside half-way, and goes alone
		// then. Who does not yield is alone 64 times, every time.
		calls := uint64(64)
		for range 5 {
			calls = min(calls, readyTogether(t, d, k, c.alone))
		}
		if calls > c.most {
			t.Errorf("%d calls for 64 callers after %d with one", calls, c.alone)
		}
	}
}

// readyTogether counts the calls for 64 callers that are all ready at once, after
// some that were alone.
func readyTogether(t *testing.T, d *batch.Device, k hsm.Key, alone uint64) uint64 {
	t.Helper()
	for range alone {
		encrypt(t, k, blocks(1, 2))
	}
	before := d.Stats().Calls
	var wg, there sync.WaitGroup
	begin := make(chan struct{})
	for i := range 64 {
		there.Add(1)
		wg.Go(func() {
			b := blocks(i, 2)
			there.Done()
			<-begin
			if err := k.EncryptBlocks(context.Background(), b, b); err != nil {
				t.Error(err)
			}
		})
	}
	there.Wait()
	close(begin)
	wg.Wait()
	return d.Stats().Calls - before
}

// However many callers one key has, another's caller waits for the call inside
// and at most one more; and so with a hundred others.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		named := func(name string) keyFunc {
			return func(context.Context, []byte, []byte) error {
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				return nil
			}
		}
		d := newDevice(t, batch.Config{MaxBlocks: 16, Sessions: 1}) // 8 requests
		var wg sync.WaitGroup
		callers(t, &wg, d.Key(named("hot")), 200, 20)
		time.Sleep(10*time.Millisecond + time.Microsecond)
		mu.Lock()
		before := len(order)
		mu.Unlock()
		var names []string
		for i := range 100 {
			name := "cold " + strings.Repeat("i", i)
			names = append(names, name)
			callers(t, &wg, d.Key(named(name)), 1, 1)
		}
		wg.Wait()
		after := order[before:]
		for i, name := range names {
			if at := slices.Index(after, name); at < 0 || at > len(names) {
				t.Errorf("key %d of %d that waited had turn %d", i+1, len(names), at+1)
			}
		}
		if hot := after[:len(names)+1]; !slices.Contains(hot, "hot") {
			t.Error("the hot key had no turn among them")
		}
		if got, want := len(order), 100+200*20/8; got > want+5 {
			t.Errorf("%d calls instead of about %d", got, want)
		}
	})
}

// What is larger than the device takes goes alone, for the module to split or
// refuse; and where the largest input is not known everybody goes alone.
func TestLargeAndUnknownInputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ most, each, calls int }{
			{0, 1, 6},
			{3, 4, 6},
			{4, 4, 6},
			{8, 4, 4}, // 1, then 2, 2, 1
			{24, 4, 2},
		} {
			slow := hsmtest.NewSlowDevice(time.Microsecond, 1)
			d := newDevice(t, batch.Config{MaxBlocks: c.most, Sessions: 1})
			direct := newKey(t, 1)
			k := d.Key(slow.Key(direct))
			var wg sync.WaitGroup
			one := func(i int) {
				src := blocks(i, c.each)
				if got := encrypt(t, k, src); string(got) != string(encrypt(t, direct, src)) {
					t.Errorf("%+v: wrong output", c)
				}
			}
			wg.Go(func() { one(0) })
			synctest.Wait() // the first is inside
			for i := 1; i < 6; i++ {
				wg.Go(func() { one(i) })
			}
			wg.Wait()
			if seen := slow.Seen(); seen.Calls != c.calls {
				t.Errorf("%+v: %d calls", c, seen.Calls)
			}
		}
	})
}
