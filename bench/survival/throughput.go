package survival

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Writes measures how many unfenced writes a second the whole way takes (HTTP
// and TLS, signature, permission, trace, log) through the leader and through
// all nodes; what a proposal alone takes, package cluster's benchmark tells.
func (b *Bed) Writes(ctx context.Context, writers int, each time.Duration) ([]Line, error) {
	leader, _, err := b.leading(ctx)
	if err != nil {
		return nil, err
	}
	var lines []Line
	for _, way := range []struct {
		through string
		urls    []string
	}{{"the leader", []string{leader.url}}, {"all nodes", urls(b.nodes)}} {
		b.opts.Say("writes through %s", way.through)
		c, err := b.clientOf(way.urls...)
		if err != nil {
			return nil, err
		}
		var n atomic.Int64
		load := use(writers, 0, func(ctx context.Context, _ int) error { return b.unfenced(ctx, c, int(n.Add(1))) })
		time.Sleep(time.Second)
		before, begun := load.count(), time.Now()
		time.Sleep(each)
		written, took := load.count()-before, time.Since(begun)
		_, failed := load.stop()
		c.Close()
		if len(failed) > 0 {
			return nil, fmt.Errorf("%d of %d writes failed: %w", len(failed), written, failed[0])
		}
		lines = append(lines, beside(fmt.Sprintf("writes a second over HTTP, %d at once, through %s", writers, way.through), fmt.Sprintf("%.0f", float64(written)/took.Seconds())))
	}
	return lines, nil
}
