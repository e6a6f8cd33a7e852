package survival

import (
	"context"
	"fmt"
	"time"
)

// lease is how long a serving lease lasts by default: what a fence may have to
// wait for a node that does not answer.
const lease = 3 * time.Second

// Fences measures what a fenced write costs over an unfenced one through the
// same node, the leader and another one: disabling a key over enabling it, in
// turns.
func (b *Bed) Fences(ctx context.Context, pairs int) ([]Line, error) {
	leader, others, err := b.leading(ctx)
	if err != nil {
		return nil, err
	}
	b.opts.Say("fences on a healthy cluster")
	var lines []Line
	for i, n := range []*node{leader, others[0]} {
		through := []string{"the leader", "another node"}[i]
		var fenced, unfenced []time.Duration
		for round := range pairs + pairs/10 {
			disabling, enabling, err := b.pair(ctx, n)
			if err != nil {
				return nil, err
			}
			if round >= pairs/10 { // the first ones open connections
				fenced, unfenced = append(fenced, disabling), append(unfenced, enabling)
			}
		}
		with, without := quantile(fenced, 0.5), quantile(unfenced, 0.5)
		lines = append(lines,
			at(fmt.Sprintf("fenced / unfenced write through %s, median of %d", through, pairs), "%.2f", float64(with)/float64(without), 1.5),
			beside("  each", fmt.Sprintf("%s / %s", round(with), round(without))))
	}
	return lines, nil
}

// pair disables the key and enables it again.
func (b *Bed) pair(ctx context.Context, n *node) (disabling, enabling time.Duration, err error) {
	begun := time.Now()
	if err := n.client.DisableKey(ctx, b.key); err != nil {
		return 0, 0, err
	}
	between := time.Now()
	if err := n.client.EnableKey(ctx, b.key); err != nil {
		return 0, 0, err
	}
	return between.Sub(begun), time.Since(between), nil
}

// FrozenNode measures how long a fence takes that begins as one node stops to
// answer, holding a lease.
func (b *Bed) FrozenNode(ctx context.Context, times int) ([]Line, error) {
	var took []time.Duration
	for i := range times {
		leader, others, err := b.leading(ctx)
		if err != nil {
			return nil, err
		}
		victim := others[i%len(others)]
		b.opts.Say("%s frozen (%d of %d)", victim.ID(), i+1, times)
		if err := victim.Pause(); err != nil {
			return nil, err
		}
		disabling, _, err := b.pair(ctx, leader)
		if rerr := victim.Resume(); rerr != nil || err != nil {
			return nil, fmt.Errorf("disabling a key while a node is frozen: %w", firstOf(err, rerr))
		}
		took = append(took, disabling)
		if err := b.ready(ctx); err != nil {
			return nil, err
		}
	}
	return []Line{at(fmt.Sprintf("a fence with one node frozen, longest of %d", times), "%s", round(quantile(took, 1)), lease)}, nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
