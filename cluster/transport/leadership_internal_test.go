package transport

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"
)

// pushes runs a leadership whose pushes are recorded instead of sent.
type pushes struct {
	leadership
	lost bool
	hold chan struct{} // when not nil, a push waits for it

	mu   sync.Mutex
	sent []uint64 // the pushed indexes
	last raft.AppendEntriesRequest
}

func newPushes() *pushes {
	p := &pushes{}
	p.leadership.leading = func(uint64) bool { return !p.lost }
	p.leadership.send = func(_ raft.ServerID, _ raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
		p.mu.Lock()
		p.sent = append(p.sent, req.LeaderCommitIndex)
		p.last = *req
		p.mu.Unlock()
		if p.hold != nil {
			<-p.hold
		}
		resp.Term, resp.Success = req.Term, true
		return nil
	}
	return p
}

// TestPush tells, step by step, when a follower is pushed what.
func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPushes()
		defer func() { p.Ended(^uint64(0)); p.telling.Wait() }()
		f := func(what string, want ...uint64) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if !slices.Equal(p.sent, want) {
				t.Fatalf("%s: pushed %v, want %v", what, p.sent, want)
			}
			p.sent = nil
		}
		p.Applied(10, 2)
		f("nobody follows")
		p.acked("b", "b:1", 3, 0, 0)
		f("a heartbeat proves nothing of the log")
		p.acked("b", "b:1", 3, 9, 0)
		f("it is not there yet")
		p.acked("b", "b:1", 3, 10, 0)
		f("it is there", 10)
		if p.last.Term != 3 || p.last.PrevLogEntry != 10 || p.last.PrevLogTerm != 2 || len(p.last.Entries) != 0 {
			t.Fatalf("pushed %+v", p.last)
		}
		p.acked("b", "b:1", 3, 12, 10)
		f("nothing new is applied")
		p.Applied(11, 3)
		f("applied later than acknowledged", 11)
		p.acked("b", "b:1", 3, 12, 12)
		p.Applied(12, 3)
		f("it was told by Raft itself")

		p.hold = make(chan struct{})
		p.acked("b", "b:1", 3, 30, 12)
		p.Applied(20, 3)
		f("one is in flight", 20)
		p.Applied(21, 3)
		p.Applied(22, 3)
		f("the others wait")
		p.hold <- struct{}{}
		f("the newest wins", 22)
		p.hold <- struct{}{}
		p.hold = nil

		p.lost = true
		p.Applied(23, 3)
		f("leadership is lost, though nobody has said so")
		p.lost = false
		p.Ended(3)
		p.acked("b", "b:1", 3, 30, 0)
		f("the term has ended")
		p.acked("b", "b:1", 5, 30, 0)
		f("a new term", 23)
		p.Ended(3)
		p.acked("b", "b:1", 4, 40, 0)
		p.Applied(24, 5)
		f("late news of old terms change nothing", 24)
		if got := p.Followers(5)["b"].Match; got != 30 {
			t.Fatalf("b is at %d, want 30", got)
		}
		if got := p.Followers(4); got != nil {
			t.Fatalf("of another term: %v", got)
		}
	})
}

// TestAsk: a peer that is asked for gets a heartbeat, or a push if one is due,
// once, after what is under way to it.
func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPushes()
		defer func() { p.Ended(^uint64(0)); p.telling.Wait() }()
		f := func(what string, want ...uint64) {
			t.Helper()
			synctest.Wait()
			p.mu.Lock()
			defer p.mu.Unlock()
			if !slices.Equal(p.sent, want) {
				t.Fatalf("%s: sent %v, want %v", what, p.sent, want)
			}
			p.sent = nil
		}
		b := []raft.ServerID{"b"}
		p.Ask(3, b)
		f("nobody is known")
		p.acked("b", "b:1", 3, 9, 9)
		p.acked("c", "c:1", 3, 9, 9)
		f("nobody asks")
		p.Ask(2, b)
		f("another term")
		p.Ask(3, []raft.ServerID{"b", "x"})
		f("b alone", 0)
		if p.last.Term != 3 || p.last.PrevLogEntry != 0 || p.last.PrevLogTerm != 0 || len(p.last.Entries) != 0 || string(p.last.ID) != string(p.header.ID) {
			t.Fatalf("sent %+v", p.last)
		}

		p.hold = make(chan struct{})
		p.Ask(3, b)
		f("one is in flight", 0)
		p.Ask(3, b)
		p.Ask(3, b)
		f("the others wait")
		p.hold <- struct{}{}
		f("and share one", 0)
		p.Applied(10, 3)
		p.acked("b", "b:1", 3, 10, 9)
		p.Ask(3, b)
		p.hold <- struct{}{}
		f("a push does for both", 10)
		p.hold <- struct{}{}
		p.hold = nil
		f("nothing is left")

		p.lost = true
		p.Ask(3, b)
		f("leadership is lost, though nobody has said so")
		p.lost = false
		p.Ended(3)
		p.Ask(3, b)
		f("the term has ended")
	})
}

// TestWhoLeftIsForgotten: what is known of a peer ends with its seat, also when the
// answer to the last thing that it was sent comes afterwards; one that comes back
// under its name is as far as it says then.
func TestWhoLeftIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPushes()
		defer func() { p.Ended(^uint64(0)); p.telling.Wait() }()
		f := func(what string, want map[string]uint64) {
			t.Helper()
			got := make(map[string]uint64)
			for id, follower := range p.Followers(3) {
				got[id] = follower.Match
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		b, x := raft.Server{ID: "b"}, raft.Server{ID: "x"}
		p.acked("x", "x:1", 3, 1000, 0)
		p.Configured([]raft.Server{b})
		p.telling.Wait() // its goroutine is gone
		f("it has left", nil)
		p.acked("x", "x:1", 3, 1001, 0)
		p.acked("b", "b:1", 3, 7, 0)
		f("its last answer is late", map[string]uint64{"b": 7})
		p.Configured([]raft.Server{b, x})
		p.acked("x", "x:2", 3, 0, 0)
		f("it is back", map[string]uint64{"b": 7, "x": 0})
		p.Configured([]raft.Server{b})
		p.acked("x", "x:2", 4, 5, 0)
		if got := p.Followers(4)["x"].Match; got != 5 {
			t.Errorf("in another term, of which no configuration was applied, it is at %d", got)
		}
	})
}
