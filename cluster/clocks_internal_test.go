package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func TestMedianOfClocks(t *testing.T) {
	epoch := time.UnixMilli(1_700_000_000_000)
	f := func(want time.Duration, ok bool, nodes []string, ahead map[string]time.Duration) {
		t.Helper()
		var c clocks
		for node, by := range ahead {
			c.hear(node, epoch.Add(by), 10, epoch, 10)
		}
		c.hear("late", epoch, 1, epoch, 1)
		if got, most := c.median("a", epoch, nodes, 5, 10); got != want || most != ok {
			t.Errorf("%v of %v: %s, %v, want %s, %v", ahead, nodes, got, most, want, ok)
		}
	}
	three := []string{"a", "b", "c"}
	f(0, true, []string{"a"}, nil)
	f(0, false, three, nil)
	f(-time.Minute, true, three, map[string]time.Duration{"b": -time.Minute})
	f(0, true, three, map[string]time.Duration{"b": time.Minute})
	f(0, true, three, map[string]time.Duration{"b": time.Minute, "c": -time.Hour})
	f(-time.Minute, true, three, map[string]time.Duration{"b": -time.Minute, "c": -time.Hour})
	f(time.Minute, true, three, map[string]time.Duration{"b": time.Minute, "c": time.Hour})
	f(0, true, three, map[string]time.Duration{"b": 0, "x": -time.Hour})
	f(0, false, []string{"a", "late"}, nil)
	f(0, false, []string{"late"}, nil)
}

// Whatever this leader's own clock does between two words of the others, it
// stamps nothing with a time that they do not vouch for.
func TestAJumpIsSeenAtOnce(t *testing.T) {
	const year = 365 * 24 * time.Hour
	epoch := time.UnixMilli(1_700_000_000_000)
	three := []string{"a", "b", "c"}
	var c clocks
	stamp := func(wall time.Duration, now moment, since moment) time.Time {
		ours := epoch.Add(wall)
		ahead, ok := c.median("a", ours, three, since, now)
		return c.believe(ours, ahead, ok, now)
	}
	f := func(wall time.Duration, now, since moment, want time.Duration) {
		t.Helper()
		if got := stamp(wall, now, since).Sub(epoch); got != want {
			t.Errorf("our clock shows %s after %s: stamped with %s, want %s", wall, now, got, want)
		}
	}
	if got := stamp(0, 0, 0); !got.IsZero() {
		t.Errorf("before anybody has spoken: %s", got)
	}
	c.hear("b", epoch, 0, epoch, 0)
	f(0, 0, 0, 0)
	c.hear("c", epoch, 0, epoch, 0)
	f(time.Second, time.Second, 0, time.Second)
	f(2*time.Second+year, 2*time.Second, 0, 2*time.Second)
	f(3*time.Second-year, 3*time.Second, 0, 3*time.Second-year) // replicated time never goes back for it
	f(4*time.Second, 4*time.Second, 0, 4*time.Second)
	// The others have fallen silent.
	f(6*time.Second, 6*time.Second, 5*time.Second, 6*time.Second)
	f(7*time.Second+year, 7*time.Second, 5*time.Second, 7*time.Second)
}

// Two clocks that are wrong one after the other are never most of three: what a
// node said while its clock was wrong does not vouch for ours when that jumps
// afterwards, even if the node has not said since that it was set right.
func TestClocksThatJumpOneAfterTheOther(t *testing.T) {
	const year = 365 * 24 * time.Hour
	epoch := time.UnixMilli(1_700_000_000_000)
	three := []string{"a", "b", "c"}
	var c clocks
	f := func(wall time.Duration, now moment, want time.Duration) {
		t.Helper()
		ours := epoch.Add(wall)
		ahead, ok := c.median("a", ours, three, 0, now)
		if got := c.believe(ours, ahead, ok, now).Sub(epoch); got != want {
			t.Errorf("our clock shows %s after %s: stamped with %s, want %s", wall, now, got, want)
		}
	}
	c.hear("b", epoch, 0, epoch, 0)
	c.hear("c", epoch.Add(year), 0, epoch, 0) // and is set right at once
	f(0, 0, 0)
	const jump = 100 * time.Millisecond
	f(jump+year, jump, jump)
	c.hear("b", epoch.Add(2*jump), 2*jump, epoch.Add(2*jump+year), 2*jump)
	f(2*jump+year, 2*jump, 2*jump)
	c.hear("c", epoch.Add(3*jump), 3*jump, epoch.Add(3*jump+year), 3*jump)
	f(3*jump+year, 3*jump, 3*jump)
	if ahead, ok := c.median("a", epoch.Add(3*jump+year), three, 0, 3*jump); !ok || ahead != -year {
		t.Errorf("all have spoken since, and our clock is ahead by %s (%v), want %s", -ahead, ok, year)
	}
	f(4*jump, 4*jump, 4*jump) // it is set right
}

// A time with a monotonic reading, as [time.Now] gives it, is compared by that with
// another one: no jump of the wall clock would ever be seen.
func TestTheWallClockIsReadAlone(t *testing.T) {
	for _, clock := range []func() time.Time{nil, time.Now} {
		cfg := Config{Now: clock}
		cfg.fill()
		if now := cfg.Now(); now != now.Round(0) || time.Since(now).Abs() > time.Minute {
			t.Errorf("the wall clock shows %s", now)
		}
	}
}

// What a node said while its clock was wrong does not vouch for ours when that
// jumps before the word comes: neither the first word of a term, which may be of
// any age, nor one that brings back what our clocks showed before we jumped.
func TestAWordThatWasOnItsWayForLong(t *testing.T) {
	const year = 365 * 24 * time.Hour
	epoch := time.UnixMilli(1_700_000_000_000)
	servers := voters("a", "b", "c")
	var ours time.Time
	var now moment
	n := &Node{cfg: Config{
		NodeID: "a", Timing: Timing{Lease: 2 * time.Second},
		Now: func() time.Time { return ours }, Clock: func() moment { return now },
	}}
	n.committed.Store(&servers)
	at := func(wall time.Duration, clock moment) { ours, now = epoch.Add(wall), clock }
	shown := func() []byte { return encode(leaseClocks{Wall: ours.UnixMilli(), Moment: int64(now)}) }
	f := func(want time.Time) {
		t.Helper()
		if got := n.Now(); !got.Equal(want) {
			t.Errorf("stamped with %v, want %v", got, want)
		}
	}

	at(time.Second, time.Second)
	before := shown()
	n.hearClock("b", ours, encode(leaseClocks{}))
	n.hearClock("c", ours, encode(leaseClocks{}))
	f(time.Time{})
	n.hearClock("b", ours, before)
	f(ours)

	const step = 100 * time.Millisecond
	at(time.Second+step+year, time.Second+step) // we jump, after c was set right
	n.hearClock("c", epoch.Add(time.Second+year), before)
	f(epoch.Add(time.Second + step))
	n.hearClock("c", epoch.Add(time.Second+year), encode(leaseClocks{}))
	f(epoch.Add(time.Second + step))
	after := shown()
	n.hearClock("b", epoch.Add(time.Second+step), after)
	f(epoch.Add(time.Second + step))
	if ahead, ok := n.skew(); !ok || ahead != -year {
		t.Errorf("our clock is ahead by %s (%v), want %s", -ahead, ok, year)
	}

	at(time.Second+2*step, time.Second+2*step) // it is set right; those of the first versions bring nothing back
	n.hearClock("b", ours, nil)
	f(ours)
}

// A leader whose clock is wrong knows the time from the others, and only then.
func TestVouchedTime(t *testing.T) {
	const year = 365 * 24 * time.Hour
	epoch := time.UnixMilli(1_700_000_000_000)
	servers := voters("a", "b", "c")
	var ours time.Time
	n := &Node{cfg: Config{
		NodeID: "a", Timing: Timing{Lease: time.Second},
		Now: func() time.Time { return ours }, Clock: func() moment { return time.Second },
	}}
	n.committed.Store(&servers)
	f := func(wall time.Duration, want time.Time) {
		t.Helper()
		if ours = epoch.Add(wall); !n.vouchedTime().Equal(want) {
			t.Errorf("our clock is off by %s: %s, want %s", wall, n.vouchedTime(), want)
		}
	}
	f(year, time.Time{}) // nobody has spoken
	for _, wall := range []time.Duration{year, -year} {
		for _, node := range []string{"b", "c"} {
			n.clocks.hear(node, epoch, time.Second, epoch.Add(wall), time.Second)
		}
		f(wall, epoch)
	}
	n.clocks.hear("b", epoch, time.Second, epoch, time.Second)
	n.clocks.hear("c", epoch, time.Second, epoch, time.Second)
	f(0, time.Time{})
	f(maxSkew, time.Time{})
}

func TestVerdicts(t *testing.T) {
	servers := voters("a", "b", "c")
	is := func(index uint64, hash byte) hashed { return hashed{Index: index, Version: 1, Hash: [32]byte{hash}} }
	var h hashes
	h.note(is(256, 1), true)
	h.note(is(300, 1), false)
	f := func(peer string, said hashed, servers []raft.Server, want verdict) {
		t.Helper()
		if got := h.compare("a", peer, said, servers); got != want {
			t.Errorf("%s says %v: verdict %d, want %d", peer, said.Hash[0], got, want)
		}
	}
	f("b", is(255, 9), servers, alike) // nothing to compare with
	f("b", hashed{Index: 256, Version: 2, Hash: [32]byte{9}}, servers, alike)
	f("b", is(256, 9), servers, alike) // one against one, the third may yet say
	f("c", is(256, 1), servers, alike)
	f("b", is(256, 9), servers, theyFail)
	f("b", is(300, 9), servers, alike)
	f("c", is(300, 8), servers, theyFail) // no majority; all have spoken
	f("c", is(300, 9), servers, weFail)
	f("b", is(256, 9), voters("a", "b"), theyFail)
}
