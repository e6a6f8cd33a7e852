package cluster_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
)

func benchmark(b *testing.B, proposers int, pick func(*clustertest.Cluster) *clustertest.Member, do func(context.Context, *clustertest.Member) error) {
	benchmarkWith(b, cluster.ReadIndex, proposers, pick, do)
}

func benchmarkWith(b *testing.B, reads cluster.Reads, proposers int, pick func(*clustertest.Cluster) *clustertest.Member, do func(context.Context, *clustertest.Member) error) {
	c := clustertest.Start(b, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.Reads = reads
		cfg.Timing = cluster.Timing{Stable: 50 * time.Millisecond, Autopilot: 20 * time.Millisecond}
	}})
	m := pick(c)
	b.ResetTimer()
	if proposers == 1 {
		for range b.N {
			if err := do(context.Background(), m); err != nil {
				b.Errorf("%v", err)
			}
		}
		return
	}
	b.SetParallelism(proposers / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := do(context.Background(), m); err != nil {
				b.Errorf("%v", err)
			}
		}
	})
}

func propose(ctx context.Context, m *clustertest.Member) error {
	_, err := m.Propose(ctx, make([]byte, 512))
	return err
}

func barrier(ctx context.Context, m *clustertest.Member) error {
	_, err := m.Barrier(ctx)
	return err
}

// Latencies with one caller, throughput with 64; commands of 512 bytes,
// and the timing that the product uses.
func BenchmarkProposeLeader(b *testing.B) { benchmark(b, 1, (*clustertest.Cluster).Leader, propose) }
func BenchmarkProposeFollower(b *testing.B) {
	benchmark(b, 1, (*clustertest.Cluster).Follower, propose)
}
func BenchmarkProposeLeader64(b *testing.B) { benchmark(b, 64, (*clustertest.Cluster).Leader, propose) }
func BenchmarkProposeFollower64(b *testing.B) {
	benchmark(b, 64, (*clustertest.Cluster).Follower, propose)
}

// Barriers, by both ways to find a read point.
func BenchmarkBarrier(b *testing.B) {
	for _, reads := range []cluster.Reads{cluster.ReadIndex, cluster.LogMark} {
		for _, callers := range []int{1, 64} {
			name := fmt.Sprintf("%s/%d", map[cluster.Reads]string{cluster.ReadIndex: "readindex", cluster.LogMark: "logmark"}[reads], callers)
			b.Run("leader/"+name, func(b *testing.B) {
				benchmarkWith(b, reads, callers, (*clustertest.Cluster).Leader, barrier)
			})
			b.Run("follower/"+name, func(b *testing.B) {
				benchmarkWith(b, reads, callers, (*clustertest.Cluster).Follower, barrier)
			})
		}
	}
}
