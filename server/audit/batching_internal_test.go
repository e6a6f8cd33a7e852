package audit

import (
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// TestCallersThatComeTogether: a batch waits for three quarters of as many as
// came in the one before it and waited behind that, and not where there is
// nobody to wait for.
func TestCallersThatComeTogether(t *testing.T) {
	l, err := OpenConfig(Config{Dir: t.TempDir(), NodeID: fsmtest.NodeID})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// It belongs to the leader, and nobody leads between the parts of this test.
	rhythm := &l.writer.rhythm
	rhythm.longest = time.Minute
	appending := func(n int) *sync.WaitGroup {
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				if err := l.Append(t.Context(), &Record{}); err != nil {
					t.Error(err)
				}
			})
		}
		return &all
	}
	queued := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.queue)
	}

	rhythm.last, rhythm.waiting, rhythm.took, rhythm.ended = 2, 3, time.Minute, time.Now()
	first := appending(3)
	for queued() < 3 {
		time.Sleep(time.Millisecond)
	}
	appending(1).Wait()
	first.Wait()
	if rhythm.last != 4 {
		t.Errorf("the batch after one of 2 with 3 behind it has %d records, want 4", rhythm.last)
	}

	f := func(why string, last int, took, ago time.Duration) {
		rhythm.last, rhythm.waiting, rhythm.took, rhythm.ended = last, 0, took, time.Now().Add(-ago)
		began := time.Now()
		appending(1).Wait()
		if since := time.Since(began); since > 30*time.Second {
			t.Errorf("%s, a record waited %v for others", why, since)
		}
	}
	f("of a caller that comes alone", 1, time.Minute, 0)
	f("after a pause", 64, time.Minute, 2*time.Minute)
	f("when the others have gone", 64, 20*time.Millisecond, 0)
	rhythm.longest = 20 * time.Millisecond
	f("with a slow disk", 64, time.Minute, 0)
}
