// Command kmsctl is for people, operators and scripts: it sets up clusters
// over a node's admin socket, and uses keys over the API.
//
// Results go to standard output, as a table or (-o json) as JSON; errors to
// standard error. The exit status says what kind of error it was.
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

	"github.com/raftkms/raftkms/client"
)

// version is set by the linker (-X main.version=...).
var version = "0.1.0-dev"

// Exit statuses.
const (
	exitFailed      = 1 // refused, or failed
	exitUsage       = 2 // the command line is wrong
	exitUnavailable = 3 // no node could serve; trying again may help
	exitUnknown     = 4 // the outcome is unknown: look before trying again
)

const manual = `kmsctl sets up raftkms clusters and uses their keys.

Commands that look after nodes speak to a node's admin socket, as the user that kmsd runs as: cluster (but endpoints), root, hsm,
iam client-ca, iam oidc, audit verify, audit keys and key verify-erasure. Name it by --socket, or by --config with the node's
kmsd.yaml, or by RAFTKMS_SOCKET, or by --dev: a node of kmsd dev.

All others speak to the API with an access key: --dev with the dev.json of kmsd dev, or --url, --ca-file, --access-key,
--secret-key-file and --project; each has an environment variable (RAFTKMS_DEV, RAFTKMS_URL, RAFTKMS_CA_FILE, ...).

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no node could serve, 4 outcome unknown.`

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// The first signal asks for an end; a second one is the end of the process,
	// also while a call hangs in an HSM.
	context.AfterFunc(ctx, stop)
	err := newRoot().ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "kmsctl: %s\n", oneLine(err))
	}
	return exitStatus(err)
}

func exitStatus(err error) int {
	_, misused := errors.AsType[*usageError](err)
	switch {
	case err == nil:
		return 0
	case misused:
		return exitUsage
	case errors.Is(err, client.ErrOutcomeUnknown):
		return exitUnknown
	case errors.Is(err, client.ErrUnavailable):
		return exitUnavailable
	default:
		return exitFailed
	}
}

// usageError is a mistake on the command line.
type usageError struct{ cause error }

// Error returns the mistake.
func (u *usageError) Error() string { return u.cause.Error() }

// Unwrap returns the cause.
func (u *usageError) Unwrap() error { return u.cause }

func misuse(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// atMostOne wants an argument or none.
func atMostOne(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return misuse("expected at most one %s, but %d arguments given", name, len(args))
		}
		return nil
	}
}

// exactly wants n arguments and names them when there are others.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != len(names) {
			if len(names) == 0 {
				return misuse("no arguments are expected, but %d given", len(args))
			}
			return misuse("expected the arguments %v, but %d given", names, len(args))
		}
		return nil
	}
}

// unknownCommand is how a command that only groups others refuses a name.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misuse("unknown command %q for %q", args[0], cmd.CommandPath())
	}
	return cmd.Help()
}

func newRoot() *cobra.Command {
	a := new(app)
	root := &cobra.Command{
		Use: "kmsctl", Short: "Set up raftkms clusters and use their keys", Long: manual, Version: version,
		Args: cobra.ArbitraryArgs, RunE: unknownCommand,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.checkFlags() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	a.addFlags(root.PersistentFlags())
	root.AddCommand(a.clusterCommands(), a.rootCommands(), a.hsmCommands(), a.auditCommands(), a.keyCommands(), a.dataKeyCommands(),
		a.encryptCommand(), a.decryptCommand(), a.reEncryptCommand(), a.fileCommands(), a.signCommand(), a.verifySignatureCommand(), a.macCommand(), a.verifyMACCommand(), a.deriveCommand(),
		a.randomCommand(), a.quotaCommands(),
		a.iamCommands())
	return root
}

// group is a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: unknownCommand}
	g.AddCommand(commands...)
	return g
}

// oneLine puts joined errors behind one another.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
