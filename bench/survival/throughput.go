package survival

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

// proposeRatio is what cluster.Propose should do of Raft's own Apply.
const proposeRatio = 0.8

// Alone are writes that no caller asks for: what Raft and package cluster do
// with an entry that nobody reads, on as many nodes as the bed has.
type Alone struct {
	Apply, Propose func(ctx context.Context) error
	Bytes          int // of an entry
}

// Writes measures how many writes a second so many writers get, by turns: of Raft's
// Apply alone, cluster.Propose, and the full path of a write that has the module
// make a key, through the leader and through all nodes. Each turn has a fixed
// number of writes, which bounds the keys that are made.
func (b *Bed) Writes(ctx context.Context, writers, writes, rounds int, alone Alone) ([]Line, error) {
	leader, _, err := b.leading(ctx)
	if err != nil {
		return nil, err
	}
	warming := max(writers, writes/10) // they open the connections
	project, err := b.roomFor(ctx, 2*(warming+rounds*writes))
	if err != nil {
		return nil, err
	}
	throughLeader, err := b.clientFor(project, leader.url)
	if err != nil {
		return nil, err
	}
	defer throughLeader.Close()
	throughAll, err := b.clientFor(project, urls(b.nodes)...)
	if err != nil {
		return nil, err
	}
	defer throughAll.Close()
	var key atomic.Value // the id of one
	var made atomic.Int64
	creating := func(c *client.Client) func(context.Context) error {
		return func(ctx context.Context) error {
			id, err := c.CreateKey(ctx, client.NewKey{Name: fmt.Sprintf("written-%d", made.Add(1))})
			if err == nil {
				key.Store(id)
			}
			return err
		}
	}
	ways := []func(context.Context) error{alone.Apply, alone.Propose, creating(throughLeader), creating(throughAll)}
	for _, do := range ways {
		if _, err := rate(ctx, writers, warming, do); err != nil {
			return nil, err
		}
	}
	rates := make([][]float64, len(ways))
	for round := range rounds {
		b.opts.Say("writes, alone and through the whole of it (%d of %d)", round+1, rounds)
		for i, do := range ways {
			r, err := rate(ctx, writers, writes, do)
			if err != nil {
				return nil, err
			}
			rates[i] = append(rates[i], r)
		}
	}
	one, err := throughLeader.DescribeKey(ctx, key.Load().(string))
	if err != nil {
		return nil, err
	}
	apply, propose, byLeader, byAll := rates[0], rates[1], rates[2], rates[3]
	lines := []Line{
		atLeast(fmt.Sprintf("cluster.Propose / raft's Apply alone, %d bytes, %d proposers, median of %d", alone.Bytes, writers, rounds), "%.2f", over(propose, apply), proposeRatio),
		beside("  each a second", fmt.Sprintf("%.0f / %.0f", Median(propose), Median(apply))),
	}
	for _, full := range []struct {
		through string
		rates   []float64
	}{{"the leader", byLeader}, {"all nodes", byAll}} {
		lines = append(lines,
			beside(fmt.Sprintf("the full path through %s, %d connections, writes a second", full.through, writers), fmt.Sprintf("%.0f", Median(full.rates))),
			beside("  over cluster.Propose, over raft's Apply alone", fmt.Sprintf("%.3f, %.3f", over(full.rates, propose), over(full.rates, apply))))
	}
	return append(lines, beside("  it is create-key: HTTP, TLS, signature, permission, module, proposal, trace", fmt.Sprintf("module %s, level %s", module, one.Level))), nil
}

// roomFor makes a project in which there may be so many keys. It is another one
// than that of the bed, whose pages are measured among few keys.
func (b *Bed) roomFor(ctx context.Context, keys int) (projectID string, err error) {
	c := b.nodes[0].client
	project, err := c.Identities().CreateProject(ctx, wire.NewNamed{Name: "writes"})
	if err != nil {
		return "", fmt.Errorf("making a project for the writes: %w", err)
	}
	if _, err := c.SetQuotas(ctx, project.ID, map[string]int{"CMK": keys}); err != nil {
		return "", fmt.Errorf("raising the quota of keys: %w", err)
	}
	return project.ID, nil
}

// rate has writers do so many writes between them, and returns how many a
// second there were.
func rate(ctx context.Context, writers, writes int, do func(context.Context) error) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var begun atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for range writers {
		all.Go(func() {
			for begun.Add(1) <= int64(writes) && ctx.Err() == nil {
				if err := do(ctx); err != nil {
					cancel(err) // the first one counts
				}
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	if ctx.Err() != nil {
		return 0, fmt.Errorf("a write failed: %w", context.Cause(ctx))
	}
	return float64(writes) / took.Seconds(), nil
}

// over is the median of the ratios of what was measured in the same round.
func over(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return Median(ratios)
}

// Median is the median of at least one value.
func Median(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
