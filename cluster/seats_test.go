package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

// TestSeatsTakenAtOnce: of four voters one is dead, and each of two others may
// go, but not both. Asked together, one goes and the other stays, and the cluster
// goes on; the other goes as well when the dead one is back.
func TestSeatsTakenAtOnce(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(leader *clustertest.Member, ctx context.Context, id string) error{
		"removed": func(leader *clustertest.Member, ctx context.Context, id string) error { return leader.Remove(ctx, id) },
		"demoted": func(leader *clustertest.Member, ctx context.Context, id string) error { return leader.Demote(ctx, id) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var whole atomic.Bool
			c := clustertest.Start(t, clustertest.Options{Nodes: 4, Configure: func(cfg *cluster.Config) {
				cfg.Promotable = func(string) bool { return !whole.Load() }
			}})
			whole.Store(true)
			leader, others := c.Leader(), c.Followers()
			dead := others[2]
			c.Stop(dead)
			answers := make(chan error, 2)
			for _, m := range others[:2] {
				if err := leader.MajorityWithout(patience(t), m.ID); err != nil {
					t.Fatalf("before anybody goes: %v", err)
				}
			}
			for _, m := range others[:2] {
				go func() {
					err := take(leader, patience(t), m.ID)
					if err != nil {
						err = fmt.Errorf("%s: %w", m.ID, err)
					}
					answers <- err
				}()
			}
			first, second := <-answers, <-answers
			if (first == nil) == (second == nil) || !errors.Is(errors.Join(first, second), cluster.ErrMajority) {
				t.Errorf("two at once: %v and %v, want that one is done and the other would lose the majority", first, second)
			}
			if _, err := c.Leader().Propose(patience(t), []byte("on=and on")); err != nil {
				t.Fatalf("a write by those who are left: %v", err)
			}
			c.Restart(dead)
			c.Eventually("the other to go, with the dead one back", func() bool {
				return take(c.Leader(), patience(t), others[0].ID) == nil && take(c.Leader(), patience(t), others[1].ID) == nil
			})
		})
	}
}
