package main

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/server/audit"
)

func (a *app) auditCommands() *cobra.Command {
	return group("audit", "Look at traces and check them", a.searchTracesCommand(), a.tailTracesCommand(), a.verifyCommand())
}

// verifyCommand reads files, and no node: it works on a copied directory.
func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "Prove the chain of a node's trace directory, or name the first bad line",
		Long: "Read the trace directory of a node (audit in its data directory), or a copy of it, and check every line against the chain.\n" +
			"Lines that were altered, added, moved or taken away are found. That the newest lines were taken away shows only\n" +
			"when LAST and HASH are compared with what they were before.",
		Args: exactly("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			report, err := audit.Verify(args[0])
			if err != nil {
				return err
			}
			result := struct {
				NodeID   string `json:"node_id"`
				Segments int    `json:"segments"`
				Records  uint64 `json:"records"`
				Last     uint64 `json:"last"`
				Hash     string `json:"hash"`
				Faults   int    `json:"faults"`
			}{report.NodeID, report.Segments, report.Records, report.Last, hex.EncodeToString(report.LastHash[:]), report.FaultCount}
			if err := a.print(cmd, result, [][]string{
				{"NODE", "SEGMENTS", "RECORDS", "LAST", "HASH", "FAULTS"},
				{result.NodeID, strconv.Itoa(result.Segments), strconv.FormatUint(result.Records, 10), strconv.FormatUint(result.Last, 10), result.Hash, strconv.Itoa(result.Faults)},
			}); err != nil {
				return err
			}
			if err := report.Err(); err != nil {
				return fmt.Errorf("the traces are not what was written: %w", err)
			}
			return nil
		},
	}
}
