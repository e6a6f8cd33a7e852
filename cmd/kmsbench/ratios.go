package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/survival"
	"github.com/raftkms/raftkms/bench/target"
)

func newRatios() *cobra.Command {
	var r ratios
	cmd := &cobra.Command{
		Use:   "ratios",
		Short: "Measure in one run, by turns, what raftkms promises of its speed, as ratios",
		Long: `Measure in one run, by turns, what raftkms promises of its speed:

  - server CPU per create-datakey and decrypt-datakey of one node, over that of a web server with the same TLS that answers with the
    same number of bytes, and does nothing; and over that of one which also puts as many bytes on disk as a trace has, by group commit
  - p99 at 70 % of the peak rate in an open loop, over that of the latter at 70 % of its own
  - server CPU per request of several nodes over one: with as many connections for each node, and with as many in all
  - server CPU per request with many keys of the level SOFTWARE in use, over one
  - CPU time of the nodes while nobody asks

A ratio is the median of the rounds, each of which compares what was measured within seconds, with the lowest and the highest beside
it. The nodes are run for the purpose with kmsd dev. With --module pkcs11 (SoftHSM2) keys are of the level HSM.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return err
			}
			r.progress = terminal()
			return r.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	set := cmd.Flags()
	set.StringVar(&r.cluster.kmsd, "kmsd", "", "The kmsd program; the one beside kmsbench when absent.")
	set.StringVar(&r.cluster.module, "module", "pkcs11", "Module of the nodes: soft or pkcs11 (SoftHSM2).")
	set.IntVar(&r.cluster.port, "port", 9740, "First port of the nodes.")
	set.IntVar(&r.nodes, "nodes", 3, "Nodes that are compared with one.")
	set.IntVar(&r.keys, "keys", 100_000, "Keys in use that are compared with one.")
	set.IntVar(&r.rounds, "rounds", 5, "How often each is measured in turn.")
	r.effort.addFlags(set, 3*time.Second)
	return cmd
}

// ratios measures all of it.
type ratios struct {
	cluster  clusterOptions
	nodes    int
	keys     int
	rounds   int
	effort   effort
	progress io.Writer

	fixed, appending              *entrant
	create, decrypt, many, soft   *entrant // of one node
	manyKeys, several, severalAll *entrant

	level  string        // of the keys
	answer int           // bytes of one
	trace  int           // bytes of one
	idle   time.Duration // CPU time of the several nodes in a second, while nobody asks
}

// portsPerNode is how far the first ports of two nodes that kmsd dev runs lie apart.
const portsPerNode = 10

func (r *ratios) check() error {
	switch {
	case r.nodes < 2 || r.nodes > maxNodes:
		return fmt.Errorf("--nodes %d must be from 2 to %d", r.nodes, maxNodes)
	case r.keys < 2 || r.keys > maxKeys:
		return fmt.Errorf("--keys %d must be from 2 to %d", r.keys, maxKeys)
	}
	return checkTurns(r.cluster.module, r.rounds, r.effort, maxConnections)
}

// checkTurns refuses what cannot be measured by turns.
func checkTurns(module string, rounds int, e effort, mostWorkers int) error {
	switch {
	case module != "soft" && module != "pkcs11":
		return fmt.Errorf("--module %q must be soft or pkcs11", module)
	case rounds < 1 || rounds > maxRounds:
		return fmt.Errorf("--rounds %d must be from 1 to %d", rounds, maxRounds)
	case e.workers < 1 || e.workers > mostWorkers:
		return fmt.Errorf("--workers %d must be from 1 to %d", e.workers, mostWorkers)
	case e.duration <= 0 || e.warmup < 0:
		return errors.New("--duration must be more than 0, and --warmup not less")
	}
	return nil
}

// nodesOf runs a cluster of that many nodes, whose ports follow those of as many others.
func (r *ratios) nodesOf(ctx context.Context, n, others int, module string) (*stand, error) {
	o := r.cluster
	o.nodes, o.module, o.port = n, module, r.cluster.port+others*portsPerNode
	return openCluster(ctx, o, "", &plan{operation: target.CreateDataKey, latencies: []time.Duration{0}})
}

func (r *ratios) run(ctx context.Context, out io.Writer) (err error) {
	var stops []func() error // the last one first
	defer func() {
		for i := len(stops) - 1; i >= 0; i-- {
			err = errors.Join(err, stops[i]())
		}
	}()
	for _, begin := range []func(context.Context) (func() error, error){r.beginSeveral, r.beginOne, r.beginKeys, r.beginFixed, r.beginAppending} {
		stop, err := begin(ctx)
		if err != nil {
			return err
		}
		stops = append(stops, stop)
	}
	all := []*entrant{r.fixed, r.appending, r.create, r.decrypt, r.soft, r.manyKeys, r.several, r.severalAll, r.many}
	defer func() {
		for _, e := range all {
			e.poster.Close()
		}
	}()
	for range r.rounds {
		for _, e := range all {
			if err := e.closed(ctx, r.progress, r.effort); err != nil {
				return err
			}
		}
	}
	for range r.rounds {
		for _, e := range []*entrant{r.appending, r.create} {
			if err := e.open(ctx, r.progress, r.effort); err != nil {
				return err
			}
		}
	}
	return r.print(out, all)
}

// beginSeveral runs the several nodes, and looks first at what they do unasked.
func (r *ratios) beginSeveral(ctx context.Context) (_ func() error, err error) {
	s, err := r.nodesOf(ctx, r.nodes, 0, r.cluster.module)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	cfg, err := s.prepare(ctx, 1)
	if err != nil {
		return nil, err
	}
	before, err := cpuTime(s.pids)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	select {
	case <-time.After(2 * r.effort.duration):
	case <-ctx.Done():
		return nil, fmt.Errorf("measuring nodes that nobody asks: %w", ctx.Err())
	}
	after, err := cpuTime(s.pids)
	if err != nil {
		return nil, err
	}
	r.idle = time.Duration(float64(after-before) / time.Since(begun).Seconds())
	name := fmt.Sprintf("create-datakey, %d nodes", r.nodes)
	if r.several, err = newEntrant(fmt.Sprintf("%s, %d connections", name, r.nodes*r.effort.workers), s.pids, cfg, r.nodes*r.effort.workers); err != nil {
		return nil, err
	}
	if r.severalAll, err = newEntrant(name, s.pids, cfg, r.effort.workers); err != nil {
		return nil, err
	}
	return s.stop, nil
}

// beginOne runs the one node.
func (r *ratios) beginOne(ctx context.Context) (_ func() error, err error) {
	s, err := r.nodesOf(ctx, 1, r.nodes, r.cluster.module)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	own := keyMaker{client: s.huawei.Client(), name: benchKey}
	key, err := own.make(ctx, 1)
	if err != nil {
		return nil, err
	}
	detail, err := s.huawei.Client().DescribeKey(ctx, key[0])
	if err != nil {
		return nil, err
	}
	r.level = detail.Level
	for _, e := range []struct {
		to   **entrant
		name string
		work target.Work
	}{
		{&r.create, "create-datakey, one node", target.Work{Operation: target.CreateDataKey, Keys: key}},
		{&r.decrypt, "decrypt-datakey, one node", target.Work{Operation: target.DecryptDataKey, Keys: key}},
		{&r.many, fmt.Sprintf("create-datakeys of %d, one node", manyKeys), target.Work{Operation: target.CreateDataKeys, Keys: key, Batch: manyKeys}},
	} {
		cfg, err := s.huawei.Prepare(ctx, e.work)
		if err != nil {
			return nil, err
		}
		if *e.to, err = newEntrant(e.name, s.pids, cfg, r.effort.workers); err != nil {
			return nil, err
		}
	}
	if err := r.create.poster.Call(ctx, 0); err != nil {
		return nil, err
	}
	r.answer = len(r.create.poster.Response(0))
	if r.trace, err = traceBytes(s.file.Nodes[0].DataDir); err != nil {
		return nil, err
	}
	return s.stop, nil
}

// beginKeys runs a node whose keys are of the level SOFTWARE, in its own process,
// and makes them.
func (r *ratios) beginKeys(ctx context.Context) (_ func() error, err error) {
	s, err := r.nodesOf(ctx, 1, r.nodes+1, "soft")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	software := keyMaker{client: s.huawei.Client(), name: benchKey, level: "SOFTWARE"}
	fmt.Fprintf(r.progress, "making %d keys\r", r.keys)
	keys, err := software.make(ctx, r.keys)
	if err != nil {
		return nil, err
	}
	// One key twice, so that the generator signs each call anew with both, and
	// has the same work.
	for to, keys := range map[**entrant][]string{&r.soft: {keys[0], keys[0]}, &r.manyKeys: keys} {
		cfg, err := s.huawei.Prepare(ctx, target.Work{Operation: target.CreateDataKey, Keys: keys})
		if err != nil {
			return nil, err
		}
		name := "create-datakey, SOFTWARE, one key"
		if to == &r.manyKeys {
			name = fmt.Sprintf("create-datakey, SOFTWARE, %d keys", len(keys))
		}
		if *to, err = newEntrant(name, s.pids, cfg, r.effort.workers); err != nil {
			return nil, err
		}
	}
	return s.stop, nil
}

// beginFixed runs the server that does nothing.
func (r *ratios) beginFixed(ctx context.Context) (func() error, error) {
	return r.beginReference(ctx, &r.fixed, "fixed response", 0)
}

// beginAppending runs the one that puts as much on disk as a trace has.
func (r *ratios) beginAppending(ctx context.Context) (func() error, error) {
	return r.beginReference(ctx, &r.appending, "fixed response, appending", r.trace)
}

func (r *ratios) beginReference(ctx context.Context, to **entrant, name string, record int) (func() error, error) {
	server, err := startFixed(ctx, r.answer, record)
	if err != nil {
		return nil, err
	}
	path, body, err := load.DataKeyRequest(nobody, "00000000-0000-0000-0000-000000000000")
	if err == nil {
		*to, err = newEntrant(name, []int{server.cmd.Process.Pid}, load.PosterConfig{
			URLs: []string{server.url}, CA: server.ca, Path: path, Body: body, AccessKey: "fixed", SecretKey: "fixed",
		}, r.effort.workers)
	}
	if err != nil {
		return nil, errors.Join(err, server.stop())
	}
	return server.stop, nil
}

// traceBytes is the length of the last line in the newest segment of a node's traces.
func traceBytes(dataDir string) (int, error) {
	segments, err := filepath.Glob(filepath.Join(dataDir, "audit", "traces-*.jsonl"))
	if err != nil || len(segments) == 0 {
		return 0, fmt.Errorf("looking for the traces of a node in %s: %w", dataDir, errors.Join(err, os.ErrNotExist))
	}
	text, err := os.ReadFile(segments[len(segments)-1]) // names sort by age
	if err != nil {
		return 0, fmt.Errorf("reading the traces of a node: %w", err)
	}
	text = bytes.TrimRight(text, "\n") // a segment is filled ahead with empty lines
	last := len(text) - bytes.LastIndexByte(text, '\n')
	if len(text) == 0 {
		return 0, fmt.Errorf("reading the traces of a node: %s has none", segments[len(segments)-1])
	}
	return last, nil
}

func (r *ratios) print(out io.Writer, all []*entrant) error {
	fmt.Fprintf(out, "keys of the level %s unless said otherwise, %d connections unless said otherwise, %d rounds of %s each, answers of %d bytes, traces of %d, all on this machine; medians\n\n",
		r.level, r.effort.workers, r.rounds, r.effort.duration, r.answer, r.trace)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\trequests/s\tserver CPU/request\tp99 at 70 % of that rate\t")
	for _, e := range all {
		tail := ""
		if len(e.tails) > 0 {
			if tail = fmt.Sprintf("%.2f ms", survival.Median(e.tails)); !e.kept {
				tail += " (rate not kept)"
			}
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.1f µs\t%s\t\n", e.name, e.peak(), survival.Median(e.costs), tail)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	table = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ratio\tmeasured\tlow to high\twanted")
	line := func(what string, s spread, wanted string) {
		fmt.Fprintf(table, "%s\t%.2f\t%.2f to %.2f\t%s\n", what, s.median, s.low, s.high, wanted)
	}
	line("CPU, create-datakey / fixed response", over(r.create.costs, r.fixed.costs), "at most 2.2")
	line("CPU, decrypt-datakey / fixed response", over(r.decrypt.costs, r.fixed.costs), "at most 2.2")
	line("CPU, decrypt-datakey / create-datakey", over(r.decrypt.costs, r.create.costs), "0.9 to 1.1")
	line("CPU, create-datakey / fixed response, appending", over(r.create.costs, r.appending.costs), "")
	line("p99 at 70 %, create-datakey / fixed response, appending", over(r.create.tails, r.appending.tails), "at most 4")
	line(fmt.Sprintf("CPU, %d nodes / one, as many connections for each", r.nodes), over(r.several.costs, r.create.costs), "at most 1.05")
	line(fmt.Sprintf("CPU, %d nodes / one, as many connections in all", r.nodes), over(r.severalAll.costs, r.create.costs), "at most 1.05")
	line(fmt.Sprintf("CPU, %d keys / one, SOFTWARE", r.keys), over(r.manyKeys.costs, r.soft.costs), "at most 1.5")
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\na data key of create-datakeys of %d: %.2f µs of server CPU (at most 2)\n%d nodes that nobody asks: %.2f %% of one core together\n",
		manyKeys, survival.Median(r.many.costs)/manyKeys, r.nodes, 100*r.idle.Seconds())
	return err
}
