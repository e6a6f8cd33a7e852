package load

import (
	"context"
	"sync"
	"time"
)

// maxGrace is how long after the end of an open loop calls are still sent whose
// time came before it, at most; it is a tenth of the duration otherwise.
const maxGrace = time.Second

// arrival is a call of an open loop.
type arrival struct {
	due  time.Time
	free bool // a worker was free at its time: if it starts late, the generator is late
}

// workOpen hands calls to the workers, each at its time, until the duration is
// over. Times are computed from the number of the call, never from the last
// one's: what was late once does not move those that follow.
func (r *run) workOpen(ctx context.Context, duration time.Duration) {
	arrivals := make(chan arrival, len(r.workers))
	busy := make(chan struct{}, len(r.workers)) // an entry for each arrival that was handed out and is not done: never more than workers
	var all sync.WaitGroup
	for i := range r.workers {
		all.Go(func() {
			for a := range arrivals {
				if a.free {
					record(r.workers[i].lateness, time.Since(a.due))
				} else {
					r.workers[i].waited++
				}
				r.one(ctx, i, a.due)
				<-busy
			}
		})
	}
	r.schedule(ctx, duration, arrivals, busy)
	close(arrivals)
	all.Wait()
}

func (r *run) schedule(ctx context.Context, duration time.Duration, arrivals chan<- arrival, busy chan<- struct{}) {
	begin := time.Now()
	sending, cancel := context.WithDeadline(ctx, begin.Add(duration+min(maxGrace, duration/10)))
	defer cancel()
	r.planned = uint64(r.cfg.Rate * duration.Seconds())
	behind := false // because all workers were busy, since the last call that came in time
	// stop leaves out the calls from number i on.
	stop := func(i uint64) {
		r.unsent, r.busy = r.planned-i, behind
		if ctx.Err() != nil { // the run was ended, so that they were not planned
			r.planned, r.unsent = i, 0
		}
	}
	for i := range r.planned {
		a := arrival{due: begin.Add(time.Duration(float64(i) / r.cfg.Rate * float64(time.Second)))}
		if early := time.Until(a.due); early > 0 {
			behind = false
			r.pause(sending, early)
		}
		if sending.Err() != nil {
			stop(i)
			return
		}
		a.free = !behind
		select {
		case busy <- struct{}{}:
		default: // nobody is free
			behind, a.free = true, false
			select {
			case busy <- struct{}{}:
			case <-sending.Done():
				stop(i)
				return
			}
		}
		arrivals <- a // has room for every entry of busy
	}
}

// pause waits in pieces, so that the end of ctx is seen in time.
func (r *run) pause(ctx context.Context, d time.Duration) {
	const piece = 100 * time.Millisecond
	for until := time.Now().Add(d); d > 0 && ctx.Err() == nil; d = time.Until(until) {
		r.cfg.Sleep(min(d, piece))
	}
}
