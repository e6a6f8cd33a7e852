package gate_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/server/gate"
)

// street is a lane with callers on it, in the time of a bubble.
type street struct {
	*gate.Lane
	mu      sync.Mutex
	entered []string // who was let in, in that order
	refused []string
	places  map[string][]*gate.Place
}

// allAtOnce are more refusals than a test asks for.
const allAtOnce = 1_000_000

func newStreet(calls, refusals int) *street {
	return &street{Lane: gate.NewLane(calls, refusals), places: make(map[string][]*gate.Place)}
}

// come has a call of somebody come, and returns when it is known what becomes
// of it for now.
func (s *street) come(ctx context.Context, who string) {
	go func() {
		p, err := s.Enter(ctx, who)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.refused = append(s.refused, who)
			return
		}
		s.entered = append(s.entered, who)
		s.places[who] = append(s.places[who], p)
	}()
	synctest.Wait()
}

// go1 ends one call of somebody; false: there is none.
func (s *street) go1(who string) bool {
	s.mu.Lock()
	places := s.places[who]
	if len(places) == 0 {
		s.mu.Unlock()
		return false
	}
	s.places[who] = places[1:]
	s.mu.Unlock()
	places[0].Leave()
	synctest.Wait()
	return true
}

func (s *street) want(t *testing.T, entered, refused string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, not := strings.Join(s.entered, ""), strings.Join(s.refused, ""); got != entered || not != refused {
		t.Errorf("%q were let in and %q refused; not %q and %q", got, not, entered, refused)
	}
}

func TestOnePrincipalLeavesPlacesToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(4, allAtOnce)
		for range 4 {
			s.come(t.Context(), "a")
		}
		s.come(t.Context(), "b")
		s.come(t.Context(), "c")
		s.want(t, "aabc", "")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s.want(t, "aabc", "aa") // a second is what they wait
		if c := s.Counts(); c != (gate.LaneCounts{Working: 4, Late: 2}) {
			t.Errorf("counted %+v", c)
		}
	})
}

// Who has their share has no turn until they have less; then theirs is the last.
func TestPrincipalsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(2, allAtOnce)
		for _, who := range "abaaabbc" {
			s.come(t.Context(), string(who))
		}
		s.want(t, "ab", "")
		for _, who := range []string{"a", "b", "a", "b", "c", "a", "b", "a"} {
			s.go1(who)
		}
		s.want(t, "ab"+"ca"+"ba"+"ba", "")
		if c := s.Counts(); c != (gate.LaneCounts{}) {
			t.Errorf("counted %+v", c)
		}
	})
}

// Who asks for too much loses what came last; who asks for little is heard.
func TestTooManyThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(2, allAtOnce) // eight may wait
		for range 9 {
			s.come(t.Context(), "a")
		}
		s.come(t.Context(), "b") // finds a place
		s.come(t.Context(), "a")
		s.want(t, "ab", "a")
		s.come(t.Context(), "b")
		s.come(t.Context(), "c")
		s.want(t, "ab", "aaa")
		if c := s.Counts(); c != (gate.LaneCounts{Working: 2, Waiting: 8, Full: 3}) {
			t.Errorf("counted %+v", c)
		}
		time.Sleep(2 * time.Second)
	})
}

// Beyond so many a second, refusals are told when the call is a second old: those
// of calls that have waited, too. Who does not want to know by then need not wait.
func TestRefusalsOfACrowdAreToldLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(2, 0) // two are told at once
		for range 9 {
			s.come(t.Context(), "a") // one works, eight wait
		}
		gone, cancel := context.WithCancel(t.Context())
		s.come(t.Context(), "a")
		s.come(t.Context(), "a")
		s.come(gone, "a")
		s.come(t.Context(), "a")
		s.want(t, "a", "aa")
		s.come(t.Context(), "b")
		s.come(t.Context(), "b") // waits instead of an a
		if c := s.Counts(); c != (gate.LaneCounts{Working: 2, Waiting: 8, Full: 5}) {
			t.Errorf("counted %+v", c)
		}
		cancel()
		synctest.Wait()
		s.want(t, "ab", "aaa")
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		s.want(t, "ab", "aaa")
		s.go1("b")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		s.want(t, "abb", "aaa"+"aaaaaaaaa") // seven had waited, and two been refused
	})
}

func TestACallerWhoWaitsMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gate.NewLane(1, 0)
		p, err := lane.Enter(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(gone) })
		if _, err := lane.Enter(ctx, "a"); !errors.Is(err, gone) {
			t.Errorf("said %v", err)
		}
		p.Leave()
		if p, err = lane.Enter(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		p.Leave()
		if c := lane.Counts(); c != (gate.LaneCounts{}) {
			t.Errorf("counted %+v", c)
		}
	})
}

func TestAPlaceCostsNothing(t *testing.T) {
	lane, ctx := gate.NewLane(0, 0), t.Context()
	if n := testing.AllocsPerRun(100, func() {
		p, err := lane.Enter(ctx, "a")
		if err != nil {
			t.Fatal(err)
		}
		p.Leave()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLane(b *testing.B) {
	lane := gate.NewLane(0, 0)
	names := []string{"a", "b", "c", "d"}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			p, err := lane.Enter(b.Context(), names[i%len(names)])
			if err != nil {
				b.Fatal(err)
			}
			p.Leave()
		}
	})
}

// BenchmarkCrowdedLane is what a call costs, be it let in or refused, where
// thousands of principals ask at once and each asks again.
func BenchmarkCrowdedLane(b *testing.B) {
	lane := gate.NewLane(0, 0)
	var principals atomic.Int64
	b.SetParallelism(8192 / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		who := fmt.Sprint(principals.Add(1))
		for pb.Next() {
			p, err := lane.Enter(b.Context(), who)
			runtime.Gosched() // others come meanwhile
			if err == nil {
				p.Leave()
			}
		}
	})
	c := lane.Counts()
	b.ReportMetric(float64(c.Full+c.Late)/float64(b.N), "refused/op")
}
