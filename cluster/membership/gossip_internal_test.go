package membership

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"
)

// TestConflictsThatLast: only conflicts on our name that go on for longer than
// the grace are fatal, and not two that have nothing to do with one another.
func TestConflictsThatLast(t *testing.T) {
	const grace = time.Minute
	f := func(pause time.Duration, conflicts, want int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			at, fatal := 0, 0 // which conflict was the first to be fatal, from one; zero: none
			g := &Gossip{nodeID: "a", grace: grace, fatal: func(error) {
				if fatal == 0 {
					fatal = at
				}
			}}
			for at = 1; at <= conflicts; at++ {
				g.NotifyConflict(&memberlist.Node{Name: "a"}, &memberlist.Node{Name: "a"})
				time.Sleep(pause)
			}
			if fatal != want {
				t.Errorf("of %d conflicts, one each %v, number %d is fatal, want %d", conflicts, pause, fatal, want)
			}
		})
	}
	f(grace*3/2, 2, 0)
	f(grace*3/2, 10, 0)
	f(grace*6, 2, 0)
	f(grace/2+time.Second/10, 10, 3) // as nodes tell one another all that they know
	f(grace/60, 100, 62)
}
