package survival

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// What is to be reached after a leader's death, and when leadership is handed on.
const (
	acceptedMedian = 1200 * time.Millisecond
	acceptedRarely = 3 * time.Second
	transferStall  = 250 * time.Millisecond
)

// cryptoUsers make data keys all the time while leaders die.
const cryptoUsers = 4

// between two data keys of one user, so that the machine has time for the cluster.
const between = 2 * time.Millisecond

// LeaderDeaths kills leaders and measures until when a write that begins at the
// death is accepted through another node, how much longer a fence takes, and
// which data keys fail meanwhile to callers that know all nodes.
func (b *Bed) LeaderDeaths(ctx context.Context, times int) ([]Line, error) {
	everywhere, err := b.clientOf(urls(b.nodes)...)
	if err != nil {
		return nil, err
	}
	defer everywhere.Close()
	crypto := use(cryptoUsers, between, func(ctx context.Context, _ int) error { return b.dataKey(ctx, everywhere) })
	defer crypto.stop()
	fencedKey, err := b.nodes[0].client.EnsureKey(ctx, "survival-fenced")
	if err != nil {
		return nil, err
	}
	var accepted, more []time.Duration
	for i := range times {
		b.opts.Say("a leader dies (%d of %d)", i+1, times)
		write, fence, err := b.death(ctx, fencedKey, i)
		if err != nil {
			return nil, fmt.Errorf("after the death of a leader: %w", err)
		}
		accepted, more = append(accepted, write), append(more, max(0, fence-write))
		if err := b.startAll(ctx); err != nil {
			return nil, err
		}
	}
	calls, failed := crypto.stop()
	lines := []Line{
		at(fmt.Sprintf("a write is accepted after a leader's death, median of %d", times), "%s", round(quantile(accepted, 0.5)), acceptedMedian),
		at("  and its 99th percentile", "%s", round(quantile(accepted, 0.99)), acceptedRarely),
		at("a fence takes longer than that after a leader's death, at most", "%s", round(quantile(more, 1)), lease),
		none("data keys refused meanwhile to a client that knows all nodes", len(failed), len(calls)+len(failed)),
	}
	if len(failed) > 0 {
		lines = append(lines, beside("  the first", failed[0].Error()))
	}
	return lines, nil
}

// death kills the leader and has both kinds of writes begin at once, each
// through one of the nodes that are left.
func (b *Bed) death(ctx context.Context, fencedKey string, n int) (write, fence time.Duration, err error) {
	leader, others, err := b.leading(ctx)
	if err != nil {
		return 0, 0, err
	}
	survivors, err := b.clientOf(urls(others)...)
	if err != nil {
		return 0, 0, err
	}
	defer survivors.Close()
	for range len(others) { // so that connections are there, as they are to a service that is in use
		if err := b.dataKey(ctx, survivors); err != nil {
			return 0, 0, err
		}
	}
	if err := leader.Kill(); err != nil {
		return 0, 0, err
	}
	died := time.Now()
	var wg sync.WaitGroup
	var unfenced, fenced error
	wg.Go(func() {
		unfenced = b.unfenced(ctx, survivors, n)
		write = time.Since(died)
	})
	wg.Go(func() {
		fenced = survivors.DisableKey(ctx, fencedKey)
		fence = time.Since(died)
	})
	wg.Wait()
	if err := firstOf(unfenced, fenced); err != nil {
		return 0, 0, err
	}
	return write, fence, survivors.EnableKey(ctx, fencedKey)
}

// Handovers hands leadership on, over and over, and measures what callers that
// know all nodes notice: data keys and writes that fail, and the longest write.
func (b *Bed) Handovers(ctx context.Context, times int) ([]Line, error) {
	everywhere, err := b.clientOf(urls(b.nodes)...)
	if err != nil {
		return nil, err
	}
	defer everywhere.Close()
	crypto := use(cryptoUsers, between, func(ctx context.Context, _ int) error { return b.dataKey(ctx, everywhere) })
	defer crypto.stop()
	written := 0
	writes := use(1, 0, func(ctx context.Context, _ int) error {
		written++
		return b.unfenced(ctx, everywhere, written)
	})
	defer writes.stop()
	time.Sleep(time.Second)
	var spans []call
	for i := range times {
		leader, others, err := b.leading(ctx)
		if err != nil {
			return nil, err
		}
		to := others[i%len(others)]
		b.opts.Say("leadership from %s to %s (%d of %d)", leader.ID(), to.ID(), i+1, times)
		begun := time.Now()
		if _, err := leader.socket.TransferLeadership(ctx, to.ID()); err != nil {
			return nil, fmt.Errorf("handing leadership on: %w", err)
		}
		time.Sleep(time.Second) // what it leaves behind is seen, too
		spans = append(spans, call{begun, time.Now()})
		if err := b.ready(ctx); err != nil {
			return nil, err
		}
	}
	wrote, notWritten := writes.stop()
	made, notMade := crypto.stop()
	var stalls []time.Duration
	for _, s := range spans {
		stalls = append(stalls, longest(wrote, s.begun, s.ended))
	}
	lines := []Line{
		none("data keys refused while leadership is handed on", len(notMade), len(made)+len(notMade)),
		none("writes refused while leadership is handed on", len(notWritten), len(wrote)+len(notWritten)),
		at(fmt.Sprintf("the longest write while leadership is handed on, of %d times", times), "%s", round(quantile(stalls, 1)), transferStall),
		beside("  median of the longest of each", round(quantile(stalls, 0.5)).String()),
	}
	for _, failed := range [][]error{notMade, notWritten} {
		if len(failed) > 0 {
			lines = append(lines, beside("  the first", failed[0].Error()))
		}
	}
	return lines, nil
}
