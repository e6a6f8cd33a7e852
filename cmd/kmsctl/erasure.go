package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) verifyErasureCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify-erasure KEY-ID",
		Short: "Find out where a deleted key, or discarded material, can still be recovered (admin socket)",
		Long: "Find out where a deleted key can still be recovered. Every node that may hold it looks through all of its files for the\n" +
			"key's wrapped material. Of a key that is there, it is what was discarded that they look for: imported material that was\n" +
			"deleted or has expired, and the private keys that imports were wrapped for. Copies of disks and backups made while the key existed are not among those files: they hold the\n" +
			"material until they are destroyed, or until the root keys of the generations shown are. Exit status 1 while it is not erased.",
		Args: exactly("KEY-ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			found, err := s.VerifyErasure(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			rows := [][]string{
				{"KEY", found.KeyID, found.Name},
				{"EXISTED", found.Created.Format(time.RFC3339) + " to " + found.Deleted.Format(time.RFC3339)},
				{"WRAPPED", strconv.Itoa(found.Blobs) + " pieces of wrapped material are looked for"},
				{"ROOT KEYS", "generation " + strings.Trim(strings.ReplaceAll(fmt.Sprint(found.RootGenerations), " ", ", "), "[]") + ": copies of disks and backups of that time can be opened while these exist"},
			}
			if found.Live {
				rows[1] = []string{"EXISTS", "since " + found.Created.Format(time.RFC3339) + "; material was discarded last at " + found.Deleted.Format(time.RFC3339)}
			}
			for _, n := range found.Nodes {
				verdict := fmt.Sprintf("erased: nothing in %d MiB of files", n.Scanned>>20)
				switch {
				case len(n.Files) > 0:
					verdict = "RECOVERABLE from " + strings.Join(n.Files, ", ")
				case n.Problem != "":
					verdict = "PERHAPS RECOVERABLE: " + n.Problem
				}
				rows = append(rows, []string{"NODE " + n.ID, verdict})
			}
			if err := a.print(cmd, found, rows); err != nil {
				return err
			}
			if !found.Erased {
				return errors.New("it is not erased everywhere yet")
			}
			return nil
		},
	}
}
