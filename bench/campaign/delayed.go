package campaign

import (
	"context"
	"fmt"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/server/wire"
)

// delayedDays are after how many days keys are to be deleted that must be there
// at the end of a campaign, whatever clocks have shown meanwhile.
var delayedDays = []int64{7, 30, 300}

// delay has keys be deleted much later than the campaign ends.
func (r *run) delay(ctx context.Context) error {
	for _, days := range delayedDays {
		name := fmt.Sprintf("%s/in-%d-days", r.prefix(), days)
		var made wire.CreateKeyReply
		if v := r.nodes[0].do(ctx, string(history.Create), wire.CreateKeyRequest{KeyAlias: name}, &made); v.outcome != history.OK {
			return fmt.Errorf("making a key that is to be deleted later: %w", v.err)
		}
		id := made.KeyInfo.KeyID
		if v := r.nodes[0].do(ctx, "schedule-key-deletion", wire.ScheduleDeletionRequest{KeyID: id, PendingDays: wire.Int(days)}, new(wire.KeyStateReply)); v.outcome != history.OK {
			return fmt.Errorf("having a key be deleted in %d days: %w", days, v.err)
		}
		r.recorder.Delay(history.Delayed{KeyID: id, Name: name, Due: r.recorder.Now() + time.Duration(days)*24*time.Hour})
	}
	return nil
}
