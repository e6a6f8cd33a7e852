package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
)

func newCompare() *cobra.Command {
	var e effort
	var o clusterOptions
	var dev string
	var rounds int
	cmd := &cobra.Command{
		Use:   "compare [A.json B.json]",
		Short: "Compare two files of kmsbench run, or without files create-datakey with a web server that does nothing",
		Long: "With two files that kmsbench run wrote: show throughput, server CPU per request and latencies of the second over those of the\n" +
			"first, and whether the difference is more than that between rounds.\n\n" +
			"Without files: compare create-datakey with a fixed-response fasthttp TLS server, in turns, with the same load: throughput, and\n" +
			"CPU time of the server processes per request. Without --dev a cluster is run for the purpose with kmsd dev.",
		Args: func(_ *cobra.Command, files []string) error {
			if len(files) != 0 && len(files) != 2 {
				return fmt.Errorf("compare takes two files, or none: not %d", len(files))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) (err error) {
			if len(files) == 2 {
				return compareFiles(cmd.OutOrStdout(), files[0], files[1])
			}
			if rounds < 1 {
				return fmt.Errorf("--rounds %d must be at least 1", rounds)
			}
			if dev == "" {
				cluster, err := startCluster(cmd.Context(), o)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, cluster.stop()) }()
				dev = cluster.path
			}
			c := comparison{dev: dev, effort: e, rounds: rounds, progress: terminal()}
			if err := c.run(cmd.Context()); err != nil {
				return err
			}
			return c.print(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&dev, "dev", "", "dev.json of a running cluster.")
	cmd.Flags().StringVar(&o.kmsd, "kmsd", "", "The kmsd program; the one beside kmsbench when absent.")
	cmd.Flags().IntVar(&o.nodes, "nodes", 3, "Nodes of the cluster.")
	cmd.Flags().StringVar(&o.module, "module", "soft", "Module of the cluster: soft or pkcs11.")
	cmd.Flags().IntVar(&o.port, "port", 9440, "First port of the cluster.")
	cmd.Flags().IntVar(&rounds, "rounds", 3, "How often the two are measured in turn.")
	e.addFlags(cmd.Flags(), 5*time.Second)
	return cmd
}

// comparison measures the two services in turn.
type comparison struct {
	dev      string
	effort   effort
	rounds   int
	progress io.Writer

	file       *devfile.File
	kms, fixed subject
	many       subject // create-datakeys
	answer     int     // bytes of an answer
}

// subject is one service and what was measured of it.
type subject struct {
	name   string
	pids   []int
	poster *load.Poster

	calls   uint64
	elapsed time.Duration
	cpu     time.Duration
	reports []*load.Report
}

func (c *comparison) run(ctx context.Context) (err error) {
	if c.file, err = devfile.Read(c.dev); err != nil {
		return err
	}
	key, err := ensureKey(ctx, c.dev)
	if err != nil {
		return err
	}
	ca, err := client.ReadCA(c.file.CAFile)
	if err != nil {
		return err
	}
	path, body, err := load.DataKeyRequest(c.file.ProjectID, key)
	if err != nil {
		return err
	}
	if c.kms, err = c.newSubject("raftkms create-datakey", path, body, c.file.URLs(), ca); err != nil {
		return err
	}
	defer c.kms.poster.Close()
	manyPath, manyBody, err := load.DataKeysRequest(c.file.ProjectID, key, manyKeys)
	if err != nil {
		return err
	}
	if c.many, err = c.newSubject("raftkms create-datakeys", manyPath, manyBody, c.file.URLs(), ca); err != nil {
		return err
	}
	defer c.many.poster.Close()
	for _, node := range c.file.Nodes {
		c.kms.pids = append(c.kms.pids, node.PID)
	}
	c.many.pids = c.kms.pids
	if err := c.kms.poster.Call(ctx, 0); err != nil {
		return err
	}
	c.answer = len(c.kms.poster.Response(0))
	server, err := startFixed(ctx, c.answer, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	if c.fixed, err = c.newSubject("fixed response", path, body, []string{server.url}, server.ca); err != nil {
		return err
	}
	defer c.fixed.poster.Close()
	c.fixed.pids = []int{server.cmd.Process.Pid}
	for range c.rounds {
		for _, s := range []*subject{&c.kms, &c.fixed, &c.many} {
			if err := c.round(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// manyKeys is how many data keys a create-datakeys of the comparison makes.
const manyKeys = 1000

// newSubject prepares a request for a service, to be sent over and over.
func (c *comparison) newSubject(name, path string, body []byte, urls []string, ca *x509.CertPool) (subject, error) {
	poster, err := load.NewPoster(load.PosterConfig{
		URLs: urls, CA: ca, Path: path, Body: body,
		AccessKey: c.file.AccessKey, SecretKey: c.file.SecretKey, Workers: c.effort.workers,
	})
	return subject{name: name, poster: poster}, err
}

// round measures a service once. The warm-up comes first and is not counted.
func (c *comparison) round(ctx context.Context, s *subject) error {
	if c.effort.warmup > 0 {
		warm := effort{workers: c.effort.workers, duration: c.effort.warmup}
		if _, err := measure(ctx, c.progress, s.name, warm, s.poster); err != nil {
			return err
		}
	}
	before, err := cpuTime(s.pids)
	if err != nil {
		return err
	}
	report, err := measure(ctx, c.progress, s.name, effort{workers: c.effort.workers, duration: c.effort.duration}, s.poster)
	if err != nil {
		return err
	}
	after, err := cpuTime(s.pids)
	if err != nil {
		return err
	}
	s.calls += report.Calls
	s.elapsed += report.Elapsed
	s.cpu += after - before
	s.reports = append(s.reports, report)
	return nil
}

func (s *subject) rate() float64 { return float64(s.calls) / s.elapsed.Seconds() }

// perRequest is CPU time of the servers per request, in microseconds.
func (s *subject) perRequest() float64 {
	return float64(s.cpu) / float64(time.Microsecond) / float64(s.calls)
}

// latency is the worst of the rounds at a percentile, in milliseconds.
func (s *subject) latency(percentile float64) float64 {
	var worst time.Duration
	for _, report := range s.reports {
		worst = max(worst, report.Latency(percentile))
	}
	return milliseconds(worst)
}

func (c *comparison) print(out io.Writer) error {
	fmt.Fprintf(out, "%d nodes, %d connections, %d rounds of %s each, answers of %d bytes, all on this machine\n\n",
		len(c.file.Nodes), c.effort.workers, c.rounds, c.effort.duration, c.answer)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\trequests/s\tserver CPU/request\tp50\tp99\t")
	for _, s := range []*subject{&c.kms, &c.fixed} {
		fmt.Fprintf(table, "%s\t%.0f\t%.1f µs\t%.2f ms\t%.2f ms\t\n", s.name, s.rate(), s.perRequest(), s.latency(50), s.latency(99))
	}
	fmt.Fprintf(table, "ratio\t%.3f\t%.1f\t\t\t\n", c.kms.rate()/c.fixed.rate(), c.kms.perRequest()/c.fixed.perRequest())
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\ncreate-datakeys of %d: %.0f data keys/s, %.2f µs of server CPU each\n", manyKeys, c.many.rate()*manyKeys, c.many.perRequest()/manyKeys)
	return err
}
