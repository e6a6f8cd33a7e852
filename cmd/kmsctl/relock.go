package main

import (
	"errors"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/cmd/kmsd/device"
	"github.com/raftkms/raftkms/hsm/soft"
)

func (a *app) relockCommand() *cobra.Command {
	var passphrase, unlockKey string
	cmd := &cobra.Command{
		Use:   "relock",
		Short: "Put a stopped node's embedded module under another passphrase or unlock key",
		Long: "Put the private key of a stopped node's embedded module under another passphrase or unlock key. The node's configuration\n" +
			"says where the old one comes from; change it to the new one afterwards. Passphrases come from a file, credential:NAME, fd:N or\n" +
			"terminal, as with module.soft.passphrase_file. The root keys stay: a copy of the old private key file still opens with the old one.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.config == "" || (passphrase == "") == (unlockKey == "") {
				return misuse("give --config of the node, and either --passphrase-file or --unlock-key-file")
			}
			c, err := config.Load(a.config, os.Environ(), nil)
			if err != nil {
				return err
			}
			if c.Module.Kind != "soft" {
				return errors.New("the node has a device of its own, whose PINs are the vendor's: only the embedded module is relocked")
			}
			if conn, err := net.Dial("unix", c.Node.AdminSocket); err == nil {
				conn.Close()
				return errors.New("the node is running, and its module is its own: stop it first")
			}
			if err := c.CheckSecrets(os.Getenv("CREDENTIALS_DIRECTORY")); err != nil {
				return err
			}
			old, err := device.Soft(c)
			if err != nil {
				return err
			}
			to, line := soft.Third{UnlockKeyFile: unlockKey}, "module.soft.unlock_key_file: "+unlockKey
			if passphrase != "" {
				to, line = soft.Third{Passphrase: device.Passphrase(passphrase)}, "module.soft.passphrase_file: "+passphrase
			}
			if err := soft.Relock(cmd.Context(), old, to); err != nil {
				return err
			}
			return a.print(cmd, struct {
				Configure string `json:"configure"`
			}{line}, [][]string{{"relocked; the node's configuration must now say " + line}})
		},
	}
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "Where the new passphrase comes from: a file, credential:NAME, fd:N or terminal (asked for twice).")
	cmd.Flags().StringVar(&unlockKey, "unlock-key-file", "", "File of the new unlock key; made when missing.")
	return cmd
}
