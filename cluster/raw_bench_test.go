package cluster_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/storage"
)

// discardEntries is the least that can be replicated into.
type discardEntries struct{}

func (discardEntries) Apply(*raft.Log) any                 { return nil }
func (discardEntries) ApplyBatch(logs []*raft.Log) []any   { return make([]any, len(logs)) }
func (discardEntries) Snapshot() (raft.FSMSnapshot, error) { return discardEntries{}, nil }
func (discardEntries) Restore(r io.ReadCloser) error       { return r.Close() }
func (discardEntries) Persist(s raft.SnapshotSink) error   { return s.Close() }
func (discardEntries) Release()                            {}

// rawLeader starts three nodes of hashicorp/raft and nothing else, over TCP
// without TLS, with the stores, the batches and the timing that package cluster
// gives it, and returns the one that leads.
func rawLeader(b *testing.B) *raft.Raft {
	b.Helper()
	var rafts []*raft.Raft
	var configuration raft.Configuration
	for i := range 3 {
		id := fmt.Sprintf("raw-%d", i+1)
		stores, err := storage.Open(storage.Config{
			Dir: filepath.Join(b.TempDir(), id), ClusterID: "raw", NodeID: id, SlowWrite: time.Minute,
			Fatal: func(err error) { panic(err) }, Logger: hclog.NewNullLogger(),
		})
		if err != nil {
			b.Fatal(err)
		}
		transport, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 4, 5*time.Second, hclog.NewNullLogger())
		if err != nil {
			b.Fatal(err)
		}
		config := raft.DefaultConfig()
		config.LocalID = raft.ServerID(id)
		config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = 500*time.Millisecond, 500*time.Millisecond, 250*time.Millisecond
		config.MaxAppendEntries, config.BatchApplyCh = 256, true
		config.NoLegacyTelemetry = true
		config.Logger = hclog.NewNullLogger()
		r, err := raft.NewRaft(config, discardEntries{}, stores.Log, stores.Stable, stores.Snapshots, transport)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := r.Shutdown().Error(); err != nil {
				b.Error(err)
			}
			transport.CloseStreams()
			if err := transport.Close(); err != nil {
				b.Error(err)
			}
			if err := stores.Close(); err != nil {
				b.Error(err)
			}
		})
		rafts = append(rafts, r)
		configuration.Servers = append(configuration.Servers, raft.Server{ID: raft.ServerID(id), Address: transport.LocalAddr()})
	}
	if err := rafts[0].BootstrapCluster(configuration).Error(); err != nil {
		b.Fatal(err)
	}
	for end := time.Now().Add(clustertest.Patience); ; time.Sleep(10 * time.Millisecond) {
		for _, r := range rafts {
			if r.State() == raft.Leader {
				return r
			}
		}
		if time.Now().After(end) {
			b.Fatal("raft has no leader")
		}
	}
}

// BenchmarkProposeOverRaft sets what goes through cluster.Propose on a leader
// beside what goes through raft.Apply alone: the same entries of 512 bytes, the
// same stores, 64 proposers, by turns. At least 0.8 of it is to be reached; TLS,
// fences and the commit push are in ours only.
func BenchmarkProposeOverRaft(b *testing.B) {
	const proposers, turns = 64, 5
	raw := rawLeader(b)
	c := clustertest.Start(b, clustertest.Options{Configure: func(cfg *cluster.Config) {
		cfg.Timing = cluster.Timing{Stable: 50 * time.Millisecond, Autopilot: 20 * time.Millisecond}
		cfg.Logger = slog.New(slog.DiscardHandler)
	}})
	leader := c.Leader()
	entry := make([]byte, 512)
	each := max(b.N, 2000)
	rate := func(do func() error) float64 {
		b.Helper()
		var wg sync.WaitGroup
		left := make(chan struct{}, each)
		for range each {
			left <- struct{}{}
		}
		close(left)
		began := time.Now()
		for range proposers {
			wg.Go(func() {
				for range left {
					if err := do(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return float64(each) / time.Since(began).Seconds()
	}
	var ours, theirs []float64
	for range turns {
		theirs = append(theirs, rate(func() error { return raw.Apply(entry, time.Minute).Error() }))
		ours = append(ours, rate(func() error {
			_, err := leader.Propose(context.Background(), entry)
			return err
		}))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	b.ReportMetric(ours[turns/2], "propose/s")
	b.ReportMetric(theirs[turns/2], "raft/s")
	b.ReportMetric(ours[turns/2]/theirs[turns/2], "ratio")
	b.ReportMetric(0, "ns/op")
}
