package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/wire"
)

// verifyCommand asks nodes, or, where it is given a directory, only reads files.
func (a *app) verifyCommand() *cobra.Command {
	var node, since string
	var keys, copies []string
	cmd := &cobra.Command{
		Use:   "verify [DIR]",
		Short: "Prove that traces are what was written, or name the first bad line",
		Long: "Check every line of trace logs against its chain, and every log against the signed checkpoints that others have kept of it.\n" +
			"Lines that were altered, added, moved or taken away are found; with checkpoints also that a log has lost its end, or was\n" +
			"replaced as a whole. What was written after the newest checkpoint (COVERED) is proved by the chain alone.\n\n" +
			"Without DIR the node is asked (admin socket), and it asks all others: each reads its own log. A node that is not believed\n" +
			"is checked with a copy of its trace directory, on another machine: DIR (audit in its data directory), with the public key\n" +
			"from kmsctl audit keys, kept since before, and with --checkpoints the trace directory of another node, or its\n" +
			"checkpoints directory, whose copies the suspect could not touch.",
		Args: atMostOne("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := parseSince(since)
			if err != nil {
				return err
			}
			var reports []wire.TraceReport
			if len(args) == 0 {
				if len(keys) > 0 || len(copies) > 0 {
					return misuse("--key and --checkpoints belong to a directory: nodes know their keys")
				}
				reports, err = a.verifyNodes(cmd, node, from)
			} else {
				if node != "" {
					return misuse("--node belongs to the admin socket: a directory is of one node")
				}
				reports, err = verifyDirectory(cmd, args[0], from, keys, copies)
			}
			if err != nil {
				return err
			}
			return a.tellReports(cmd, reports)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&node, "node", "", "only this node")
	flags.StringVar(&since, "since", "", "leave out the segments before the one that was open at that time (RFC 3339), or so long ago (48h)")
	flags.StringArrayVar(&keys, "key", nil, "public key of the node's checkpoints, or a file that holds it; may be repeated")
	flags.StringArrayVar(&copies, "checkpoints", nil, "directory with copies of checkpoints, e.g. the trace directory of another node; may be repeated")
	return cmd
}

// keysCommand shows what verify needs where no node is asked.
func (a *app) traceKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keys",
		Short: "Show the public keys of every node's checkpoints (admin socket)",
		Long: "Show the public keys with which the checkpoints of every node's traces are verified. Keep them elsewhere: with one, and a copy\n" +
			"of a trace directory, kmsctl audit verify DIR --key KEY needs no node.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			reply, err := s.TraceKeys(cmd.Context())
			if err != nil {
				return err
			}
			if reply.Stale != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), reply.Stale)
			}
			rows := [][]string{{"NODE", "SINCE", "KEY"}}
			for _, k := range reply.Keys {
				rows = append(rows, []string{k.NodeID, k.Since.Format(time.RFC3339), k.Key})
			}
			return a.print(cmd, reply, rows)
		},
	}
}

// parseSince reads a time, or how long ago it was.
func parseSince(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, misuse("--since %q is no time (2026-05-01T00:00:00Z) and no span of time (48h)", text)
	}
	return at, nil
}

func (a *app) verifyNodes(cmd *cobra.Command, node string, since time.Time) ([]wire.TraceReport, error) {
	s, err := a.admin()
	if err != nil {
		return nil, err
	}
	reply, err := s.VerifyTraces(cmd.Context(), wire.VerifyTracesRequest{NodeID: node, Since: since})
	if reply.Stale != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), reply.Stale)
	}
	return reply.Nodes, err
}

// verifyDirectory checks a directory against its own copies of checkpoints and
// those of others.
func verifyDirectory(cmd *cobra.Command, dir string, since time.Time, keys, copies []string) ([]wire.TraceReport, error) {
	for i, key := range keys {
		if text, err := os.ReadFile(key); err == nil {
			keys[i] = strings.TrimSpace(string(text))
		}
	}
	found, err := audit.Gather(dir, keys, copies...)
	if err != nil {
		return nil, err
	}
	if found.Segments == 0 {
		return nil, fmt.Errorf("%s holds no trace log: not one segment of it is there", dir)
	}
	against := audit.Against{Checkpoints: found.Checkpoints}
	if !since.IsZero() {
		against.Since = since.UnixMilli()
	}
	note := func(format string, args ...any) {
		fmt.Fprintf(cmd.ErrOrStderr(), "kmsctl: note: "+format+"\n", args...)
	}
	switch {
	case len(found.Checkpoints) == 0 && len(keys) > 0:
		return nil, errors.New("there is no checkpoint of this log that the given key has signed")
	case len(found.Checkpoints) == 0:
		note("there are no checkpoints of this log: that it has lost its end, or was replaced as a whole, cannot be seen")
	case len(keys) == 0:
		note("without --key checkpoints are believed with the key that they name themselves: %s", strings.Join(found.Keys, ", "))
	}
	if found.Foreign > 0 {
		note("%d checkpoints are signed with another key, or damaged, and were left out", found.Foreign)
	}
	if found.Earlier > 0 {
		note("%d checkpoints are of an earlier log of node %s: when did it join anew?", found.Earlier, found.NodeID)
	}
	report, err := audit.VerifyAgainst(cmd.Context(), dir, against)
	if err != nil {
		return nil, err
	}
	shown := report.Wire()
	shown.Earlier = found.Earlier
	return []wire.TraceReport{shown}, nil
}

// tellReports prints what was found and fails when something is wrong.
func (a *app) tellReports(cmd *cobra.Command, reports []wire.TraceReport) error {
	rows := [][]string{{"NODE", "SEGMENTS", "RECORDS", "LAST", "HASH", "CHECKPOINTS", "COVERED", "FAULTS"}}
	var failed error
	for _, r := range reports {
		rows = append(rows, []string{r.NodeID, strconv.Itoa(r.Segments), strconv.FormatUint(r.Records, 10), strconv.FormatUint(r.Last, 10), r.Hash,
			strconv.Itoa(r.Checkpoints), strconv.FormatUint(r.Covered, 10), strconv.Itoa(r.Faults)})
		switch {
		case r.Fault != "":
			failed = errors.Join(failed, fmt.Errorf("the traces of node %s are not what was written: %s", r.NodeID, r.Fault))
		case r.Problem != "":
			failed = errors.Join(failed, fmt.Errorf("the traces of node %s were not verified: %s", r.NodeID, r.Problem))
		}
	}
	return errors.Join(a.print(cmd, reports, rows), failed)
}
