package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/bench/survival"
)

// clusterBench is what kmsbench cluster measures, and how often.
type clusterBench struct {
	pairs, frozen, deaths, handovers int
	keys                             int
	each                             time.Duration
}

func newCluster() *cobra.Command {
	var o clusterOptions
	var c clusterBench
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Measure what callers notice of fences, of leaders that die or hand on, and of a million keys",
		Long: "Run a cluster of kmsd processes and measure what its callers notice: what a fence costs, with all nodes there, one frozen, and after a\n" +
			"leader's death; until when writes are accepted after that, and whether data keys fail; what handing leadership on costs; how many\n" +
			"messages a data key causes; and, with many keys in the state, how long a restart, a write during a snapshot and a page of a list take.\n" +
			"Each figure stands beside what is to be reached.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.nodes < 3 {
				return fmt.Errorf("--nodes %d must be at least 3, so that one may die", o.nodes)
			}
			if min(c.pairs, c.frozen, c.deaths, c.handovers) < 1 || c.keys < 0 || c.keys > 0 && c.keys < 1000 {
				return errors.New("every number of times must be at least 1, and --keys 0 or at least 1000")
			}
			return c.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), o)
		},
	}
	cmd.Flags().StringVar(&o.kmsd, "kmsd", "", "The kmsd program; the one beside kmsbench when absent.")
	cmd.Flags().IntVar(&o.nodes, "nodes", 3, "Nodes of the cluster.")
	cmd.Flags().IntVar(&o.port, "port", 9640, "First port of the cluster.")
	cmd.Flags().IntVar(&c.pairs, "pairs", 200, "How many fenced and unfenced writes are compared.")
	cmd.Flags().IntVar(&c.frozen, "frozen", 5, "How often a node is frozen.")
	cmd.Flags().IntVar(&c.deaths, "deaths", 20, "How often the leader is killed.")
	cmd.Flags().IntVar(&c.handovers, "handovers", 10, "How often leadership is handed on.")
	cmd.Flags().IntVar(&c.keys, "keys", 1_000_000, "Keys in the state for the measurements of a large one; 0: without them. A million takes 8 GB of memory for three nodes.")
	cmd.Flags().DurationVar(&c.each, "duration", 5*time.Second, "The time in which throughput and messages are counted.")
	return cmd
}

func (c clusterBench) run(ctx context.Context, out, progress io.Writer, o clusterOptions) (err error) {
	if o.kmsd == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program: %w", err)
		}
		o.kmsd = filepath.Join(filepath.Dir(self), "kmsd")
	}
	dir, err := os.MkdirTemp("", "kmsbench-cluster")
	if err != nil {
		return fmt.Errorf("making a directory for the cluster: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bed, err := survival.Found(ctx, survival.Options{
		KMSD: o.kmsd, Dir: dir, Nodes: o.nodes, Port: o.port,
		Say: func(format string, args ...any) { fmt.Fprintf(progress, format+"\n", args...) },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	var missed int
	for _, measure := range []func() ([]survival.Line, error){
		func() ([]survival.Line, error) { return bed.Fences(ctx, c.pairs) },
		func() ([]survival.Line, error) { return bed.Messages(ctx, c.each) },
		func() ([]survival.Line, error) { return bed.Writes(ctx, 64, c.each) },
		func() ([]survival.Line, error) { return bed.Handovers(ctx, c.handovers) },
		func() ([]survival.Line, error) { return bed.FrozenNode(ctx, c.frozen) },
		func() ([]survival.Line, error) { return bed.LeaderDeaths(ctx, c.deaths) },
		func() ([]survival.Line, error) {
			if c.keys == 0 {
				return nil, nil
			}
			return bed.ManyKeys(ctx, c.keys, plantKeys)
		},
	} {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("measuring: %w", err)
		}
		lines, err := measure()
		if err != nil {
			return err
		}
		n, err := survival.Print(out, lines)
		if err != nil {
			return fmt.Errorf("printing what was measured: %w", err)
		}
		missed += n
	}
	if missed > 0 {
		fmt.Fprintf(out, "%d figures are not what is to be reached\n", missed)
	}
	return nil
}
