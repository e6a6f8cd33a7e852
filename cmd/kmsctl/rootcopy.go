package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) copyRootsCommand() *cobra.Command {
	var pinFile string
	cmd := &cobra.Command{
		Use:   "copy",
		Short: "Bring the root keys of a node with two HSMs from the one that holds them to the other",
		Long: "Bring the root keys of a node with two HSMs (module.second) from the one that holds them to the other: after the cluster\n" +
			"was founded, after a second HSM was named in the configuration, or after one was replaced. They go wrapped, from device\n" +
			"to device, and the other proves that it has them. Until then it cannot take over.\n\n" +
			"The security officer's PIN of the token that holds them is asked for, or read from a file.",
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			pin, err := officerPIN(cmd.Context(), s, pinFile)
			if err != nil {
				return err
			}
			defer clear(pin)
			reply, err := s.CopyRoots(cmd.Context(), wire.CopyRootsRequest{OfficerPIN: string(pin)})
			if err != nil {
				return err
			}
			rows := [][]string{}
			for _, c := range reply.Copied {
				rows = append(rows, []string{"the " + c.HSM + " HSM has got root keys", strconv.FormatUint(uint64(c.Generation), 10)})
			}
			if len(rows) == 0 {
				rows = append(rows, []string{"both HSMs held all root keys already"})
			}
			return a.print(cmd, reply, rows)
		},
	}
	officerPINFlag(cmd, &pinFile)
	return cmd
}
