package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/raftkms/raftkms/hsm/custody"
	"github.com/raftkms/raftkms/server/wire"
)

// maxRootBackup bounds what is read of a backup of root keys, in bytes.
const maxRootBackup = 1 << 20

// rootBackup is what a person is told of a backup.
type rootBackup struct {
	ClusterID      string   `json:"cluster_id"`
	RootGeneration uint32   `json:"root_generation"`
	Set            string   `json:"set"`
	Threshold      int      `json:"threshold"`
	Shares         int      `json:"shares"`
	Created        string   `json:"created"`
	File           string   `json:"file"`
	ShareFiles     []string `json:"share_files,omitempty"`
	ShareTexts     []string `json:"share_texts,omitempty"`
}

func (a *app) backUpRootsCommand() *cobra.Command {
	var pinFile, dir string
	var threshold, shares int
	var show, force bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Back up the root keys for custodians: a file, and shares of which some open it",
		Long: "Back up the root keys for custodians. The node's module wraps them under a recovery key that is kept nowhere: it is split\n" +
			"into --shares shares, of which any --threshold give it and fewer say nothing (Shamir). FILE is of no use without the\n" +
			"shares, nor they without it. The shares are told once: on the terminal, or as files of mode 0600 in --shares-dir, a\n" +
			"directory of which each custodian takes one. `kmsctl root restore --check` tries them without restoring anything.\n\n" +
			"A backup opens what these root keys wrapped: after `kmsctl root rotate` make another one, and keep the old one as long as\n" +
			"backups of the cluster's state from before. With a pkcs11 module the security officer's PIN is asked for, or read from a file.",
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" && !show && !isTerminal(cmd.OutOrStdout()) {
				return misuse("the shares would go into a pipe or a file that others may read: give --shares-dir, or --show-shares if that is meant")
			}
			if err := absent(args[0], force); err != nil {
				return err
			}
			s, err := a.admin()
			if err != nil {
				return err
			}
			pin, err := officerPIN(cmd.Context(), s, pinFile)
			if err != nil {
				return err
			}
			r := wire.BackUpRootsRequest{Threshold: threshold, Shares: shares, OfficerPIN: string(pin)}
			clear(pin)
			reply, err := s.BackUpRoots(cmd.Context(), r)
			if err != nil {
				return err
			}
			told := rootBackup{
				ClusterID: reply.ClusterID, RootGeneration: reply.RootGeneration, Set: reply.Set, Threshold: reply.Threshold, Shares: len(reply.Shares), File: args[0],
			}
			if dir != "" {
				if told.ShareFiles, err = writeShares(dir, reply); err != nil {
					return err
				}
			} else {
				told.ShareTexts = reply.Shares
			}
			err = replaceFile(args[0], force, func(w io.Writer) error {
				_, err := w.Write(reply.File)
				return err
			})
			if err != nil {
				return fmt.Errorf("the shares are of no use, since the backup was not written: %w", err)
			}
			if told.Created, err = checkRootBackup(args[0], reply); err != nil {
				return fmt.Errorf("the backup was written, but does not verify: %w", err)
			}
			return a.print(cmd, told, told.rows())
		},
	}
	cmd.Flags().IntVar(&threshold, "threshold", 3, "How many shares it takes to restore.")
	cmd.Flags().IntVar(&shares, "shares", 5, "How many shares there are.")
	cmd.Flags().StringVar(&dir, "shares-dir", "", "Directory for a file of each share, instead of showing them.")
	cmd.Flags().BoolVar(&show, "show-shares", false, "Show the shares although the output is no terminal.")
	cmd.Flags().BoolVar(&force, "force", false, "Replace the file if it exists.")
	officerPINFlag(cmd, &pinFile)
	return cmd
}

func (b *rootBackup) rows() [][]string {
	rows := [][]string{
		{"CLUSTER", b.ClusterID},
		{"ROOT KEYS", strconv.FormatUint(uint64(b.RootGeneration), 10)},
		{"SET", b.Set},
		{"CREATED", b.Created},
		{"FILE", b.File},
		{"IT TAKES", fmt.Sprintf("%d of %d shares", b.Threshold, b.Shares)},
	}
	for i, file := range b.ShareFiles {
		rows = append(rows, []string{fmt.Sprintf("SHARE %d", i+1), file})
	}
	for i, text := range b.ShareTexts {
		rows = append(rows, []string{fmt.Sprintf("SHARE %d", i+1), text})
	}
	return rows
}

// writeShares writes each share to a file that nobody else may read, and
// replaces none.
func writeShares(dir string, reply wire.BackUpRootsReply) (files []string, err error) {
	defer func() {
		if err != nil {
			for _, file := range files {
				os.Remove(file)
			}
		}
	}()
	for i, text := range reply.Shares {
		name := filepath.Join(dir, fmt.Sprintf("raftkms-share-%s-%d-of-%d", reply.Set, i+1, len(reply.Shares)))
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return files, fmt.Errorf("writing a share: %w", err)
		}
		files = append(files, name)
		_, err = file.WriteString(text + "\n")
		if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
			return files, fmt.Errorf("writing a share: %w", err)
		}
	}
	return files, nil
}

// checkRootBackup reads the file that was written, with as few shares as it
// takes: a backup that nobody has read is a hope.
func checkRootBackup(name string, reply wire.BackUpRootsReply) (created string, err error) {
	file, err := readRootBackup(name)
	if err != nil {
		return "", err
	}
	if !bytes.Equal(file, reply.File) {
		return "", errors.New("the file holds something else")
	}
	b, err := custody.Open(file, reply.Shares[len(reply.Shares)-reply.Threshold:])
	if err != nil {
		return "", err
	}
	return b.Time().Format(time.RFC3339), nil
}

func readRootBackup(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening the backup: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxRootBackup))
	if err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	return b, nil
}

func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
