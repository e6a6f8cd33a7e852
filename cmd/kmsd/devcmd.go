package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/cmd/kmsd/dev"
)

func newDev() *cobra.Command {
	var o dev.Options
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a cluster on this machine, one process per node, for development and trial",
		Long: "Run a cluster on this machine, one process per node, for development and trial.\n\n" +
			"When all nodes are ready DIR/dev.json says how to reach them. The same DIR starts again with the same state\n" +
			"and credentials. Not for production: all nodes and all their secrets lie in one directory.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			executable, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program: %w", err)
			}
			o.Executable, o.Out = executable, cmd.OutOrStdout()
			return dev.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.Nodes, "nodes", 0, "Nodes, 1 to 7; what DIR holds, or 3.")
	cmd.Flags().StringVar(&o.Dir, "dir", ".dev", "Directory of the whole cluster.")
	cmd.Flags().StringVar(&o.Module, "module", "", "The nodes' HSM: soft or pkcs11 (SoftHSM2); what DIR holds, or soft.")
	cmd.Flags().StringVar(&o.PKCS11Library, "pkcs11-library", "", "SoftHSM2's library; found in the usual places when absent.")
	cmd.Flags().IntVar(&o.Port, "port", 0, "First port: node i uses PORT+10*(i-1) for the API and the next two for the cluster and gossip; what DIR holds, or 8440.")
	cmd.Flags().IntVar(&o.Calls, "calls", 0, "Calls that each node works on at once, its limits.calls; what DIR holds, or 1024.")
	cmd.Flags().BoolVar(&o.Demo, "demo", false, "Show the main job once the cluster is ready.")
	return cmd
}
