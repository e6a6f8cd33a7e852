package gate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/server/gate"
)

// crossing is a lane, and what every call has seen of it.
type crossing struct {
	lane  *gate.Lane
	most  int
	calls []*crosser // in the order in which they came
	// passed counts, for everyone who has a turn, how often each other one was
	// let in meanwhile.
	passed     map[string]map[string]int
	full, late int64
}

// crosser is one call.
type crosser struct {
	who    string
	cancel context.CancelFunc
	ended  chan struct{} // closed when place and err are known
	place  *gate.Place
	err    error
	left   bool
}

func (c *crosser) waits() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func (c *crosser) works() bool { return !c.waits() && c.err == nil && !c.left }

// queues are the calls that wait, of everyone, and how many are worked on.
func (x *crossing) queues() (waiting map[string][]*crosser, working map[string]int) {
	waiting, working = make(map[string][]*crosser), make(map[string]int)
	for _, c := range x.calls {
		switch {
		case c.waits():
			waiting[c.who] = append(waiting[c.who], c)
		case c.works():
			working[c.who]++
		}
	}
	return waiting, working
}

func (x *crossing) come(ctx context.Context, who string) *crosser {
	ctx, cancel := context.WithCancel(ctx)
	c := &crosser{who: who, cancel: cancel, ended: make(chan struct{})}
	x.calls = append(x.calls, c)
	go func() {
		defer close(c.ended)
		c.place, c.err = x.lane.Enter(ctx, who)
	}()
	synctest.Wait()
	return c
}

// pick returns one of the calls that are so; nil: none is.
func (x *crossing) pick(n int, so func(*crosser) bool) *crosser {
	var all []*crosser
	for _, c := range x.calls {
		if so(c) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all[n%len(all)]
}

// step does one thing, and returns what the lane has done wrong.
func (x *crossing) step(ctx context.Context, n int) (wrong string) {
	waiting, working := x.queues()
	var came *crosser
	slept := false
	switch kind, n := n%10, n/10; {
	case kind < 5:
		came = x.come(ctx, principals[n%len(principals)])
		waiting[came.who] = append(waiting[came.who], came)
	case kind < 9:
		if c := x.pick(n, (*crosser).waits); c != nil && kind > 6 { // it may be let in in that very moment
			c.cancel()
		}
		if c := x.pick(n, (*crosser).works); c != nil && kind < 8 {
			c.left = true
			working[c.who]--
			c.place.Leave()
		}
	default:
		slept = true
		time.Sleep(400 * time.Millisecond)
	}
	synctest.Wait()
	return x.judge(waiting, working, came, slept)
}

// principals are who asks.
var principals = []string{"a", "b", "c", "d", "e"}

// share is how many places one has at most.
func (x *crossing) share() int { return max(1, x.most/2) }

// judge compares what there is now with what there was: the calls that waited,
// with the one that came, and the numbers of those that were worked on.
func (x *crossing) judge(waited map[string][]*crosser, worked map[string]int, came *crosser, slept bool) string {
	waiting, working := x.queues()
	allWorking, allWaiting := 0, 0
	for _, who := range principals {
		allWorking += working[who]
		allWaiting += len(waiting[who])
		if working[who] > x.share() {
			return fmt.Sprintf("%s has %d of %d places", who, working[who], x.most)
		}
		for i, c := range waited[who] {
			switch {
			case c.waits():
			case c.err == nil && i > 0 && waited[who][i-1].waits():
				return fmt.Sprintf("a call of %s was let in before one that had come earlier", who)
			case c.err == nil:
				if c != came || len(waited[who]) > 1 { // it had to wait for a turn
					if wrong := x.turnOf(who, waited, waiting, worked); wrong != "" {
						return wrong
					}
				}
			case errors.Is(c.err, context.Canceled):
			case !errors.Is(c.err, gate.ErrBusy):
				return fmt.Sprintf("a call was told %v", c.err)
			case slept:
				x.late++
			default:
				x.full++
				if wrong := x.mayDrop(c, waited, came); wrong != "" {
					return wrong
				}
			}
		}
	}
	for _, who := range principals {
		switch {
		case len(waiting[who]) == 0 || working[who] == x.share():
			delete(x.passed, who) // who has no turn is not passed
		case allWorking < x.most:
			return fmt.Sprintf("%s waits beside a free place", who)
		}
	}
	want := gate.LaneCounts{Working: allWorking, Waiting: allWaiting, Full: x.full, Late: x.late}
	if got := x.lane.Counts(); got != want || allWorking > x.most || allWaiting > 4*x.most {
		return fmt.Sprintf("counted %+v of %+v, on a lane of %d", got, want, x.most)
	}
	return ""
}

// turnOf notes that somebody was let in, and says whom that has kept waiting:
// between two calls of one every other one who waits, and has less than their
// share, has a turn.
func (x *crossing) turnOf(who string, waited, waiting map[string][]*crosser, worked map[string]int) string {
	delete(x.passed, who)
	for _, other := range principals {
		if other == who || len(waited[other]) == 0 || len(waiting[other]) == 0 || worked[other] >= x.share() {
			continue // who has given up by now may have done so before
		}
		if x.passed[other] == nil {
			x.passed[other] = make(map[string]int)
		}
		if x.passed[other][who]++; x.passed[other][who] > 1 {
			return fmt.Sprintf("%s was let in twice while %s waited for one turn", who, other)
		}
	}
	return ""
}

// mayDrop says why a call should not have been refused for those that wait: it
// must be the newest of who has most of them, counting the one that came.
func (x *crossing) mayDrop(c *crosser, waited map[string][]*crosser, came *crosser) string {
	all := 0
	for who, calls := range waited {
		all += len(calls)
		if len(calls) > len(waited[c.who]) {
			return fmt.Sprintf("a call of %s was refused, who has fewer than %s", c.who, who)
		}
	}
	if newest := waited[c.who][len(waited[c.who])-1]; came == nil || newest != c || all != 4*x.most+1 {
		return fmt.Sprintf("a call of %s was refused, with %d that waited", c.who, all)
	}
	return ""
}

// Whatever comes, goes and gives up: no bound is passed, nobody waits beside a
// free place that they may have, nobody who has less than their share is passed
// by another one twice, one's calls are let in as they came, and all is counted.
func TestLanes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 999), 100, 400).Draw(r, "steps")
		most := rapid.IntRange(1, 6).Draw(r, "calls")
		var wrong string
		synctest.Test(t, func(t *testing.T) {
			x := &crossing{lane: gate.NewLane(most, allAtOnce), most: most, passed: make(map[string]map[string]int)}
			for i, step := range steps {
				if wrong = x.step(t.Context(), step); wrong != "" {
					wrong = fmt.Sprintf("step %d: %s", i, wrong)
					break
				}
			}
			for _, c := range x.calls {
				c.cancel()
			}
			synctest.Wait()
			for i := slices.IndexFunc(x.calls, (*crosser).works); i >= 0; i = slices.IndexFunc(x.calls, (*crosser).works) {
				x.calls[i].left = true
				x.calls[i].place.Leave()
			}
			if c := x.lane.Counts(); wrong == "" && (c.Working != 0 || c.Waiting != 0) {
				wrong = fmt.Sprintf("%+v are left", c)
			}
		})
		if wrong != "" {
			r.Fatal(wrong)
		}
	})
}
