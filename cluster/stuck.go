package cluster

import (
	"errors"
	"sync"
	"time"
)

// errStuck is what a node ends for that leads and takes nothing.
var errStuck = errors.New("this leader has said for too long that it is handing leadership on, and takes no commands; restart the node, which mends it")

const (
	// stuckAfter is far more than handing leadership on takes: raft itself gives
	// up after an election timeout.
	stuckAfter = 10 * time.Second
	// stuckGap is how long nobody may have been refused for it to be the same
	// state still: who is refused asks again sooner.
	stuckGap = 3 * time.Second
)

// transferWatch notices a leader that refuses every command because, it says, it
// hands leadership on. A transfer that is cut short can leave raft like that for
// ever, even as the leader of a later term (hashicorp/raft#696).
type transferWatch struct {
	mu          sync.Mutex
	since, last moment // first and last refusal in a row; since is zero when there is none
}

// refused notes that a command was refused for that; true: for too long by now.
func (w *transferWatch) refused(now moment) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.since == 0 || now-w.last > stuckGap {
		w.since = now
	}
	w.last = now
	return now-w.since >= stuckAfter
}

// answered notes that raft said something else.
func (w *transferWatch) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since = 0
}
