package campaign

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

// A busy machine is given time to do enough, but not for ever.
func TestALoadGoesOnUntilItIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &run{cfg: Config{Scenario: Scenario{Load: 10 * time.Second, Successes: 1}}, recorder: history.NewRecorder()}
		ctx, stop := r.untilEnough(t.Context())
		defer stop()
		time.Sleep(15 * time.Second)
		if ctx.Err() != nil {
			t.Error("it ended without a success")
		}
		r.recorder.Call(history.Call{Op: history.Rotate, Outcome: history.OK})
		time.Sleep(2 * time.Second)
		if !errors.Is(ctx.Err(), context.Canceled) {
			t.Errorf("two seconds after enough was done: %v", ctx.Err())
		}
		again, stopAgain := r.untilEnough(t.Context())
		defer stopAgain()
		time.Sleep(9 * time.Second)
		if again.Err() != nil {
			t.Error("it ended before the load was over, since enough was done")
		}
		time.Sleep(2 * time.Second)
		if again.Err() == nil {
			t.Error("it goes on after the load was over and enough was done")
		}
		r.cfg.Scenario.Successes = 2
		never, stopNever := r.untilEnough(t.Context())
		defer stopNever()
		time.Sleep(31 * time.Second)
		if !errors.Is(never.Err(), context.DeadlineExceeded) {
			t.Errorf("too little after three times the load: %v", never.Err())
		}
	})
}
