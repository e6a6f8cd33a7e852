package main

import (
	"encoding/hex"
	"encoding/pem"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func (a *app) deriveCommand() *cobra.Command {
	var version int
	cmd := &cobra.Command{
		Use:   "derive KEY PEER",
		Short: "Agree on a secret with a peer, whose public key is in a file (PEM or DER; - is standard input), and show it in hex",
		Long: "Agree on a secret with a peer by elliptic curve Diffie-Hellman, with a key whose usage is KEY_AGREEMENT. PEER is a file with the\n" +
			"peer's public key on the same curve, in PEM or DER; - is standard input. The secret is shown in hex: derive keys from it, and do\n" +
			"not use it as one.",
		Args: exactly("KEY", "PEER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			peer, err := readInput(cmd, args[1])
			if err != nil {
				return err
			}
			if block, _ := pem.Decode(peer); block != nil {
				if block.Type != "PUBLIC KEY" {
					return misuse("%s holds a %q, not a PUBLIC KEY", args[1], block.Type)
				}
				peer = block.Bytes
			}
			return a.withClient(func(c *client.Client) error {
				secret, err := c.DeriveSharedSecret(cmd.Context(), args[0], peer, version)
				if err != nil {
					return err
				}
				defer clear(secret)
				text := hex.EncodeToString(secret)
				return a.print(cmd, map[string]string{"secret": text}, [][]string{{text}})
			})
		},
	}
	addVersionFlag(cmd, &version)
	return cmd
}
