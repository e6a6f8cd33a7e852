package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/cmd/kmsd/device"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/custody"
)

// restored is what a person is told of a restore.
type restored struct {
	ClusterID      string `json:"cluster_id"`
	RootGeneration uint32 `json:"root_generation"`
	Set            string `json:"set"`
	Created        string `json:"created"`
	Module         string `json:"module"`
	Done           bool   `json:"done"` // false: the shares were tried, and nothing else
}

func (a *app) restoreRootsCommand() *cobra.Command {
	var shareFiles []string
	var check bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Restore the root keys from a backup and its custodians' shares, in the module of a stopped node",
		Long: "Restore the root keys from a backup and its custodians' shares, in the module that --config names, whose node is stopped.\n" +
			"The shares are asked for one after another, without being shown, or read from files (--share-file), or line by line from\n" +
			"standard input when that is no terminal. The module proves the restored keys with what the backup holds, or destroys them.\n\n" +
			"A node that has its data directory goes on with it when it is started; on a node without one, start it and restore the\n" +
			"state with `kmsctl cluster snapshot restore`. With --check nothing is restored: the shares are only tried on FILE.",
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := readRootBackup(args[0])
			if err != nil {
				return err
			}
			b, err := custody.Read(file)
			if err != nil {
				return err
			}
			told := restored{
				ClusterID: uuid.UUID(b.Cluster).String(), RootGeneration: uint32(b.Generation), Set: b.SetID(), Created: b.Time().Format(time.RFC3339),
				Module: b.ModuleKind, Done: !check,
			}
			var c *config.Config
			if !check {
				if c, err = a.stoppedNode(b); err != nil {
					return err
				}
			}
			shares, err := gatherShares(cmd, b, shareFiles)
			if err != nil {
				return err
			}
			var closing error
			if check {
				_, err = custody.Open(file, shares)
			} else {
				closing, err = restoreRoots(cmd.Context(), c, b, file, shares)
			}
			if err != nil {
				return err
			}
			if err := a.print(cmd, told, told.rows()); err != nil {
				return err
			}
			if closing != nil { // what was proved holds all the same
				fmt.Fprintf(cmd.ErrOrStderr(), "kmsctl: the root keys are restored, and after that: %s\n", oneLine(closing))
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&shareFiles, "share-file", nil, "File with a share, readable by its owner alone; once for each.")
	cmd.Flags().BoolVar(&check, "check", false, "Only try the shares on the backup.")
	return cmd
}

func (r *restored) rows() [][]string {
	said := "restored: the module holds these root keys; start the node"
	if !r.Done {
		said = "the shares open the backup; nothing was restored"
	}
	return [][]string{
		{"CLUSTER", r.ClusterID},
		{"ROOT KEYS", strconv.FormatUint(uint64(r.RootGeneration), 10)},
		{"SET", r.Set},
		{"CREATED", r.Created},
		{"MODULE", r.Module},
		{"", said},
	}
}

// stoppedNode loads the node's configuration and refuses one that the backup is
// not for.
func (a *app) stoppedNode(b *custody.Backup) (*config.Config, error) {
	if a.config == "" {
		return nil, misuse("which module? Give --config of the node, or --check to try the shares only")
	}
	c, err := config.Load(a.config, os.Environ(), nil)
	if err != nil {
		return nil, err
	}
	if conn, err := net.Dial("unix", c.Node.AdminSocket); err == nil {
		conn.Close()
		return nil, errors.New("the node is running, and its module is its own: stop it first")
	}
	if id, ok := clusterOf(c.Node.DataDir); ok && id != b.Cluster {
		return nil, fmt.Errorf("the node belongs to the cluster %s, and the backup is of the cluster %s", uuid.UUID(id), uuid.UUID(b.Cluster))
	}
	if c.Module.Kind != b.ModuleKind {
		return nil, fmt.Errorf("the backup is of a %s module, and the node has a %s module: a cluster's modules are of one kind", b.ModuleKind, c.Module.Kind)
	}
	return c, c.CheckSecrets(os.Getenv("CREDENTIALS_DIRECTORY"))
}

// restoreRoots opens the node's module for this moment. closing is what was wrong
// when it was closed after a restore that has succeeded.
func restoreRoots(ctx context.Context, c *config.Config, b *custody.Backup, file []byte, shares []string) (closing, err error) {
	if err := device.MakeDirectories(c); err != nil { // the node may be a new one
		return nil, err
	}
	module, err := device.Open(ctx, c, slog.New(slog.DiscardHandler), exitHung)
	if err != nil {
		return nil, err
	}
	err = restoreIn(ctx, module, b, file, shares)
	closing = module.Close()
	if err != nil {
		return nil, errors.Join(err, closing)
	}
	return closing, nil
}

func restoreIn(ctx context.Context, module hsm.Module, b *custody.Backup, file []byte, shares []string) error {
	if _, err := module.OpenRoots(ctx, b.Cluster); err != nil && !errors.Is(err, hsm.ErrNoRoots) {
		return fmt.Errorf("looking into the module: %w", err)
	}
	_, err := custody.Restore(ctx, module, file, shares)
	if errors.Is(err, hsm.ErrRootsExist) {
		return fmt.Errorf("there is nothing to restore: %w", err)
	}
	return err
}

// gatherShares reads as many different shares as it takes, and refuses a wrong
// one when it comes.
func gatherShares(cmd *cobra.Command, b *custody.Backup, files []string) ([]string, error) {
	var shares []string
	if len(files) > 0 {
		for _, name := range files {
			text, err := config.ReadSecret(name, os.Getenv("CREDENTIALS_DIRECTORY"))
			if err != nil {
				return nil, fmt.Errorf("reading a share: %w", err)
			}
			if _, err := b.Check(string(text)); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			shares = append(shares, string(text))
			clear(text)
		}
		return shares, nil
	}
	var next func() (string, error)
	asks := false
	if in, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		asks = true
		next = func() (string, error) {
			fmt.Fprintf(cmd.ErrOrStderr(), "A share of the set %s (%d more; it is not shown): ", b.SetID(), int(b.Threshold)-len(shares))
			text, err := term.ReadPassword(int(in.Fd()))
			fmt.Fprintln(cmd.ErrOrStderr())
			return string(text), err
		}
	} else {
		lines := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), maxRootBackup))
		next = func() (string, error) {
			line, err := lines.ReadString('\n')
			if line = strings.TrimSpace(line); line != "" {
				err = nil
			}
			return line, err
		}
	}
	seen := make(map[int]bool)
	for len(shares) < int(b.Threshold) {
		text, err := next()
		if errors.Is(err, io.EOF) {
			break // too few, which is said in one place
		}
		if err != nil {
			return nil, fmt.Errorf("reading a share: %w", err)
		}
		if text == "" {
			continue
		}
		number, err := b.Check(text)
		if err == nil && seen[number] {
			err = fmt.Errorf("share %d was given already", number)
		}
		if err != nil {
			if !asks {
				return nil, err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "kmsctl: %v\n", err) // and it is asked for once more
			continue
		}
		seen[number] = true
		shares = append(shares, text)
	}
	return shares, nil
}
