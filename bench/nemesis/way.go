package nemesis

import (
	"bytes"
	"container/heap"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// maxLate is how many packets are kept that are due later; what comes when
// there are as many is lost, as at a router whose queue is full.
const maxLate = 1000

// way carries packets in one direction.
type way struct {
	to   io.Writer
	lost *atomic.Int64

	mu     sync.Mutex
	shut   bool
	by     Impairment
	late   lateness
	number int       // of the packets that were late, to keep the order of those due at once
	busy   time.Time // until then bytes are on their way, where there is a rate
	closed bool

	changed chan struct{} // holds one, when something that serve waits for is different
}

// latePacket is one that is due later.
type latePacket struct {
	due    time.Time
	number int
	bytes  []byte
}

// lateness is a heap of packets, the next one first.
type lateness []latePacket

func (l lateness) Len() int { return len(l) }
func (l lateness) Less(i, j int) bool {
	return l[i].due.Before(l[j].due) || l[i].due.Equal(l[j].due) && l[i].number < l[j].number
}
func (l lateness) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push implements [heap.Interface].
func (l *lateness) Push(x any) { *l = append(*l, x.(latePacket)) }

// Pop implements [heap.Interface].
func (l *lateness) Pop() any {
	last := (*l)[len(*l)-1]
	(*l)[len(*l)-1] = latePacket{}
	*l = (*l)[:len(*l)-1]
	return last
}

func newWay(to io.Writer, lost *atomic.Int64) *way {
	return &way{to: to, lost: lost, changed: make(chan struct{}, 1)}
}

// take carries a packet, now or later, or loses it. It does not keep it.
func (w *way) take(packet []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	if w.shut || rand.Float64() < w.by.Loss || len(w.late) >= maxLate {
		w.lost.Add(1)
		return
	}
	if w.by == (Impairment{}) && len(w.late) == 0 {
		w.write(packet)
		return
	}
	due := time.Now()
	if w.by.Rate > 0 {
		if w.busy.After(due) {
			due = w.busy
		}
		due = due.Add(time.Duration(len(packet)) * time.Second / time.Duration(w.by.Rate))
		w.busy = due
	}
	due = due.Add(w.by.Delay)
	if w.by.Jitter > 0 {
		due = due.Add(rand.N(w.by.Jitter))
	}
	w.number++
	heap.Push(&w.late, latePacket{due: due, number: w.number, bytes: bytes.Clone(packet)})
	w.wake()
}

// write gives a packet to the device. One that it does not take is lost.
func (w *way) write(packet []byte) {
	if _, err := w.to.Write(packet); err != nil {
		w.lost.Add(1)
	}
}

// wake has serve look again.
func (w *way) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// serve carries late packets when they are due, until close.
func (w *way) serve() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, closed := w.deliver()
		if closed {
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-w.changed:
		}
	}
}

// idle is how long serve waits when it waits for nothing.
const idle = time.Hour

// deliver carries what is due, and returns how long it is to the next one.
func (w *way) deliver() (wait time.Duration, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.late) > 0 && !w.closed {
		if wait := time.Until(w.late[0].due); wait > 0 {
			return wait, false
		}
		w.write(heap.Pop(&w.late).(latePacket).bytes)
	}
	return idle, w.closed
}

// cut loses everything from now on, and what is on its way.
func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = true
	w.lost.Add(int64(len(w.late)))
	w.late = nil
}

func (w *way) impair(by Impairment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.by, w.busy = by, time.Time{}
}

// heal carries everything from now on, and first what was late, in the order
// in which it was due.
func (w *way) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut, w.by, w.busy = false, Impairment{}, time.Time{}
	for len(w.late) > 0 {
		w.write(heap.Pop(&w.late).(latePacket).bytes)
	}
}

func (w *way) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.late = true, nil
	w.wake()
}
