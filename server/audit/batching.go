package audit

import "time"

// rhythm is how the last batches came and went. It belongs to whoever leads.
type rhythm struct {
	last    int           // entries of the last batch
	waiting int           // entries that were in the queue when it was on disk
	ended   time.Time     // when that was
	took    time.Duration // what writing a batch takes, smoothed
	longest time.Duration // bounds the wait for more entries where the disk is slow
	timer   *time.Timer   // ends a wait; nil before the first
}

// longestWait is the bound; tests take another one.
const longestWait = time.Millisecond

// note takes note of a batch that is on disk.
func (p *rhythm) note(entries int, began time.Time) {
	p.last, p.ended = entries, time.Now()
	p.took += (p.ended.Sub(began) - p.took) / 8
}

// gather lets the next batch grow to three quarters of the callers that there
// are: those who were answered by the last one, and those who waited meanwhile.
//
// Callers that were answered together come back together. Without this the first
// of them is written alone while all others queue behind it, and are then
// written together while nobody works: a batch of one and a batch of all, by
// turns, with the processors idle. With all of them in one batch the processors
// idle as well, while it is on its way; with half, a batch costs each of its
// records more than the wait is worth. The wait is at most what writing a batch
// takes, and there is none for a caller that comes alone, or after a pause.
func (l *Log) gather() {
	p := &l.writer.rhythm
	wait := min(p.took, p.longest)
	l.mu.Lock()
	l.wanted = (3*(p.last+p.waiting) + 3) / 4
	if len(l.queue) >= l.wanted || time.Since(p.ended) > wait {
		l.mu.Unlock()
		return
	}
	l.gathering = true
	l.mu.Unlock()
	if p.timer == nil {
		p.timer = time.NewTimer(wait)
	} else {
		p.timer.Reset(wait)
	}
	select {
	case <-l.gathered:
		p.timer.Stop()
		return
	case <-p.timer.C:
	}
	l.mu.Lock()
	if !l.gathering {
		<-l.gathered // they came just now
	}
	l.gathering = false
	l.mu.Unlock()
}
