package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
)

// effort is how hard and how long is measured.
type effort struct {
	workers          int
	warmup, duration time.Duration
	rate             float64 // calls per second of an open loop; 0: of a closed one
}

func (e *effort) addFlags(set *pflag.FlagSet, duration time.Duration) {
	set.IntVar(&e.workers, "workers", 64, "Connections, each with one call at a time.")
	set.DurationVar(&e.warmup, "warmup", time.Second, "Calls before the measured time.")
	set.DurationVar(&e.duration, "duration", duration, "The measured time.")
}

func newDataKey() *cobra.Command {
	var e effort
	var dev, key string
	cmd := &cobra.Command{
		Use:   "datakey",
		Short: "Drive create-datakey on all nodes of a dev cluster",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := devfile.Read(dev)
			if err != nil {
				return err
			}
			if key == "" {
				if key, err = ensureKey(cmd.Context(), dev); err != nil {
					return err
				}
			}
			poster, err := load.NewDataKeyPoster(file, key, e.workers)
			if err != nil {
				return err
			}
			defer poster.Close()
			out := cmd.OutOrStdout()
			report, err := measure(cmd.Context(), terminal(), "create-datakey", e, poster)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%d data keys in %.1f s over %d connections to %d nodes: %.0f/s\n",
				report.Calls, report.Elapsed.Seconds(), e.workers, len(file.Nodes), report.Rate())
			for _, p := range []float64{50, 90, 99, 99.9, 100} {
				fmt.Fprintf(out, "  p%-5v %8.2f ms\n", p, milliseconds(report.Latency(p)))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dev, "dev", "dev.json", "dev.json of the cluster.")
	cmd.Flags().StringVar(&key, "key", "", "Id of the CMK to use; the one named bench when absent.")
	e.addFlags(cmd.Flags(), 10*time.Second)
	return cmd
}

// benchKey is the name of the CMK that is measured with.
const benchKey = "bench"

// ensureKey finds or makes the CMK to measure with.
func ensureKey(ctx context.Context, dev string) (string, error) {
	c, err := client.NewFromDevFile(dev)
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.EnsureKey(ctx, benchKey)
}

// terminal is where progress is drawn: standard error, if a person looks at it.
func terminal() io.Writer {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return os.Stderr
	}
	return io.Discard
}

// underLoad runs the load with a progress line. Calls may fail.
func underLoad(ctx context.Context, progress io.Writer, what string, e effort, call load.Call) (*load.Report, error) {
	report, err := load.Run(ctx, load.Config{
		Workers: e.workers, Warmup: e.warmup, Duration: e.duration, Rate: e.rate,
		Progress: func(p load.Progress) {
			fmt.Fprintf(progress, "\r%-28s %3.0f/%.0f s %9.0f/s ", what, p.Elapsed.Seconds(), p.Of.Seconds(), p.Rate)
		},
	}, call)
	fmt.Fprintf(progress, "\r%60s\r", "")
	switch {
	case err != nil:
		return nil, err
	case ctx.Err() != nil:
		return nil, fmt.Errorf("measuring %s: %w", what, ctx.Err())
	}
	return report, nil
}

// measure is underLoad that takes no errors: a rate of refusals means nothing.
func measure(ctx context.Context, progress io.Writer, what string, e effort, poster *load.Poster) (*load.Report, error) {
	report, err := underLoad(ctx, progress, what, e, poster.Call)
	if err == nil && report.Errors > 0 {
		return nil, fmt.Errorf("measuring %s: %d of %d calls failed, the first one so: %w", what, report.Errors, report.Errors+report.Calls, report.FirstError)
	}
	return report, err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
