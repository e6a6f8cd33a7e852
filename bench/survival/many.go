package survival

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/client"
)

// What is to be reached with a million keys in the state.
const (
	restartLimit  = 10 * time.Second
	snapshotStall = 100 * time.Millisecond
	pageRatio     = 2.0
)

// Plant puts many keys into the stopped nodes with these data directories, the
// same into each, and returns how many there are then.
type Plant func(ctx context.Context, dataDirs []string, projectID string, keys int) error

// ManyKeys measures a cluster with many keys in its state: how long a node
// takes to restart while the others serve, and what a page of a list costs over
// what it cost before. They stay in the state.
func (b *Bed) ManyKeys(ctx context.Context, keys int, plant Plant) ([]Line, error) {
	if err := b.fillTo(ctx, pageKeys); err != nil {
		return nil, err
	}
	few, err := b.page(ctx, pageKeys/2)
	if err != nil {
		return nil, err
	}
	b.opts.Say("putting %d keys into the state", keys)
	if err := b.stopAll(); err != nil {
		return nil, err
	}
	var dirs []string
	for _, n := range b.nodes {
		dirs = append(dirs, n.dataDir)
	}
	if err := plant(ctx, dirs, b.file.ProjectID, keys); err != nil {
		return nil, fmt.Errorf("putting %d keys into the state: %w", keys, err)
	}
	b.opts.Say("starting all nodes")
	begun := time.Now()
	if err := b.startAll(ctx); err != nil {
		return nil, err
	}
	together := time.Since(begun)
	restart, err := b.restartOne(ctx)
	if err != nil {
		return nil, err
	}
	many, err := b.page(ctx, keys/2)
	if err != nil {
		return nil, err
	}
	return []Line{
		at(fmt.Sprintf("restart of a node with %d keys, until it is ready", keys), "%s", round(restart), restartLimit),
		beside(fmt.Sprintf("  of all %d nodes at once on this machine", len(b.nodes)), round(together).String()),
		at(fmt.Sprintf("a page of 100 keys among %d / among %d", keys, pageKeys), "%.2f", float64(many)/float64(few), pageRatio),
		beside("  each", fmt.Sprintf("%s / %s", round(many), round(few))),
	}, nil
}

// Memory is what the nodes hold of the machine's.
func (b *Bed) Memory() ([]Line, error) {
	var lines []Line
	for _, n := range b.nodes {
		held, err := Memory(n.PID())
		if err != nil {
			return nil, err
		}
		lines = append(lines, beside("memory of "+n.ID(), fmt.Sprintf("%.2f GB", float64(held)/1e9)))
	}
	return lines, nil
}

// pageKeys is how many keys there are when a page among few is measured.
const pageKeys = 200

// fillTo makes keys until there are so many.
func (b *Bed) fillTo(ctx context.Context, keys int) error {
	c := b.nodes[0].client
	if _, err := c.SetQuotas(ctx, b.file.ProjectID, map[string]int{"CMK": keys + 10}); err != nil {
		return fmt.Errorf("raising the quota of keys: %w", err)
	}
	have, err := c.CountKeys(ctx)
	if err != nil {
		return err
	}
	for i := have; i < keys; i++ {
		if _, err := c.CreateKey(ctx, client.NewKey{Name: fmt.Sprintf("page-%d", i)}); err != nil {
			return err
		}
	}
	return nil
}

// page is the median time of a page of a hundred keys from the middle.
func (b *Bed) page(ctx context.Context, middle int) (time.Duration, error) {
	var took []time.Duration
	for range 200 {
		begun := time.Now()
		page, err := b.nodes[0].client.ListKeys(ctx, client.ListOptions{Limit: 100, Offset: middle})
		if err != nil {
			return 0, err
		}
		if len(page.Keys) != 100 {
			return 0, fmt.Errorf("a page of 100 keys from place %d has %d", middle, len(page.Keys))
		}
		took = append(took, time.Since(begun))
	}
	return quantile(took, 0.5), nil
}

// restartOne kills a node that does not lead and starts it again, three times,
// and returns the median of the times until it says that it serves.
func (b *Bed) restartOne(ctx context.Context) (time.Duration, error) {
	var took []time.Duration
	for i := range 3 {
		_, others, err := b.leading(ctx)
		if err != nil {
			return 0, err
		}
		victim := others[0]
		b.opts.Say("%s restarts (%d of 3)", victim.ID(), i+1)
		if err := victim.Kill(); err != nil {
			return 0, err
		}
		begun := time.Now()
		if err := victim.Start(); err != nil {
			return 0, err
		}
		if err := b.ready(ctx); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	return quantile(took, 0.5), nil
}

// snapshotWriters write until the log is long enough for a snapshot.
const snapshotWriters = 8

// snapshotPatience bounds the wait for the leader's second snapshot.
const snapshotPatience = 5 * time.Minute

// Snapshots writes through the leader until it has made a snapshot, and
// measures the longest write while it did, and while it did not.
func (b *Bed) Snapshots(ctx context.Context) ([]Line, error) {
	leader, _, err := b.leading(ctx)
	if err != nil {
		return nil, err
	}
	b.opts.Say("writing until %s makes a snapshot", leader.ID())
	var n atomic.Int64
	writes := use(snapshotWriters, 0, func(ctx context.Context, _ int) error { return b.unfenced(ctx, leader.client, int(n.Add(1))) })
	defer writes.stop()
	began := time.Now()
	span, err := b.awaitSnapshot(ctx, leader)
	if err != nil {
		return nil, err
	}
	calls, failed := writes.stop()
	if len(failed) > 0 {
		return nil, fmt.Errorf("%d of %d writes failed while a snapshot was made: %w", len(failed), len(calls), failed[0])
	}
	return []Line{
		at("the longest write while a snapshot is written", "%s", round(longest(calls, span.begun, span.ended)), snapshotStall),
		beside("  the snapshot took", round(span.ended.Sub(span.begun)).String()),
		beside(fmt.Sprintf("  the longest write in the %s before", round(span.begun.Sub(began))), round(longest(calls, began, span.begun.Add(-time.Second))).String()),
	}, nil
}

// awaitSnapshot waits for a snapshot and returns from when to when it was written.
func (b *Bed) awaitSnapshot(ctx context.Context, n *node) (span call, err error) {
	ctx, cancel := context.WithTimeout(ctx, snapshotPatience)
	defer cancel()
	for {
		files, err := os.ReadDir(filepath.Join(n.dataDir, "raft", "snapshots"))
		if err != nil {
			return call{}, fmt.Errorf("looking for a snapshot of %s: %w", n.ID(), err)
		}
		writing := slices.ContainsFunc(files, func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), ".tmp") })
		switch now := time.Now(); {
		case writing && span.begun.IsZero():
			span.begun = now
			b.opts.Say("%s writes a snapshot", n.ID())
		case !writing && !span.begun.IsZero():
			span.ended = now
			return span, nil
		}
		select {
		case <-ctx.Done():
			return call{}, fmt.Errorf("%s made no snapshot within %s: %w", n.ID(), snapshotPatience, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}
