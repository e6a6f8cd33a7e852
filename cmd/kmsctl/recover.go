package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/server"
)

// recovered is what is told of a recovery.
type recovered struct {
	*server.Recovery
	Done bool `json:"done"` // false: it was looked for, and nothing else
}

func (a *app) recoverCommand() *cobra.Command {
	var confirm string
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Found a cluster again from one stopped node, after the majority was lost for good",
		Long: `Found a cluster again from what one stopped node has left, after the majority was lost for good. Stop
every survivor, and run it on each with -o json, which only looks. Take the one with the highest last term, and
among those with the same term the one with the highest last index. The term decides: a node with more entries
of an older term may lack what was acknowledged since. Everything in the log of the one that you take counts as
committed: also the entries shown as unsure, which may be such as nobody was ever told of (a node that ended
well has noted what it knew to be committed, another one knows it of its last snapshot only). What only the lost
nodes had is lost. The node does the rest at its next start, as the only
member of a new generation: other nodes start empty and join with new tokens. Never start a lost node
again with its old data: a majority of them would go on as the cluster that they know.

What the node has now is set aside in its data directory, as raft-lost-TIME and identity.json-lost-TIME. Remove both
as soon as the cluster has what it should: keys that are deleted later can be recovered from there.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.config == "" {
				return misuse("which node? Give --config with the stopped node's kmsd.yaml")
			}
			c, err := config.Load(a.config, os.Environ(), nil)
			if err != nil {
				return err
			}
			found, err := server.FindRecovery(c.Node.DataDir)
			if err != nil {
				return err
			}
			rows := [][]string{
				{"CLUSTER", found.ClusterID},
				{"SURVIVOR", found.NodeID},
				{"LAST TERM", strconv.FormatUint(found.LastTerm, 10)},
				{"LAST INDEX", strconv.FormatUint(found.LastIndex, 10)},
				{"COMMITTED", fmt.Sprintf("up to index %d for certain", found.Committed)},
			}
			rows = append(rows, unsureRows(found.Unsure)...)
			rows = append(rows, []string{"KEYS", strconv.Itoa(found.Keys)})
			for _, id := range found.Lost {
				rows = append(rows, []string{"LOST", id})
			}
			if confirm == "" {
				if err := a.print(cmd, recovered{found, false}, rows); err != nil || a.output == "json" {
					return err
				}
				if confirm, err = askFor(cmd, "Type the cluster's id to go on without the lost nodes: "); err != nil {
					return err
				}
			}
			if confirm != found.ClusterID {
				return misuse("that is not the cluster's id: nothing was done")
			}
			if err := found.Begin(time.Now()); err != nil {
				return err
			}
			return a.print(cmd, recovered{found, true}, [][]string{{fmt.Sprintf("decided; start %s now, and it founds the cluster again", found.NodeID)}})
		},
	}
	cmd.Flags().StringVar(&confirm, "confirm", "", "The cluster's id, to go on without being asked.")
	return cmd
}

// unsureRows shows what takes effect although it may never have been committed.
func unsureRows(u server.Unsure) [][]string {
	if u.Entries == 0 {
		return [][]string{{"UNSURE", "nothing"}}
	}
	terms := fmt.Sprintf("term %d", u.FirstTerm)
	if u.LastTerm != u.FirstTerm {
		terms = fmt.Sprintf("terms %d to %d", u.FirstTerm, u.LastTerm)
	}
	rows := [][]string{{"UNSURE", fmt.Sprintf("entries behind it, of %s: %d; they may not have been committed, and take effect", terms, u.Entries)}}
	for _, kind := range slices.Sorted(maps.Keys(u.Commands)) {
		rows = append(rows, []string{"", kind, strconv.Itoa(u.Commands[kind])})
	}
	return rows
}
