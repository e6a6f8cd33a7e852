// Command kmsd is one node of a raftkms cluster (kmsd serve), and a whole
// cluster of processes on one machine for trying things out (kmsd dev).
//
// Every failure ends as one sentence on standard error and exit status 1, or 78
// (EX_CONFIG of sysexits.h) when the HSM refused the PIN.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/cmd/kmsd/timerslack"
	"github.com/raftkms/raftkms/hsm"
)

// version is set by the linker (-X main.version=...).
var version = "0.1.0-dev"

// featureLevel is the highest feature level that this program says it knows;
// empty: that of its source. A test of rolling upgrades has the linker set it
// (-X main.featureLevel=2) to have two programs that differ in nothing else.
var featureLevel string

// Exit statuses. A refused PIN has one of its own, so that a service manager does
// not start the node again with the same PIN until the token locks.
const (
	exitFailed = 1
	exitPIN    = 78
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		timerslack.Coarsen(timerslack.Slack)
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if err := harden(); err != nil {
		fmt.Fprintf(os.Stderr, "kmsd: %s\n", oneLine(err))
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// The first signal asks for a clean stop; a second one ends the process.
	context.AfterFunc(ctx, stop)

	root := newRoot()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "kmsd: %s\n", oneLine(err))
		if errors.Is(err, hsm.ErrPIN) {
			return exitPIN
		}
		return exitFailed
	}
	return 0
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "kmsd",
		Short:         "A node of a raftkms key management cluster",
		Args:          cobra.NoArgs,
		RunE:          showHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newServe(), newConfig(), newDev(), newVersion())
	return root
}

// showHelp makes a command that only groups others runnable, so that it refuses
// names that it does not know.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the program's version",
		Args:  cobra.NoArgs,
		Run:   func(cmd *cobra.Command, _ []string) { fmt.Fprintln(cmd.OutOrStdout(), "kmsd", version) },
	}
}

// oneLine puts joined errors behind one another.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
