package main

import (
	"github.com/spf13/cobra"
)

func (a *app) rotateGossipCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-gossip-key",
		Short: "Replace the key with which nodes find one another",
		Long: `Replace the key with which nodes find one another. Nothing stops meanwhile. A node that does not answer takes the
new key when it is back. The key protects no secret of a client: whoever has it can tell nodes wrong addresses.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			reply, err := s.RotateGossipKey(cmd.Context())
			if err != nil {
				return err
			}
			said := "the gossip key is another one now"
			if reply.Resumed {
				said = "the rotation that had been begun is done: " + said
			}
			rows := [][]string{{said}}
			for _, node := range reply.Behind {
				rows = append(rows, []string{node.NodeID + " takes it when it is back: " + node.Problem})
			}
			return a.print(cmd, reply, rows)
		},
	}
}
