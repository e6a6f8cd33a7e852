package history_test

import (
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

func TestARecorderKeepsEverythingInOrder(t *testing.T) {
	r := history.NewRecorder()
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for range 100 {
				begin := r.Now()
				r.Call(history.Call{Worker: worker, Op: history.Describe, Name: "k", Begin: begin, End: r.Now(), Outcome: history.NotDone})
				r.Status(history.Status{Node: "n", Begin: begin})
			}
		})
	}
	all.Wait()
	h := r.History()
	if len(h.Calls) != 800 || len(h.Statuses) != 800 {
		t.Fatalf("%d calls and %d statuses", len(h.Calls), len(h.Statuses))
	}
	last := time.Duration(-1)
	for _, c := range h.Calls {
		if c.Begin < last || c.End < c.Begin {
			t.Fatalf("%+v after %s", c, last)
		}
		last = c.Begin
	}
	r.Call(history.Call{})
	if len(h.Calls) != 800 {
		t.Error("a history grows after it was taken")
	}
}
