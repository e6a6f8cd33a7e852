package gate

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ErrBusy: the node has more to do than it can, and has done nothing of the
// call. Another node, or this one after a while, may do it.
var ErrBusy = errors.New("this node is busy with other calls")

const (
	defaultCalls = 1024
	// queueFactor is how many calls may wait for each that is worked on.
	queueFactor = 4
	// longestQueued is how long a call waits for its turn: beyond that most
	// clients have given up, and what is done then is done for nobody.
	longestQueued = time.Second
)

// Lane bounds how many calls are worked on at once, and shares them out among
// principals.
//
// One principal has at most half of the places, so that another one always finds
// some. Calls that find none wait, those of one principal in the order in which
// they came, and principals take turns: who asks for little waits for one turn,
// however much others ask for. When too many wait the newest call of who has most
// of them is refused; a call that has waited for a second is refused, too. It is
// safe for concurrent use.
type Lane struct {
	most, share, queue int
	wait               time.Duration

	mu      sync.Mutex
	working int
	waiting int
	callers map[string]*Place
	idle    []*Place   // to be used again
	turns   *list.List // of *Place: who has calls that wait, in the order of their turns
	full    int64      // calls refused because too many waited
	late    int64      // because they waited for too long
}

// Place is what a principal has of a lane.
type Place struct {
	lane    *Lane
	who     string
	working int
	queue   []chan error  // of the calls that wait; each has room for one
	turn    *list.Element // nil: nothing waits
}

// NewLane returns a lane on which that many calls (0: 1024) are worked on at once.
func NewLane(calls int) *Lane {
	if calls == 0 {
		calls = defaultCalls
	}
	return &Lane{
		most: calls, share: max(1, calls/2), queue: queueFactor * calls, wait: longestQueued,
		callers: make(map[string]*Place), turns: list.New(),
	}
}

// Enter returns when the call of a principal may be worked on; [Place.Leave]
// ends that. It fails with [ErrBusy], or because ctx has ended.
func (l *Lane) Enter(ctx context.Context, who string) (*Place, error) {
	l.mu.Lock()
	p := l.place(who)
	if p.turn == nil && p.working < l.share && l.working < l.most {
		p.working++
		l.working++
		l.mu.Unlock()
		return p, nil
	}
	if l.waiting >= l.queue && !l.dropFor(p) {
		l.full++
		l.forget(p)
		l.mu.Unlock()
		return nil, ErrBusy
	}
	decided := make(chan error, 1)
	p.queue = append(p.queue, decided)
	l.waiting++
	if p.turn == nil {
		p.turn = l.turns.PushBack(p)
	}
	l.mu.Unlock()
	if err := l.await(ctx, p, decided); err != nil {
		return nil, err
	}
	return p, nil
}

// await waits for the turn of a call.
func (l *Lane) await(ctx context.Context, p *Place, decided chan error) error {
	timer := time.NewTimer(l.wait)
	defer timer.Stop()
	var err error
	select {
	case err := <-decided:
		return err
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(p.queue, decided)
	if at < 0 { // it was decided just now
		return <-decided
	}
	if errors.Is(err, ErrBusy) {
		l.late++
	}
	l.unqueue(p, at)
	l.forget(p)
	return err
}

// Leave ends the work on one call, and lets the next one in.
func (p *Place) Leave() {
	l := p.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	p.working--
	l.working--
	l.admit()
	l.forget(p)
}

// admit lets in who waits, by turns, as far as there is room.
func (l *Lane) admit() {
	for range l.turns.Len() {
		if l.working >= l.most {
			return
		}
		p := l.turns.Front().Value.(*Place)
		l.turns.MoveToBack(p.turn)
		if p.working >= l.share {
			continue
		}
		decided := p.queue[0]
		l.unqueue(p, 0)
		p.working++
		l.working++
		decided <- nil
	}
}

// dropFor refuses the newest call of who has most of those that wait, so that
// one of p may wait instead; false: nobody has more than p.
func (l *Lane) dropFor(p *Place) bool {
	most := p
	for e := l.turns.Front(); e != nil; e = e.Next() {
		if other := e.Value.(*Place); len(other.queue) > len(most.queue) {
			most = other
		}
	}
	if len(most.queue) <= len(p.queue)+1 {
		return false
	}
	newest := len(most.queue) - 1
	decided := most.queue[newest]
	l.unqueue(most, newest)
	l.full++
	l.forget(most)
	decided <- ErrBusy
	return true
}

func (l *Lane) unqueue(p *Place, at int) {
	p.queue = slices.Delete(p.queue, at, at+1)
	l.waiting--
	if len(p.queue) == 0 {
		l.turns.Remove(p.turn)
		p.turn = nil
	}
}

// place returns what a principal has; it is kept while it is anything.
func (l *Lane) place(who string) *Place {
	p, ok := l.callers[who]
	if !ok {
		if n := len(l.idle); n > 0 {
			p, l.idle = l.idle[n-1], l.idle[:n-1]
		} else {
			p = &Place{lane: l}
		}
		p.who = who
		l.callers[who] = p
	}
	return p
}

func (l *Lane) forget(p *Place) {
	if p.working > 0 || p.turn != nil {
		return
	}
	delete(l.callers, p.who)
	p.who = ""
	if len(l.idle) < l.most {
		l.idle = append(l.idle, p)
	}
}

// LaneCounts are what a lane does, and has refused.
type LaneCounts struct {
	Working, Waiting int
	Full, Late       int64 // calls refused: too many waited, or they did for too long
}

// Counts returns them.
func (l *Lane) Counts() LaneCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LaneCounts{Working: l.working, Waiting: l.waiting, Full: l.full, Late: l.late}
}
