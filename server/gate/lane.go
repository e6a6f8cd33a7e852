package gate

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"
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
// they came, and principals who have less than their half take turns: who asks
// for little waits for one turn, however much others ask for. When too many wait
// the newest call of who has most of them is refused; a call that has waited for
// a second is refused, too. What a call costs under the lock does not depend on
// how many wait.
//
// To refuse costs about as much as to answer, since most of both is the
// connection's, and who is told at once may ask again at once. So only so many
// refusals a second are told at once, and others when the call is a second old:
// those who do not wait as they are told would take the node from those who are
// let in. It is safe for concurrent use.
type Lane struct {
	most, share, queue int
	wait               time.Duration
	refusals           *rate.Limiter // those that are told at once

	mu      sync.Mutex
	working int
	waiting int
	callers map[string]*Place
	idle    []*Place  // to be used again
	turns   list.List // of *Place: who has calls that wait and less than the share, in the order of their turns
	crowds  crowds
	full    int64 // calls refused because too many waited
	late    int64 // because they waited for too long

	// Invariant: whoever has a turn finds no place, so turns is empty while
	// working is less than most.
}

// Place is what a principal has of a lane.
type Place struct {
	lane    *Lane
	who     string
	working int
	queue   list.List     // of *waiter, in the order in which they came
	turn    *list.Element // nil: it has none
	crowd   int           // the calls that wait, as its lane's crowds have it
	among   *list.Element // of that crowd; nil: nothing waits
}

// waiter is a call that waits.
type waiter struct {
	place   *Place
	at      *list.Element // of the queue; nil: it is decided
	decided chan error    // has room for one
}

// NewLane returns a lane on which that many calls (0: 1024) are worked on at
// once, and which tells that many refusals a second (0: as many) at once.
func NewLane(calls, refusals int) *Lane {
	if calls == 0 {
		calls = defaultCalls
	}
	if refusals == 0 {
		refusals = calls
	}
	return &Lane{
		most: calls, share: max(1, calls/2), queue: queueFactor * calls, wait: longestQueued,
		refusals: rate.NewLimiter(rate.Limit(refusals), refusals),
		callers:  make(map[string]*Place),
	}
}

// Enter returns when the call of a principal may be worked on; [Place.Leave]
// ends that. It fails with [ErrBusy], or because ctx has ended.
func (l *Lane) Enter(ctx context.Context, who string) (*Place, error) {
	l.mu.Lock()
	p := l.place(who)
	if l.working < l.most && p.working < l.share {
		p.working++
		l.working++
		l.mu.Unlock()
		return p, nil
	}
	if l.waiting >= l.queue && !l.dropFor(p) {
		l.full++
		l.settle(p)
		l.mu.Unlock()
		return nil, l.refuse(ctx, time.NewTimer(l.wait).C)
	}
	w := &waiter{place: p, decided: make(chan error, 1)}
	w.at = p.queue.PushBack(w)
	l.waiting++
	l.settle(p)
	l.mu.Unlock()
	if err := l.await(ctx, w); err != nil {
		return nil, err
	}
	return p, nil
}

// await waits for the turn of a call.
func (l *Lane) await(ctx context.Context, w *waiter) error {
	timer := time.NewTimer(l.wait)
	defer timer.Stop()
	var err error
	select {
	case err := <-w.decided:
		if err != nil {
			return l.refuse(ctx, timer.C)
		}
		return nil
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.at == nil { // it was decided just now
		return <-w.decided
	}
	if errors.Is(err, ErrBusy) {
		l.late++
	}
	l.decide(w, err)
	return err
}

// refuse returns [ErrBusy], at once or when the call has waited.
func (l *Lane) refuse(ctx context.Context, waited <-chan time.Time) error {
	if l.refusals.Allow() {
		return ErrBusy
	}
	select {
	case <-waited:
		return ErrBusy
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Leave ends the work on one call, and lets the next one in.
func (p *Place) Leave() {
	l := p.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	p.working--
	l.working--
	l.settle(p)
	if next := l.turns.Front(); next != nil {
		p := next.Value.(*Place)
		p.working++
		l.working++
		l.turns.MoveToBack(next)
		l.decide(p.queue.Front().Value.(*waiter), nil)
	}
}

// dropFor refuses the newest call of who has most of those that wait, so that
// one of p may wait instead; false: nobody has more than p.
func (l *Lane) dropFor(p *Place) bool {
	most := l.crowds.largest()
	if most.queue.Len() <= p.queue.Len()+1 {
		return false
	}
	l.full++
	l.decide(most.queue.Back().Value.(*waiter), ErrBusy)
	return true
}

// decide ends the wait of a call.
func (l *Lane) decide(w *waiter, err error) {
	w.place.queue.Remove(w.at)
	w.at = nil
	l.waiting--
	l.settle(w.place)
	w.decided <- err
}

// settle puts a place where it belongs after it has changed. One that is nothing
// any more is forgotten.
func (l *Lane) settle(p *Place) {
	waits := p.queue.Len() > 0
	switch turn := waits && p.working < l.share; {
	case turn && p.turn == nil:
		p.turn = l.turns.PushBack(p)
	case !turn && p.turn != nil:
		l.turns.Remove(p.turn)
		p.turn = nil
	}
	l.crowds.settle(p)
	if waits || p.working > 0 {
		return
	}
	delete(l.callers, p.who)
	p.who = ""
	if len(l.idle) < l.most {
		l.idle = append(l.idle, p)
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
