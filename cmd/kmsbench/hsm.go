package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/survival"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

const (
	// turnKeys is how many keys are used in turn: all that a project may have
	// beside the other two.
	turnKeys = 98
	// slowDevice is the latency that is added to every call of the device.
	slowDevice = time.Millisecond
	// manyWorkers is the number of connections for the slow device.
	manyWorkers = 256
)

func newHSM() *cobra.Command {
	var e effort
	var o clusterOptions
	var rounds int
	cmd := &cobra.Command{
		Use:   "hsm",
		Short: "Measure keys behind a device: against SOFTWARE level, calls per data key, and with a slow device",
		Long: "Measure create-datakey with keys of the level HSM on SoftHSM2: in turns with keys of the level SOFTWARE; how many data keys\n" +
			"one call of the device serves; and what a millisecond of latency in every call of the device costs, with one key and with many.\n" +
			"A node is run for the purpose, with a forwarding PKCS#11 library in front of SoftHSM2 that adds the latency.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rounds < 1 {
				return fmt.Errorf("--rounds %d must be at least 1", rounds)
			}
			return benchHSM(cmd.Context(), cmd.OutOrStdout(), e, o, rounds)
		},
	}
	cmd.Flags().StringVar(&o.kmsd, "kmsd", "", "The kmsd program; the one beside kmsbench when absent.")
	cmd.Flags().IntVar(&o.port, "port", 9540, "First port of the node.")
	cmd.Flags().IntVar(&rounds, "rounds", 5, "How often each is measured in turn; medians are shown.")
	e.addFlags(cmd.Flags(), 3*time.Second)
	return cmd
}

// hsmBench is a node over a device whose latency can be changed.
type hsmBench struct {
	file     *devfile.File
	pids     []int // of the node
	ca       *x509.CertPool
	device   *faultylib.Device
	metrics  *scraper
	progress io.Writer
	effort   effort
}

func benchHSM(ctx context.Context, out io.Writer, e effort, o clusterOptions, rounds int) (err error) {
	dir, err := os.MkdirTemp("", "kmsbench-hsm")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	target, err := pkcs11.FindSoftHSM()
	if err != nil {
		return err
	}
	device, err := faultylib.New(dir, target)
	if err != nil {
		return err
	}
	defer device.Close()
	o.nodes, o.module, o.library = 1, "pkcs11", device.Path
	cluster, err := startCluster(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		device.Heal()
		err = errors.Join(err, cluster.stop())
	}()
	b := &hsmBench{device: device, progress: terminal(), effort: e}
	if b.file, err = devfile.Read(cluster.path); err != nil {
		return err
	}
	for _, node := range b.file.Nodes {
		b.pids = append(b.pids, node.PID)
	}
	if b.ca, err = client.ReadCA(b.file.CAFile); err != nil {
		return err
	}
	b.metrics = newScraper(b.file.URLs(), b.ca)
	defer b.metrics.close()
	hardware, software, others, err := b.makeKeys(ctx, cluster.path)
	if err != nil {
		return err
	}
	return b.run(ctx, out, rounds, hardware, software, others)
}

// makeKeys makes a key of each level, and those that are used in turn.
func (b *hsmBench) makeKeys(ctx context.Context, dev string) (hardware, software string, others []string, err error) {
	c, err := client.NewFromDevFile(dev)
	if err != nil {
		return "", "", nil, err
	}
	defer c.Close()
	if hardware, err = c.CreateKey(ctx, client.NewKey{Name: "bench/hsm", Level: "HSM"}); err != nil {
		return "", "", nil, err
	}
	if software, err = c.CreateKey(ctx, client.NewKey{Name: "bench/software", Level: "SOFTWARE"}); err != nil {
		return "", "", nil, err
	}
	for i := range turnKeys {
		id, err := c.CreateKey(ctx, client.NewKey{Name: fmt.Sprintf("bench/turn-%d", i), Level: "HSM"})
		if err != nil {
			return "", "", nil, err
		}
		others = append(others, id)
	}
	return hardware, software, others, nil
}

// measured is one service of the node, measured some times.
type measured struct {
	name    string
	keys    []string
	workers int
	delay   time.Duration

	rates         []float64
	costs         []float64 // µs of the node's CPU time for a data key
	calls, served float64   // of the device, and the derivations in them
	keysMade      uint64
}

func (b *hsmBench) run(ctx context.Context, out io.Writer, rounds int, hardware, software string, others []string) error {
	few := b.effort.workers
	level := []*measured{
		{name: "HSM level", keys: []string{hardware}, workers: few},
		{name: "SOFTWARE level", keys: []string{software}, workers: few},
	}
	slow := []*measured{
		{name: "HSM level", keys: []string{hardware}, workers: manyWorkers},
		{name: "HSM level, 1 ms", keys: []string{hardware}, workers: manyWorkers, delay: slowDevice},
	}
	turn := []*measured{
		{name: fmt.Sprintf("%d keys in turn", len(others)), keys: others, workers: manyWorkers},
		{name: fmt.Sprintf("%d keys in turn, 1 ms", len(others)), keys: others, workers: manyWorkers, delay: slowDevice},
	}
	for _, group := range [][]*measured{level, slow, turn} {
		for range rounds {
			for _, m := range group {
				if err := b.round(ctx, m); err != nil {
					return err
				}
			}
		}
		for _, m := range group {
			fmt.Fprintf(out, "%-26s %4d connections %9.0f data keys/s %6.1f µs of CPU each", m.name, m.workers, survival.Median(m.rates), survival.Median(m.costs))
			if m.calls > 0 {
				fmt.Fprintf(out, "   %6.3f calls of the device each (%.1f in one)", m.calls/float64(m.keysMade), m.served/m.calls)
			}
			fmt.Fprintln(out)
		}
	}
	fmt.Fprintln(out)
	compared(out, fmt.Sprintf("HSM level / SOFTWARE level, %d connections", few), level[0], level[1])
	compared(out, fmt.Sprintf("1 ms in every call of the device / none, one key, %d connections", manyWorkers), slow[1], slow[0])
	compared(out, fmt.Sprintf("1 ms in every call of the device / none, %d keys in turn, %d connections", len(others), manyWorkers), turn[1], turn[0])
	calls, err := driveOneSession(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "calls of the device per data key, %d callers, 1 ms, one session, no HTTP: %.4f (1/%.0f)\n", manyWorkers, calls, 1/calls)
	return nil
}

// compared prints what is left of the throughput, round by round. On a machine
// that does other work as well the CPU time says more.
func compared(out io.Writer, name string, a, b *measured) {
	rates, costs := over(a.rates, b.rates), over(a.costs, b.costs)
	fmt.Fprintf(out, "%s: %.3f (%.3f to %.3f) of the throughput, %.3f (%.3f to %.3f) times the CPU time\n",
		name, rates.median, rates.low, rates.high, costs.median, costs.low, costs.high)
}

func (b *hsmBench) round(ctx context.Context, m *measured) error {
	var bodies [][]byte
	var path string
	for _, key := range m.keys {
		p, body, err := load.DataKeyRequest(b.file.ProjectID, key)
		if err != nil {
			return err
		}
		path, bodies = p, append(bodies, body)
	}
	poster, err := load.NewPoster(load.PosterConfig{
		URLs: b.file.URLs(), CA: b.ca, Path: path, Bodies: bodies,
		AccessKey: b.file.AccessKey, SecretKey: b.file.SecretKey, Workers: m.workers,
	})
	if err != nil {
		return err
	}
	defer poster.Close()
	if _, err := measure(ctx, b.progress, m.name, effort{workers: m.workers, duration: b.effort.warmup}, poster); err != nil {
		return err
	}
	b.device.Delay(m.delay)
	defer b.device.Delay(0)
	callsBefore, servedBefore, err := b.scrape(ctx)
	if err != nil {
		return err
	}
	before, err := cpuTime(b.pids)
	if err != nil {
		return err
	}
	report, err := measure(ctx, b.progress, m.name, effort{workers: m.workers, duration: b.effort.duration}, poster)
	if err != nil {
		return err
	}
	after, err := cpuTime(b.pids)
	if err != nil {
		return err
	}
	calls, served, err := b.scrape(ctx)
	if err != nil {
		return err
	}
	m.rates = append(m.rates, report.Rate())
	m.costs = append(m.costs, float64(after-before)/float64(time.Microsecond)/float64(report.Calls))
	m.calls += calls - callsBefore
	m.served += served - servedBefore
	m.keysMade += report.Calls
	return nil
}

// scrape reads how many calls went to the device, and how many derivations with them.
func (b *hsmBench) scrape(ctx context.Context) (calls, served float64, err error) {
	const callsName, servedName = "kmsd_hsm_calls_total", "kmsd_hsm_derivations_total"
	found, err := b.metrics.read(ctx, callsName, servedName)
	return found[callsName], found[servedName], err
}
