package history

import (
	"slices"
	"sync"
	"time"
)

// Recorder collects records from many goroutines. Its clock is monotonic and
// starts at zero with it.
type Recorder struct {
	start time.Time

	mu sync.Mutex
	h  History
}

// NewRecorder starts the clock.
func NewRecorder() *Recorder { return &Recorder{start: time.Now()} }

// Now is the time on the recorder's clock. A call's Begin is read before
// anything of it is sent, its End after all of the answer is there.
func (r *Recorder) Now() time.Duration { return time.Since(r.start) }

// Call records a call that has ended. Byte slices become the recorder's.
func (r *Recorder) Call(c Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Calls = append(r.h.Calls, c)
}

// Leave records a call about leave to use a key that has ended.
func (r *Recorder) Leave(c Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Granted = append(r.h.Granted, c)
}

// Listing records a listing.
func (r *Recorder) Listing(l Listing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Listings = append(r.h.Listings, l)
}

// Status records what a node said of itself.
func (r *Recorder) Status(s Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Statuses = append(r.h.Statuses, s)
}

// Fault records a fault that is healed.
func (r *Recorder) Fault(f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Faults = append(r.h.Faults, f)
}

// Install records that a node took a snapshot as its state.
func (r *Recorder) Install(i Install) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Installs = append(r.h.Installs, i)
}

// At is a time of the system's clock on the recorder's.
func (r *Recorder) At(t time.Time) time.Duration { return t.Sub(r.start) }

// Trace records what a node has traced.
func (r *Recorder) Trace(t Trace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Traces = append(r.h.Traces, t)
}

// Leak records where a secret was found.
func (r *Recorder) Leak(l Leak) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.h.Leaks = append(r.h.Leaks, l)
}

// History returns what was recorded so far, in order of time.
func (r *Recorder) History() *History {
	r.mu.Lock()
	h := &History{
		Calls: slices.Clone(r.h.Calls), Granted: slices.Clone(r.h.Granted), Entries: slices.Clone(r.h.Entries), Listings: slices.Clone(r.h.Listings),
		Statuses: slices.Clone(r.h.Statuses), Faults: slices.Clone(r.h.Faults), Installs: slices.Clone(r.h.Installs),
		Traces: slices.Clone(r.h.Traces), Leaks: slices.Clone(r.h.Leaks), Delayed: slices.Clone(r.h.Delayed), MaxAge: r.h.MaxAge,
	}
	r.mu.Unlock()
	h.sort()
	return h
}
