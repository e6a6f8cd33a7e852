package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) rootCommands() *cobra.Command {
	return group("root", "Hand the root keys to a joining node, prove that nodes hold them, rotate them, back them up and restore them (admin socket)",
		a.fingerprintCommand(), a.approveCommand(), a.verifyRootsCommand(), a.rotateRootsCommand(), a.copyRootsCommand(), a.backUpRootsCommand(), a.restoreRootsCommand())
}

func (a *app) fingerprintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "fingerprint",
		Short: "Show the fingerprint of the transport key with which this node waits for the root keys",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			status, err := s.Status(cmd.Context())
			if err != nil {
				return err
			}
			switch {
			case status.Roots:
				return fmt.Errorf("%s holds the root keys already", status.NodeID)
			case status.Fingerprint == "":
				return fmt.Errorf("%s has no transport key yet: have it join a cluster first", status.NodeID)
			}
			return a.print(cmd, struct {
				NodeID      string `json:"node_id"`
				Fingerprint string `json:"fingerprint"`
			}{status.NodeID, status.Fingerprint}, [][]string{{status.Fingerprint}})
		},
	}
}

func (a *app) approveCommand() *cobra.Command {
	var pinFile string
	cmd := &cobra.Command{
		Use:   "approve NODE FINGERPRINT",
		Short: "Let the root keys go to a node whose fingerprint you have compared",
		Long: "Let the root keys go to a node. FINGERPRINT is what `kmsctl root fingerprint` shows on that node's own console.\n" +
			"With a pkcs11 module the security officer's PIN of this node's token is asked for, or read from a file.",
		Args: exactly("NODE", "FINGERPRINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			pin, err := officerPIN(cmd.Context(), s, pinFile)
			if err != nil {
				return err
			}
			r := wire.ApproveRootsRequest{NodeID: args[0], Fingerprint: args[1], OfficerPIN: string(pin)}
			clear(pin)
			if err := s.ApproveRoots(cmd.Context(), r); err != nil {
				return err
			}
			return a.print(cmd, struct{}{}, [][]string{{"approved: the root keys go to " + args[0]}})
		},
	}
	officerPINFlag(cmd, &pinFile)
	return cmd
}

func officerPINFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "officer-pin-file", "", "File with the security officer's PIN, readable by its owner alone.")
}

// officerPIN reads the PIN from the file or, without one, from the terminal
// when the node's module needs one.
func officerPIN(ctx context.Context, s *admin.Socket, file string) ([]byte, error) {
	if file != "" {
		return config.ReadSecret(file, os.Getenv("CREDENTIALS_DIRECTORY"))
	}
	status, err := s.Status(ctx)
	if err != nil || status.Module != "pkcs11" {
		return nil, err
	}
	terminal := int(os.Stdin.Fd())
	if !term.IsTerminal(terminal) {
		return nil, errors.New("the security officer's PIN is needed: give --officer-pin-file, or call kmsctl from a terminal")
	}
	fmt.Fprint(os.Stderr, "Security officer's PIN: ")
	pin, err := term.ReadPassword(terminal)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return nil, fmt.Errorf("reading the PIN: %w", err)
	}
	return pin, nil
}
