package transport

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// installAgain is within what time a second snapshot of the same index tells that
// the first one has not helped.
const installAgain = time.Minute

// installs remembers which snapshots followers have taken. One that takes the
// same one for ever does not get further by itself (of what is known to lead
// there, hashicorp/raft#697, see [received]): only an operator can mend that.
type installs struct {
	mu    sync.Mutex
	last  map[raft.ServerID]install
	under int       // how many are being sent
	ended time.Time // when the last of them was
}

type install struct {
	index uint64
	at    time.Time
}

// took notes that a follower has taken a snapshot; true: the same as just before.
func (i *installs) took(id raft.ServerID, index uint64, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.last == nil {
		i.last = make(map[raft.ServerID]install)
	}
	before, known := i.last[id]
	i.last[id] = install{index, now}
	return known && before.index == index && now.Sub(before.at) < installAgain
}

// begin notes that a snapshot is being sent, and returns what notes its end.
func (i *installs) begin() (end func(now time.Time)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.under++
	return func(now time.Time) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.under--
		i.ended = now
	}
}

// since tells whether a snapshot is being sent, or one was within the last while
// before now.
func (i *installs) since(now time.Time, while time.Duration) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.under > 0 || !i.ended.IsZero() && now.Sub(i.ended) < while
}
