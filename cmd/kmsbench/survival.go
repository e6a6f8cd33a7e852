package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/bench/survival"
)

// clusterBench is what kmsbench cluster measures, and how often.
type clusterBench struct {
	pairs, frozen, deaths, handovers int
	writes, rounds                   int
	keys                             int
	each                             time.Duration
	figures                          []string // which ones, by their names
}

// writers write at once where throughput is measured.
const writers = 64

// Limits of the writes, each of which makes a key.
const (
	maxWrites      = 100_000
	maxWriteRounds = 20
)

func newCluster() *cobra.Command {
	var o clusterOptions
	var c clusterBench
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Measure what callers notice of fences, of leaders that die or hand on, and of a million keys",
		Long: "Run a cluster of kmsd processes and measure what its callers notice: what a fence costs, with all nodes there, one frozen, and after a\n" +
			"leader's death; until when writes are accepted after that, and whether data keys fail; what handing leadership on costs; how many\n" +
			"messages a data key causes; how many writes a second 64 callers get of Raft alone, of cluster.Propose and of the full path of create-key,\n" +
			"by turns, with the callers' own work on the same processors; and, with many keys in the state, how long a restart, a write during a\n" +
			"snapshot and a page of a list take.\n" +
			"Each figure stands beside what is to be reached.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.nodes < 3 {
				return fmt.Errorf("--nodes %d must be at least 3, so that one may die", o.nodes)
			}
			if err := c.check(); err != nil {
				return err
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
	cmd.Flags().IntVar(&c.writes, "writes", 5000, "Writes of each kind in a round of the throughput; those of the full path make a key each, twice.")
	cmd.Flags().IntVar(&c.rounds, "rounds", 5, "How often the throughput of each kind of write is measured in turn.")
	cmd.Flags().IntVar(&c.keys, "keys", 1_000_000, "Keys in the state for the measurements of a large one; 0: without them. A million takes 8 GB of memory for three nodes.")
	cmd.Flags().DurationVar(&c.each, "duration", 5*time.Second, "The time in which messages are counted.")
	cmd.Flags().StringSliceVar(&c.figures, "figures", c.names(), "Which figures are measured; keys, snapshots and memory are of a large state.")
	return cmd
}

func (c clusterBench) check() error {
	switch {
	case min(c.pairs, c.frozen, c.deaths, c.handovers) < 1:
		return errors.New("every number of times must be at least 1")
	case c.writes < writers || c.writes > maxWrites:
		return fmt.Errorf("--writes %d must be from %d, one of each who write at once, to %d", c.writes, writers, maxWrites)
	case c.rounds < 1 || c.rounds > maxWriteRounds:
		return fmt.Errorf("--rounds %d must be from 1 to %d", c.rounds, maxWriteRounds)
	case c.keys != 0 && c.keys < 1000:
		return fmt.Errorf("--keys %d must be 0 or at least 1000", c.keys)
	case c.each <= 0:
		return fmt.Errorf("--duration %s must be more than nothing", c.each)
	}
	if len(c.figures) == 0 {
		return errors.New("--figures names none")
	}
	names := c.names()
	for _, name := range c.figures {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--figures has no %q, only %s", name, strings.Join(names, ", "))
		}
	}
	if !slices.Contains(c.figures, keysFigure) && (slices.Contains(c.figures, "snapshots") || slices.Contains(c.figures, "memory")) {
		return errors.New("--figures snapshots and memory need keys, too, which puts them into the state")
	}
	return nil
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
	options := survival.Options{
		KMSD: o.kmsd, Dir: dir, Nodes: o.nodes, Port: o.port,
		Say: func(format string, args ...any) { fmt.Fprintf(progress, format+"\n", args...) },
	}
	bed, err := survival.Found(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Close()) }()
	var missed int
	for _, figure := range c.all() {
		if !slices.Contains(c.figures, figure.name) || figure.large && c.keys == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("measuring: %w", err)
		}
		lines, err := figure.measure(ctx, bed, options)
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

// keysFigure is what puts many keys into the state, and stays there.
const keysFigure = "keys"

// figures are some of what is measured.
type figures struct {
	name    string
	large   bool // of a large state
	measure func(context.Context, *survival.Bed, survival.Options) ([]survival.Line, error)
}

// all are all figures in the order in which they are measured: what makes the
// state larger comes last.
func (c clusterBench) all() []figures {
	type bed = *survival.Bed
	type options = survival.Options
	type lines = []survival.Line
	return []figures{
		{"fences", false, func(ctx context.Context, b bed, _ options) (lines, error) { return b.Fences(ctx, c.pairs) }},
		{"messages", false, func(ctx context.Context, b bed, _ options) (lines, error) { return b.Messages(ctx, c.each) }},
		{"handovers", false, func(ctx context.Context, b bed, _ options) (lines, error) { return b.Handovers(ctx, c.handovers) }},
		{"frozen", false, func(ctx context.Context, b bed, _ options) (lines, error) { return b.FrozenNode(ctx, c.frozen) }},
		{"deaths", false, func(ctx context.Context, b bed, _ options) (lines, error) { return b.LeaderDeaths(ctx, c.deaths) }},
		{"writes", false, c.throughput},
		{keysFigure, true, func(ctx context.Context, b bed, _ options) (lines, error) { return b.ManyKeys(ctx, c.keys, plantKeys) }},
		{"snapshots", true, func(ctx context.Context, b bed, _ options) (lines, error) { return b.Snapshots(ctx) }},
		{"memory", true, func(_ context.Context, b bed, _ options) (lines, error) { return b.Memory() }},
	}
}

// names are those of all figures.
func (c clusterBench) names() []string {
	var names []string
	for _, f := range c.all() {
		names = append(names, f.name)
	}
	return names
}

// throughput sets writes through the bed beside those of Raft and of package
// cluster alone, which as many nodes in this process take by turns with it.
func (c clusterBench) throughput(ctx context.Context, bed *survival.Bed, o survival.Options) (lines []survival.Line, err error) {
	raw, err := startRaw(ctx, filepath.Join(o.Dir, "raw"), o.Nodes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.close()) }()
	proposed, err := startProposing(ctx, filepath.Join(o.Dir, "proposing"), o.Nodes)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, proposed.close()) }()
	return bed.Writes(ctx, writers, c.writes, c.rounds, survival.Alone{Apply: raw.apply, Propose: proposed.propose, Bytes: entryBytes})
}
