// Command kmsbench measures how many data keys a raftkms cluster makes, and
// what each costs its servers.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker (-X main.version=...).
var version = "0.1.0-dev"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{
		Use: "kmsbench", Short: "Measure a raftkms cluster", Version: version, Args: cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true, SilenceUsage: true,
	}
	root.AddCommand(newRun(), newReport(), newDataKey(), newCompare(), newRatios(), newOverload(), newHSM(), newCluster(), newFixedServer())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "kmsbench: %s\n", oneLine(err))
		return 1
	}
	return 0
}

// oneLine puts joined errors behind one another.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
