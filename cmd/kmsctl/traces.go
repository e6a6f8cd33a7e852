package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

const (
	tracesPage     = 200              // traces asked for at once
	maxTraces      = 100_000          // that one search shows
	followWait     = 3 * time.Second  // that a node waits for traces
	followPatience = 10 * time.Minute // that tail waits for a node to answer again
)

// traceFlags are what traces are looked for by.
type traceFlags struct {
	client.TraceFilter
	key string
}

func (f *traceFlags) add(cmd *cobra.Command) {
	set := cmd.Flags()
	set.StringVar(&f.key, "key", "", "Traces of this key, by its id or alias/NAME.")
	set.StringVar(&f.User, "user", "", "Traces of the user with this name.")
	set.StringVar(&f.UserID, "user-id", "", "Traces of the user with this id.")
	set.StringVar(&f.AccessKeyID, "used-access-key", "", "Traces of calls that were signed with, or claimed, this access key.")
	set.StringVar(&f.Name, "name", "", "Traces of this operation, e.g. createDataKey.")
	set.StringVar(&f.Rating, "rating", "", "normal, warning (refused or failed) or incident.")
	set.StringVar(&f.Service, "service", "", "KMS, CTS or IAM.")
	set.StringVar(&f.ResourceType, "resource-type", "", "cmk, rng, cluster, trace and so on.")
	set.StringVar(&f.ResourceID, "resource-id", "", "Traces about the resource with this id.")
	set.StringVar(&f.ResourceName, "resource-name", "", "Traces about the resource that had this name.")
	set.StringVar(&f.RequestID, "request-id", "", "The trace of the request with this id.")
	set.StringVar(&f.Source, "source", "", "Traces of calls from this IP address.")
	set.StringVar(&f.Code, "code", "", "Traces of calls that were answered with this HTTP status.")
	set.StringVar(&f.Node, "node", "", "Traces of this node; of all nodes when absent.")
	set.BoolVar(&f.AllProjects, "all-projects", false, "Traces of every account, and of the cluster itself; takes the role Auditor of the first account.")
}

// filter is what the flags come to.
func (f *traceFlags) filter(ctx context.Context, c *client.Client) (client.TraceFilter, error) {
	if f.key == "" {
		return f.TraceFilter, nil
	}
	if f.ResourceID != "" {
		return f.TraceFilter, misuse("--key and --resource-id are the same: give one")
	}
	filter := f.TraceFilter
	filter.ResourceID = f.key
	if strings.HasPrefix(f.key, "alias/") {
		key, err := c.DescribeKey(ctx, f.key)
		if err != nil {
			return filter, err
		}
		filter.ResourceID = key.ID
	}
	return filter, nil
}

func (a *app) searchTracesCommand() *cobra.Command {
	var f traceFlags
	var since, until, next string
	limit := 0
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Show traces of all nodes, the newest first",
		Long: "Show traces of all nodes, the newest first. Nodes that could not be asked, and places that are damaged, are named on\n" +
			"standard error (with -o json in the result): what was looked for may be there. Where there is more, --next goes on.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > maxTraces {
				return misuse("--limit %d must be 1 to %d", limit, maxTraces)
			}
			var err error
			if f.After, err = moment("--since", since); err != nil {
				return err
			}
			if f.Before, err = moment("--until", until); err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				filter, err := f.filter(cmd.Context(), c)
				if err != nil {
					return err
				}
				found, err := searchTraces(cmd.Context(), c, filter, next, limit)
				if err != nil {
					return err
				}
				if a.output == "table" {
					complain(cmd.ErrOrStderr(), found)
					if found.Next != "" {
						fmt.Fprintln(cmd.ErrOrStderr(), "kmsctl: there is more: go on with --next", found.Next)
					}
				}
				rows := [][]string{traceHead}
				for i := range found.Traces {
					rows = append(rows, traceRow(&found.Traces[i]))
				}
				return a.print(cmd, found, rows)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.TraceID, "trace-id", "", "The trace with this id; all other conditions but --all-projects are passed over.")
	cmd.Flags().StringVar(&since, "since", "24h", "Traces after this: a time as 2006-01-02T15:04:05Z, or so long ago, e.g. 90m; all when empty.")
	cmd.Flags().StringVar(&until, "until", "", "Traces before this, like --since.")
	cmd.Flags().StringVar(&next, "next", "", "Go on where a search with the same conditions has ended.")
	cmd.Flags().IntVar(&limit, "limit", 100, "How many traces to show at most.")
	return cmd
}

// moment is a time, or a time ago.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, misuse("%s %q is neither a time like 2006-01-02T15:04:05Z nor a duration like 90m", flag, text)
	}
	return at, nil
}

// searchTraces reads as many pages as the limit takes.
func searchTraces(ctx context.Context, c *client.Client, f client.TraceFilter, next string, limit int) (client.TracePage, error) {
	found := client.TracePage{Traces: []client.Trace{}}
	for {
		page, err := c.SearchTraces(ctx, f, next, min(tracesPage, limit-len(found.Traces)))
		if err != nil {
			return found, err
		}
		found.Traces = append(found.Traces, page.Traces...)
		found.Missing, found.Damaged = union(found.Missing, page.Missing), union(found.Damaged, page.Damaged)
		found.Next = page.Next
		if page.Next == "" || len(found.Traces) >= limit {
			return found, nil
		}
		next = page.Next
	}
}

func union(all, more []string) []string {
	for _, one := range more {
		if !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all
}

// complain says what an answer is without.
func complain(w io.Writer, page client.TracePage) {
	if len(page.Missing) > 0 {
		fmt.Fprintln(w, "kmsctl: these nodes could not be asked, and their traces are missing:", strings.Join(page.Missing, ", "))
	}
	for _, place := range page.Damaged {
		fmt.Fprintln(w, "kmsctl: damaged, traces may be missing:", place)
	}
}

func (a *app) tailTracesCommand() *cobra.Command {
	var f traceFlags
	lines, follow := 0, false
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show the newest traces, the oldest of them first; with --follow go on",
		Long: "Show the newest traces of all nodes (or of --node), the oldest of them first. With --follow go on with what comes, without\n" +
			"gaps or repeats, also while nodes stop and start again, until interrupted. With -o json every line is one trace.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if lines < 1 || lines > tracesPage {
				return misuse("--lines %d must be 1 to %d", lines, tracesPage)
			}
			return a.withClient(func(c *client.Client) error {
				filter, err := f.filter(cmd.Context(), c)
				if err != nil {
					return err
				}
				return a.tail(cmd, c, filter, lines, follow)
			})
		},
	}
	f.add(cmd)
	cmd.Flags().IntVarP(&lines, "lines", "n", 20, "How many traces to begin with.")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "Go on with what comes.")
	return cmd
}

func (a *app) tail(cmd *cobra.Command, c *client.Client, f client.TraceFilter, lines int, follow bool) error {
	ctx := cmd.Context()
	next, missing := "", ""
	for {
		page, err := followPage(ctx, c, f, next, lines)
		if err != nil {
			if next != "" && ctx.Err() != nil {
				return nil // interrupted, as it is meant to be ended
			}
			return err
		}
		if now := strings.Join(page.Missing, ", "); now != missing {
			if missing = now; now == "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "kmsctl: all nodes can be asked again")
			} else {
				fmt.Fprintln(cmd.ErrOrStderr(), "kmsctl: these nodes cannot be asked; their traces come when they can:", now)
			}
		}
		complain(cmd.ErrOrStderr(), client.TracePage{Damaged: page.Damaged})
		for i := range page.Traces {
			if err := a.printTrace(cmd.OutOrStdout(), &page.Traces[i]); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		next, lines = page.Next, tracesPage
	}
}

// followPage asks for a page as long as it takes for some node to answer: the
// place is kept here, so nothing is lost meanwhile.
func followPage(ctx context.Context, c *client.Client, f client.TraceFilter, next string, lines int) (client.TracePage, error) {
	for until := time.Now().Add(followPatience); ; {
		page, err := c.FollowTraces(ctx, f, next, lines, followWait)
		if err == nil || next == "" || ctx.Err() != nil || exitStatus(err) != exitUnavailable || time.Now().After(until) {
			return page, err
		}
	}
}

var traceHead = []string{"TIME", "NODE", "USER", "OPERATION", "RESOURCE", "CODE", "RATING", "SOURCE", "MESSAGE"}

// traceRow is a trace as a row of a table. What comes from outside is shown so
// that it cannot steer a terminal.
func traceRow(t *client.Trace) []string {
	row := []string{time.UnixMilli(t.Time).UTC().Format("2006-01-02T15:04:05.000Z"), t.NodeID, "", t.TraceName, t.ResourceName, t.Code, t.TraceRating, t.SourceIP, t.Message}
	if t.User != nil {
		row[2] = t.User.Name
	}
	if row[4] == "" {
		row[4] = t.ResourceID
	}
	if t.ErrorCode != "" {
		row[5] += " " + t.ErrorCode
	}
	for i, cell := range row {
		if row[i] = strings.Map(printable, cell); row[i] == "" {
			row[i] = "-"
		}
	}
	return row
}

func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
		return '\uFFFD'
	}
	return r
}

// printTrace prints a trace on a line of its own.
func (a *app) printTrace(w io.Writer, t *client.Trace) error {
	if a.output == "json" {
		return json.NewEncoder(w).Encode(t)
	}
	_, err := fmt.Fprintln(w, strings.Join(traceRow(t), "  "))
	return err
}
