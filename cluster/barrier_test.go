package cluster_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/raftkms/raftkms/cluster/clustertest"
)

// TestBarrierSeesAcknowledgedWrites: a write acknowledged by one node is seen
// by a barrier and a read on any other.
func TestBarrierSeesAcknowledgedWrites(t *testing.T) {
	t.Parallel()
	c := clustertest.Start(t, clustertest.Options{})
	ctx := patience(t)
	for i := range 300 {
		writer, reader := c.Members[i%3], c.Members[(i+1+i/3%2)%3]
		want := fmt.Sprint(i)
		committed, err := writer.Propose(ctx, []byte("k="+want))
		if err != nil {
			t.Fatalf("proposing: %v", err)
		}
		index, err := reader.Barrier(ctx)
		if err != nil {
			t.Fatalf("barrier: %v", err)
		}
		if index <= committed.Index {
			t.Fatalf("read point %d is not behind the write at %d", index, committed.Index)
		}
		if got := value(reader, "k"); got != want {
			t.Fatalf("%s read %q after %q was acknowledged by %s", reader.ID, got, want, writer.ID)
		}
	}
}

// TestBarriersShareRounds: who waits at the same time shares a round, on a
// follower and at the leader.
func TestBarriersShareRounds(t *testing.T) {
	c := clustertest.Start(t, clustertest.Options{})
	ctx := patience(t)
	leader := c.Leader()
	before := leader.Status().LastIndex
	const callers = 1000
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			if _, err := c.Members[i%3].Barrier(ctx); err != nil {
				t.Errorf("barrier: %v", err)
			}
		})
	}
	wg.Wait()
	if rounds := leader.Status().LastIndex - before; rounds == 0 || rounds > callers/10 {
		t.Fatalf("%d concurrent barriers made %d marks", callers, rounds)
	}
}
