package gate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

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

func newStreet(calls int) *street {
	return &street{Lane: gate.NewLane(calls), places: make(map[string][]*gate.Place)}
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
		s := newStreet(4)
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

func TestPrincipalsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(2)
		for _, who := range "abaaabbc" {
			s.come(t.Context(), string(who))
		}
		s.want(t, "ab", "")
		for _, who := range []string{"a", "b", "a", "b", "c", "a", "b", "a"} {
			s.go1(who)
		}
		s.want(t, "ab"+"ab"+"ca"+"ba", "")
		if c := s.Counts(); c != (gate.LaneCounts{}) {
			t.Errorf("counted %+v", c)
		}
	})
}

// Who asks for too much loses what came last; who asks for little is heard.
func TestTooManyThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreet(2) // eight may wait
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

func TestACallerWhoWaitsMayGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lane := gate.NewLane(1)
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

// Whatever comes and goes: no bound is passed, nobody waits beside a free place
// that they may have, and every call is let in or refused once.
func TestLanes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 99), 1, 80).Draw(r, "steps")
		calls := rapid.IntRange(1, 6).Draw(r, "calls")
		var wrong string
		synctest.Test(t, func(t *testing.T) {
			s := newStreet(calls)
			came := map[string]int{}
			for _, step := range steps {
				who := string(rune('a' + step%3))
				switch {
				case step < 60:
					s.come(t.Context(), who)
					came[who]++
				case step < 95:
					s.go1(who)
				default:
					time.Sleep(300 * time.Millisecond)
					synctest.Wait()
				}
				if wrong = s.wrong(calls, came); wrong != "" {
					break
				}
			}
			time.Sleep(2 * time.Second) // who waits gives up
			for _, who := range []string{"a", "b", "c"} {
				for s.go1(who) {
				}
			}
			if c := s.Counts(); wrong == "" && (c.Working != 0 || c.Waiting != 0 || len(s.entered)+len(s.refused) != came["a"]+came["b"]+came["c"]) {
				wrong = fmt.Sprintf("%+v are left of %v: %q, %q", c, came, s.entered, s.refused)
			}
		})
		if wrong != "" {
			r.Fatal(wrong)
		}
	})
}

// wrong says what is wrong with a lane to which so many calls of each have come.
func (s *street) wrong(calls int, came map[string]int) string {
	c, share := s.Counts(), max(1, calls/2)
	s.mu.Lock()
	defer s.mu.Unlock()
	working, kept := 0, "" // kept: who waits and may have a place more
	for _, who := range []string{"a", "b", "c"} {
		n := len(s.places[who])
		working += n
		if n > share {
			return fmt.Sprintf("%s has %d of %d places", who, n, calls)
		}
		count := func(of []string) (n int) {
			for _, other := range of {
				if other == who {
					n++
				}
			}
			return n
		}
		if n < share && came[who] > count(s.entered)+count(s.refused) {
			kept = who
		}
	}
	switch {
	case working != c.Working || working > calls || c.Waiting > 4*calls:
		return fmt.Sprintf("%d work, %+v", working, c)
	case kept != "" && working < calls:
		return fmt.Sprintf("%s waits beside a free place: %+v", kept, c)
	}
	return ""
}

func TestAPlaceCostsNothing(t *testing.T) {
	lane, ctx := gate.NewLane(0), t.Context()
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
	lane := gate.NewLane(0)
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
