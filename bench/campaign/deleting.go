package campaign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/server/wire"
)

// deletePause is the time between two deletions on one node. With it every node
// has something to erase whenever it looks, and there are not too many keys.
const deletePause = 300 * time.Millisecond

// deleter makes keys on one node and has them deleted at once, over and over, so
// that every node goes on erasing: it takes a snapshot and keeps no log behind it.
// Nothing else is done with these keys, and nothing is judged by them.
type deleter struct {
	node   *direct
	prefix string
	random *rand.Rand
}

// work deletes until ctx ends. A call that has begun is finished.
func (d *deleter) work(ctx context.Context) {
	whole := context.WithoutCancel(ctx)
	for made := 1; ctx.Err() == nil; made++ {
		var key wire.CreateKeyReply
		name := fmt.Sprintf("%s/deleted/%s/%d", d.prefix, d.node.name(), made)
		if v := d.node.do(whole, string(history.Create), wire.CreateKeyRequest{KeyAlias: name}, &key); v.outcome == history.OK {
			d.remove(ctx, key.KeyInfo.KeyID)
		}
		time.Sleep(deletePause/2 + time.Duration(d.random.Int64N(int64(deletePause))))
	}
}

// remove asks until a key is to be deleted: those that stay count towards what
// the project may have.
func (d *deleter) remove(ctx context.Context, key string) {
	whole := context.WithoutCancel(ctx)
	for {
		v := d.node.do(whole, "schedule-key-deletion", wire.ScheduleDeletionRequest{KeyID: key, PendingDays: wire.Int(0)}, new(wire.KeyStateReply))
		if v.outcome == history.OK || v.outcome == history.Refused || ctx.Err() != nil {
			return
		}
		time.Sleep(breath)
	}
}
