package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/server/wire"
)

// maxShownFailures is how many records that do not open are shown of one node;
// the count goes on.
const maxShownFailures = 1000

// rootVerdict is what one node has proved about its root keys.
type rootVerdict struct {
	NodeID         string                `json:"node_id"`
	RootGeneration uint32                `json:"root_generation,omitempty"`
	Holds          bool                  `json:"holds"`
	Records        int                   `json:"records"` // in the state
	Opened         int                   `json:"opened"`
	Failed         int                   `json:"failed"`
	Failures       []wire.RootKeyFailure `json:"failures,omitempty"`
	Problem        string                `json:"problem,omitempty"`
}

func (v *rootVerdict) good() bool { return v.Holds && v.Failed == 0 && v.Problem == "" }

func (a *app) verifyRootsCommand() *cobra.Command {
	var every int
	var nodes []string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that every node's module holds the root keys of the state, and that everything under them opens",
		Long: "Prove that the module of every node holds the root keys of the replicated state, and opens everything that is under\n" +
			"them: the versions of keys, the wrapping pairs of imports, the secrets of access keys and second factors, the keys of\n" +
			"the cluster's CA and gossip, and the node's own key for its traces. Nothing is changed, and nothing stops meanwhile.\n" +
			"On a device each key takes a call or three: with many keys --every looks at some, drawn by lot.\n" +
			"Exit status 1 unless all of it opens on all nodes.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 1 {
				return misuse("--every is 1 or more")
			}
			s, err := a.admin()
			if err != nil {
				return err
			}
			if len(nodes) == 0 {
				status, err := s.Status(cmd.Context())
				if err != nil {
					return err
				}
				for _, member := range status.Members {
					nodes = append(nodes, member.ID)
				}
			}
			verdicts := []*rootVerdict{}
			var rows [][]string
			bad := 0
			for _, node := range nodes {
				v := verifyRootsOf(cmd, s, node, every)
				verdicts = append(verdicts, v)
				rows = append(rows, v.rows()...)
				if !v.good() {
					bad++
				}
			}
			if err := a.print(cmd, verdicts, rows); err != nil {
				return err
			}
			switch {
			case len(verdicts) == 0:
				return errors.New("this node has no cluster yet, so there is nothing to verify")
			case bad > 0:
				return fmt.Errorf("%d of %d nodes have not proved that everything under the root keys opens", bad, len(verdicts))
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&every, "every", 1, "Look at one record of so many, drawn by lot.")
	cmd.Flags().StringSliceVar(&nodes, "node", nil, "Only this node; may be given several times.")
	return cmd
}

// verifyRootsOf takes all steps with one node.
func verifyRootsOf(cmd *cobra.Command, s *admin.Socket, node string, every int) *rootVerdict {
	v := &rootVerdict{NodeID: node}
	shown := newStepProgress(cmd.ErrOrStderr(), "node "+node)
	defer shown.done()
	req := wire.VerifyRootsRequest{NodeID: node, Every: every}
	for passed := 0; ; {
		reply, err := s.VerifyRoots(cmd.Context(), req)
		if err != nil {
			v.Problem = err.Error()
			return v
		}
		v.RootGeneration, v.Holds, v.Records = reply.RootGeneration, reply.Holds, reply.Total
		v.Opened += reply.Opened
		v.Failed += len(reply.Failures)
		v.Failures = append(v.Failures, reply.Failures[:min(len(reply.Failures), maxShownFailures-len(v.Failures))]...)
		if v.Problem = reply.Problem; v.Problem != "" || reply.Next == "" {
			return v
		}
		passed += reply.Passed
		shown.at(passed, reply.Total)
		req.After = reply.Next
	}
}

func (v *rootVerdict) rows() [][]string {
	verdict := fmt.Sprintf("holds root keys %d and opens all %d things looked at under them, of %d records", v.RootGeneration, v.Opened, v.Records)
	switch {
	case v.Problem != "":
		verdict = "NOT PROVED: " + v.Problem
	case !v.Holds:
		verdict = "DOES NOT HOLD the root keys of the state"
	case v.Failed > 0:
		verdict = fmt.Sprintf("DOES NOT OPEN %d of %d things under root keys %d", v.Failed, v.Failed+v.Opened, v.RootGeneration)
	}
	rows := [][]string{{"NODE " + v.NodeID, verdict}}
	for _, f := range v.Failures {
		rows = append(rows, []string{"", f.What + " " + f.ID + ": " + f.Problem})
	}
	return rows
}

// stepProgress shows how far something has come that is done in steps, on a
// terminal only.
type stepProgress struct {
	out  *os.File // nil: nobody watches
	name string
	used bool
}

func newStepProgress(out any, name string) *stepProgress {
	p := &stepProgress{name: name}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.out = file
	}
	return p
}

func (p *stepProgress) at(done, total int) {
	if p.out == nil {
		return
	}
	p.used = true
	share := 100
	if total > 0 {
		share = min(100, done*100/total)
	}
	fmt.Fprintf(p.out, "\r%s: %s of %s records (%d %%)\x1b[K", p.name, strconv.Itoa(min(done, total)), strconv.Itoa(total), share)
}

// done leaves the line to whoever writes next.
func (p *stepProgress) done() {
	if p.used {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
