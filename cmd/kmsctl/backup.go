package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) snapshotCommands() *cobra.Command {
	return group("snapshot", "Back up the cluster's state, and found the cluster again from a backup",
		a.saveCommand(), a.checkBackupCommand(), a.restoreCommand())
}

func (a *app) saveCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Write a backup of everything that was acknowledged before, encrypted under the cluster's root keys",
		Args:  exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			err = replaceFile(args[0], force, func(w io.Writer) error { return s.Backup(cmd.Context(), w) })
			if err != nil {
				return err
			}
			// A backup that nobody has read is a hope.
			reply, err := checkFile(cmd, s, args[0])
			if err != nil {
				return fmt.Errorf("the backup was written, but does not verify: %w", err)
			}
			return a.print(cmd, reply, backupRows(reply))
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "Replace the file if it exists.")
	return cmd
}

func (a *app) checkBackupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Verify all of a backup with the root keys in a node's module",
		Args:  exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			reply, err := checkFile(cmd, s, args[0])
			if err != nil {
				return err
			}
			return a.print(cmd, reply, backupRows(reply))
		},
	}
}

func checkFile(cmd *cobra.Command, s *admin.Socket, name string) (wire.BackupReply, error) {
	file, err := os.Open(name)
	if err != nil {
		return wire.BackupReply{}, fmt.Errorf("opening the backup: %w", err)
	}
	defer file.Close()
	return s.CheckBackup(cmd.Context(), file)
}

func backupRows(b wire.BackupReply) [][]string {
	rows := [][]string{
		{"CLUSTER", b.ClusterID},
		{"GENERATION", strconv.FormatUint(uint64(b.Generation), 10)},
		{"LINEAGE", b.LineageID},
		{"ROOT KEYS", strconv.FormatUint(uint64(b.RootGeneration), 10)},
		{"INDEX", strconv.FormatUint(b.Index, 10)},
		{"STATE HASH", b.StateHash},
		{"KEYS", strconv.Itoa(b.Keys)},
		{"WRITTEN BY", b.NodeID, b.Version},
		{"CREATED", b.Created},
	}
	if b.Older != "" {
		rows = append(rows, []string{"OLDER", b.Older})
	}
	return rows
}

func (a *app) restoreCommand() *cobra.Command {
	var o admin.RestoreOptions
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Found the cluster again from a backup, on a node without one, as a new generation",
		Long: `Found the cluster again from a backup, on a node with an empty data directory whose module holds the
cluster's root keys. First it says what would be lost and what is revoked once more; then it asks for the
cluster's id. No old node is part of the new generation: each starts empty and joins with a new token.
Every key is left Disabled unless --keep-enabled says otherwise. With --against, the data directory of a
stopped old node that went on from the backup, every deletion, disable and revocation in it is done again, and
who may do what (groups, policies, passwords, second factors, who outside is believed) is as it says. Tokens of
users have all ended.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			if o.Against != "" {
				if o.Against, err = filepath.Abs(o.Against); err != nil {
					return fmt.Errorf("finding the old data directory: %w", err)
				}
			}
			confirm := o.Confirm
			o.Confirm = ""
			reply, err := restoreFile(cmd, s, args[0], o)
			if err != nil {
				return err
			}
			if confirm == "" {
				if a.output == "json" { // a script reads it, and comes back with --confirm
					return a.print(cmd, reply, nil)
				}
				if err := a.print(cmd, reply, restoreRows(reply)); err != nil {
					return err
				}
				if confirm, err = askFor(cmd, "Type the cluster's id to go on: "); err != nil {
					return err
				}
			}
			if confirm != reply.Backup.ClusterID {
				return misuse("that is not the id of the backup's cluster: nothing was done")
			}
			o.Confirm = confirm
			if reply, err = restoreFile(cmd, s, args[0], o); err != nil {
				return err
			}
			return a.print(cmd, reply, restoreRows(reply))
		},
	}
	cmd.Flags().StringVar(&o.Confirm, "confirm", "", "The cluster's id, to go on without being asked.")
	cmd.Flags().BoolVar(&o.KeepEnabled, "keep-enabled", false, "Leave keys Enabled that were Enabled when the backup was written.")
	cmd.Flags().StringVar(&o.Against, "against", "", "Data directory of a stopped old node, whose revocations are done again.")
	return cmd
}

func restoreFile(cmd *cobra.Command, s *admin.Socket, name string, o admin.RestoreOptions) (wire.RestoreReply, error) {
	file, err := os.Open(name)
	if err != nil {
		return wire.RestoreReply{}, fmt.Errorf("opening the backup: %w", err)
	}
	defer file.Close()
	return s.Restore(cmd.Context(), file, o)
}

// restoreRows shows what a restore does, whatever it knows about.
func restoreRows(r wire.RestoreReply) [][]string {
	rows := [][]string{
		{"CLUSTER", r.Backup.ClusterID},
		{"BACKUP OF", r.Backup.Created, "index " + strconv.FormatUint(r.Backup.Index, 10)},
		{"OF GENERATION", strconv.FormatUint(uint64(r.Backup.Generation), 10), r.Backup.LineageID},
		{"DONE", strconv.FormatBool(r.Done)},
	}
	undone, _ := r.Undone.(map[string]any)
	names := make([]string, 0, len(undone))
	for name := range undone {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		title := strings.ToUpper(strings.ReplaceAll(name, "_", " "))
		ids, isList := undone[name].([]any)
		if !isList {
			text, _ := json.Marshal(undone[name]) // it was just decoded
			rows = append(rows, []string{title, string(text)})
			continue
		}
		for i, id := range ids {
			if i > 0 {
				title = ""
			}
			rows = append(rows, []string{title, fmt.Sprint(id)})
		}
	}
	return rows
}

// askFor reads one line from the person at the terminal.
func askFor(cmd *cobra.Command, prompt string) (string, error) {
	fmt.Fprint(cmd.ErrOrStderr(), prompt)
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1024)).ReadString('\n')
	if err != nil && line == "" {
		return "", misuse("nothing was typed: nothing was done")
	}
	return strings.TrimSpace(line), nil
}
