package cluster

import (
	"container/heap"
	"context"
	"sync"
)

// appliedIndex is this node's applied index, and who waits for it. It is our
// own: raft's AppliedIndex says what was handed to the state machine, not what
// it has done.
type appliedIndex struct {
	mu      sync.Mutex
	index   uint64
	waiting targets
}

// advance says that everything up to index is applied.
func (a *appliedIndex) advance(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if index <= a.index {
		return
	}
	a.index = index
	for len(a.waiting) > 0 && a.waiting[0].index <= index {
		close(heap.Pop(&a.waiting).(*target).reached)
	}
}

func (a *appliedIndex) load() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.index
}

// wait returns nil once index is applied, else the context's error, or
// ErrStopped when stopped closes first.
func (a *appliedIndex) wait(ctx context.Context, stopped <-chan struct{}, index uint64) error {
	return a.waitFor(ctx, stopped, index, nil)
}

// waitFor is wait that first says to asked, if there is one, that somebody waits.
func (a *appliedIndex) waitFor(ctx context.Context, stopped <-chan struct{}, index uint64, asked func()) error {
	a.mu.Lock()
	if index <= a.index {
		a.mu.Unlock()
		return nil
	}
	t := &target{index: index, reached: make(chan struct{})}
	heap.Push(&a.waiting, t)
	a.mu.Unlock()
	if asked != nil {
		asked()
	}

	select {
	case <-t.reached:
		return nil
	case <-ctx.Done():
		a.forget(t)
		return ctx.Err()
	case <-stopped:
		a.forget(t)
		return ErrStopped
	}
}

// wanted is the highest index that somebody waits for, zero when nobody does.
func (a *appliedIndex) wanted() (index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.waiting {
		index = max(index, t.index)
	}
	return index
}

func (a *appliedIndex) forget(t *target) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.at >= 0 {
		heap.Remove(&a.waiting, t.at)
	}
}

// target is one who waits.
type target struct {
	index   uint64
	at      int // position in the heap, -1 when out of it
	reached chan struct{}
}

// targets is a heap, lowest index first.
type targets []*target

func (h targets) Len() int           { return len(h) }
func (h targets) Less(i, j int) bool { return h[i].index < h[j].index }
func (h targets) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *targets) Push(x any) {
	t := x.(*target)
	t.at = len(*h)
	*h = append(*h, t)
}

func (h *targets) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.at = -1
	return t
}
