package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/bench/result"
)

func newRun() *cobra.Command {
	b := &bench{}
	var out string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Put a load on a service and write what was measured to a file",
		Long: `Put a load on a service, at every combination of --nodes, --keys, --device-latency and --connections, some rounds each in turn, and
write what was measured to a file for kmsbench report and kmsbench compare.

The service is --target:
  raftkms   a cluster that is run for the purpose, with kmsd dev (--module, --level, --nodes, --keys)
  fixed     a web server with the same TLS that answers every request with the same bytes: what the others are measured against
  huawei    a service of the Huawei style at --url: raftkms or the vendor's (--project; --key, or a key named bench is made)
  aws       a service of the AWS style at --url: GenerateDataKey (--region, --key)
  transit   Vault or OpenBao at --url: transit/datakey (--mount, --key, a token)
  kes       MinIO KES at --url: key/generate (--key, --certificate-file, --certificate-key-file)

Who calls is read from the environment (KMSBENCH_ACCESS_KEY, KMSBENCH_SECRET_KEY, KMSBENCH_SESSION_TOKEN, KMSBENCH_TOKEN) or from a file
(--credentials-file: JSON with access_key, secret_key, session_token or token; a dev.json will do), never from the command line.

The exit status is not 0 when the service cannot be used, all calls of a point fail, or the rate of an open loop was not reached. Single
errors are counted by their kind.`,
		Example: `  kmsbench run --connections 1,8,64 --out soft.json
  kmsbench run --nodes 1,3 --out nodes.json
  kmsbench run --module pkcs11 --device-latency 0,1ms,5ms --connections 256 --out latency.json
  kmsbench run --level SOFTWARE --keys 1,100000 --out keys.json
  kmsbench run --target transit --url https://vault.example.com:8200 --key bench --ca-file ca.pem --out transit.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return b.command(cmd.Context(), cmd.OutOrStdout(), out)
		},
	}
	set := cmd.Flags()
	b.plan.addFlags(set)
	set.StringVar(&b.kind, "target", kindRaftKMS, "The service: raftkms, fixed, huawei, aws, transit or kes.")
	set.StringVar(&b.cluster.kmsd, "kmsd", "", "The kmsd program of a cluster that is run; the one beside kmsbench when absent.")
	set.StringVar(&b.cluster.module, "module", "soft", "Module of a cluster that is run: soft or pkcs11 (SoftHSM2).")
	set.StringVar(&b.level, "level", "", "Protection level of the keys that are made: HSM or SOFTWARE; what the module is for when absent.")
	set.IntVar(&b.cluster.port, "port", 9640, "First port of a cluster that is run.")
	set.StringSliceVar(&b.outside.urls, "url", nil, "Addresses of the service's nodes: https://HOST[:PORT].")
	set.StringVar(&b.outside.caFile, "ca-file", "", "PEM file of the CA of the service's certificate; the system's when absent.")
	set.StringVar(&b.outside.certificateFile, "certificate-file", "", "PEM file of a client certificate.")
	set.StringVar(&b.outside.keyFile, "certificate-key-file", "", "PEM file of its private key.")
	set.StringVar(&b.outside.credentialsFile, "credentials-file", "", "JSON file of the credentials, readable by its owner alone.")
	set.StringVar(&b.outside.project, "project", "", "Project id, of huawei.")
	set.StringVar(&b.outside.region, "region", "us-east-1", "Region, of aws.")
	set.StringVar(&b.outside.mount, "mount", "transit", "Where the secrets engine is mounted, of transit.")
	set.StringSliceVar(&b.outside.keys, "key", nil, "Ids or names of the keys to use in turn.")
	set.IntSliceVar(&b.outside.pids, "pid", nil, "Processes of the service, if they run on this machine: their CPU time is measured.")
	set.StringVar(&out, "out", "", "The file to write.")
	return cmd
}

// bench is one run.
type bench struct {
	plan    plan
	kind    string
	level   string
	cluster clusterOptions
	outside outside

	bar       bar
	result    result.Result
	unreached error // why an open loop did not keep its rate
}

func (b *bench) command(ctx context.Context, out io.Writer, file string) error {
	if err := b.check(); err != nil {
		return err
	}
	// Before anything is measured: a run that cannot be kept is lost.
	var to *os.File
	if file != "" {
		var err error
		if to, err = os.Create(file); err != nil {
			return fmt.Errorf("writing the result: %w", err)
		}
		defer to.Close()
	}
	if err := b.measure(ctx); err != nil {
		if to != nil {
			return errors.Join(err, os.Remove(file)) // nothing was written to it
		}
		return err
	}
	if to != nil {
		if err := errors.Join(b.result.Write(to), to.Close()); err != nil {
			return err
		}
	}
	if err := b.print(out); err != nil {
		return err
	}
	if b.unreached != nil {
		return fmt.Errorf("--rate %v was not reached: %w", b.plan.rate, b.unreached)
	}
	return nil
}

// check refuses flags that do not go together.
func (b *bench) check() error {
	if err := b.plan.check(); err != nil {
		return err
	}
	own := b.kind == kindRaftKMS
	slowest := b.plan.latencies[len(b.plan.latencies)-1]
	switch {
	case (own || b.kind == kindFixed) && len(b.outside.urls) > 0:
		return fmt.Errorf("--target %s is run by kmsbench itself: for a service at --url, say which one it is (--target huawei, aws, transit or kes)", b.kind)
	case own && b.cluster.module != "soft" && b.cluster.module != "pkcs11":
		return fmt.Errorf("--module %q must be soft or pkcs11", b.cluster.module)
	case slowest > 0 && (!own || b.cluster.module != "pkcs11"):
		return errors.New("--device-latency takes a cluster that is run with --module pkcs11")
	case !own && (len(b.plan.nodes) > 1 || len(b.plan.keys) > 1 || b.plan.nodes[0] > 1 || b.plan.keys[0] > 1):
		return errors.New("--nodes and --keys are of a cluster that is run: the nodes of another service are its --url, the keys its --key")
	}
	return nil
}

// measure fills the result.
func (b *bench) measure(ctx context.Context) error {
	b.result = result.Result{
		Tool: "kmsbench " + version, Started: time.Now().UTC().Truncate(time.Second), Machine: result.ThisMachine(),
		Target: result.Target{Kind: b.kind, Local: b.kind == kindRaftKMS || b.kind == kindFixed || len(b.outside.pids) > 0},
		Settings: result.Settings{
			Operation: b.plan.operation, Payload: b.plan.payload,
			Warmup: b.plan.warmup, Duration: b.plan.round, Rounds: b.plan.rounds,
		},
	}
	if b.plan.operation == "create-datakeys" {
		b.result.Settings.Batch = b.plan.batch
	}
	if b.kind == kindRaftKMS {
		b.result.Target.Module = b.cluster.module
	}
	b.bar = bar{out: terminal(), rounds: b.plan.points() * b.plan.rounds}
	for _, nodes := range b.plan.nodes {
		if err := b.measureOn(ctx, nodes); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) open(ctx context.Context, nodes int) (*stand, error) {
	switch b.kind {
	case kindRaftKMS:
		o := b.cluster
		o.nodes = nodes
		return openCluster(ctx, o, b.level, &b.plan)
	case kindFixed:
		return openFixed(ctx, &b.plan)
	}
	return b.outside.open(ctx, b.kind, &b.plan)
}

// measureOn measures all that is measured with a number of nodes.
func (b *bench) measureOn(ctx context.Context, nodes int) (err error) {
	s, err := b.open(ctx, nodes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, keys := range b.plan.keys {
		cfg, err := s.prepare(ctx, keys)
		if err != nil {
			return err
		}
		if len(b.outside.keys) > 0 {
			keys = len(b.outside.keys)
		}
		b.result.Target.Level = s.level
		for _, latency := range b.plan.latencies {
			if s.delay != nil {
				s.delay(latency)
			}
			points := make([]result.Point, len(b.plan.connections))
			for i, connections := range b.plan.connections {
				points[i] = result.Point{Connections: connections, Nodes: s.nodes, Keys: keys, DeviceLatency: latency, Rate: b.plan.rate}
			}
			for range b.plan.rounds {
				for i := range points {
					if err := b.measureRound(ctx, s, cfg, &points[i]); err != nil {
						return err
					}
				}
			}
			if s.delay != nil {
				s.delay(0)
			}
			b.result.Series = append(b.result.Series, points...)
		}
	}
	return nil
}

// print shows the medians.
func (b *bench) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\trequests/s\tserver CPU/request\tp50\tp99\tp99.9\terrors\t")
	var warnings []string
	for i := range b.result.Series {
		p := &b.result.Series[i]
		cpu := "-"
		if c, ok := p.CPUPerRequest(); ok {
			cpu = fmt.Sprintf("%.1f µs", c.Median*1e6)
		}
		failed, kinds := p.Errors()
		fmt.Fprintf(table, "%s\t%.0f\t%s\t%.2f ms\t%.2f ms\t%.2f ms\t%d\t\n", p.Name(), p.Throughput().Median, cpu,
			1e3*p.Latency(50).Median, 1e3*p.Latency(99).Median, 1e3*p.Latency(99.9).Median, failed)
		for _, reason := range p.Bottlenecks() {
			warnings = append(warnings, fmt.Sprintf("%s: the generator or its machine was the bottleneck: %s", p.Name(), reason))
			break // one reason a point is enough here; the file has those of all rounds
		}
		for kind, n := range kinds {
			warnings = append(warnings, fmt.Sprintf("%s: %d errors: %s", p.Name(), n, kind))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(warnings) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "\n%s\n", strings.Join(warnings, "\n"))
	return err
}
