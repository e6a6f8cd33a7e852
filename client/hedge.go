package client

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Hedges cost at most a tenth more calls in the long run: each call that could
// be hedged earns a tenth of one, and at most ten are saved up. A cluster that is
// slow because it has too much to do is not given twice as much.
const (
	hedgeCost  = 10
	hedgeSaved = 10 * hedgeCost
)

// hedges counts what may still be asked twice.
type hedges struct{ saved atomic.Int64 }

func (h *hedges) fill() { h.saved.Store(hedgeSaved) }

func (h *hedges) earn() {
	if h.saved.Add(1) > hedgeSaved {
		h.saved.Add(-1)
	}
}

func (h *hedges) spend() bool {
	if h.saved.Add(-hedgeCost) < 0 {
		h.saved.Add(hedgeCost)
		return false
	}
	return true
}

// hedged asks one node and, when it has not answered after the client's
// hedgeAfter, a second one as well. The first success counts; when both fail,
// the first one's failure. It returns when neither is under way any more: what
// loses is cut off.
func (c *Client) hedged(ctx context.Context, nodes []*node, first *node, h how, kind repeatable, body *message) ([]byte, error) {
	if c.hedgeAfter <= 0 || !h.hedge || len(nodes) < 2 {
		return c.attempt(ctx, first, h, kind, body)
	}
	c.hedges.earn()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type result struct {
		answer []byte
		err    error
		first  bool
	}
	results := make(chan result, 2)
	ask := func(n *node) {
		answer, err := c.attempt(ctx, n, h, kind, body)
		results <- result{answer, err, n == first}
	}
	go ask(first)
	waiting := time.NewTimer(c.hedgeAfter)
	defer waiting.Stop()

	var best result
	for under := 1; under > 0; {
		select {
		case <-waiting.C:
			if second := c.pick(nodes, time.Now(), first); second != first && second.down.Load() == 0 && c.hedges.spend() {
				under++
				go ask(second)
			}
		case r := <-results:
			under--
			switch {
			case best.answer != nil: // it has lost, and is a secret all the same
				clear(r.answer)
			case r.err == nil:
				best = r
				cancel(errHedged)
			case best.err == nil || r.first:
				best = r
			}
			waiting.Stop()
		}
	}
	return best.answer, best.err
}

// errHedged is why the slower one of two is cut off: that is no failure of its node.
var errHedged = errors.New("another node has answered")
