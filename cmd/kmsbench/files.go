package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/raftkms/raftkms/bench/result"
)

// compareFiles shows what two files of kmsbench run have in common, as the
// second over the first.
func compareFiles(out io.Writer, first, second string) error {
	a, err := result.ReadFile(first)
	if err != nil {
		return err
	}
	b, err := result.ReadFile(second)
	if err != nil {
		return err
	}
	compared, onlyA, onlyB := result.Compare(a, b)
	if len(compared) == 0 {
		return errors.New("the two files have no point in common: the same connections, rate and latency of the device")
	}
	fmt.Fprintf(out, "A is %s: %s on %s %s %s\nB is %s: %s on %s %s %s\n", first, a.Settings.Operation, a.Target.Kind, a.Target.Module, a.Target.Level,
		second, b.Settings.Operation, b.Target.Kind, b.Target.Module, b.Target.Level)
	for _, note := range differences(a, b) {
		fmt.Fprintf(out, "NOTE: %s\n", note)
	}
	for _, c := range compared {
		if err := printComparison(out, c); err != nil {
			return err
		}
	}
	for _, p := range onlyA {
		fmt.Fprintf(out, "\nonly in A: %s", p.Name())
	}
	for _, p := range onlyB {
		fmt.Fprintf(out, "\nonly in B: %s", p.Name())
	}
	_, err = fmt.Fprintln(out)
	return err
}

// differences are what keeps two files from being of the same measurement.
func differences(a, b *result.Result) (notes []string) {
	if a.Machine != b.Machine {
		notes = append(notes, fmt.Sprintf("the machines differ: %d cores, %s, and %d cores, %s: the ratios are those of the machines, too", a.Machine.Cores, a.Machine.CPU, b.Machine.Cores, b.Machine.CPU))
	}
	if a.Settings.Operation != b.Settings.Operation || a.Settings.Payload != b.Settings.Payload || a.Settings.Batch != b.Settings.Batch {
		notes = append(notes, "the operations or their sizes differ")
	}
	return notes
}

func printComparison(out io.Writer, c result.Comparison) error {
	name := c.A.Name()
	if !c.A.Same(c.B) {
		name += " and " + c.B.Name()
	}
	fmt.Fprintf(out, "\n%s\n", name)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tA\tB\tB/A\trounds allow\tdifference\t")
	row := func(name, format string, scale float64, r result.Ratio) {
		if r.Verdict == result.Missing {
			fmt.Fprintf(table, "%s\t-\t-\t-\t-\t%s\t\n", name, r.Verdict)
			return
		}
		fmt.Fprintf(table, "%s\t"+format+"\t"+format+"\t%.3f\t%.3f to %.3f\t%s\t\n", name, scale*r.A.Median, scale*r.B.Median, r.Median, r.Low, r.High, r.Verdict)
	}
	row("requests/s", "%.0f", 1, c.Throughput)
	row("server CPU/request", "%.1f µs", 1e6, c.CPU)
	for i, percentile := range result.ComparedPercentiles() {
		row(fmt.Sprintf("p%v", percentile), "%.2f ms", 1e3, c.Latencies[i])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, side := range []struct {
		name  string
		point *result.Point
	}{{"A", c.A}, {"B", c.B}} {
		for _, reason := range side.point.Bottlenecks() {
			fmt.Fprintf(out, "%s: the generator or its machine was the bottleneck: %s\n", side.name, reason)
			break
		}
	}
	return nil
}
