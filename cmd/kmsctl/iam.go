package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func (a *app) iamCommands() *cobra.Command {
	return group("iam", "Say who may do what, and who may prove how who they are",
		a.userCommands(), a.groupCommands(), a.policyCommands(), a.assignCommands(), a.accessKeyCommands(),
		a.iamProjectCommands(), a.accountCommands(), a.explainCommand(), a.clientCACommands(), a.oidcCommands())
}

// withIdentities runs f with the administration of the caller's account.
func (a *app) withIdentities(f func(i client.Identities) error) error {
	return a.withClient(func(c *client.Client) error { return f(c.Identities()) })
}

// given is the text of a flag that was given, nil for one that was not.
func given(cmd *cobra.Command, flag string) *string {
	if f := cmd.Flags().Lookup(flag); f != nil && f.Changed {
		text := f.Value.String()
		return &text
	}
	return nil
}

var isID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// find returns the id of what a person calls by its name, or by its id.
func find[T any](ref, kind string, list func(name string) ([]T, error), id func(T) string) (string, error) {
	if isID.MatchString(ref) {
		return ref, nil
	}
	found, err := list(ref)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("the account has no %s %q", kind, ref)
	}
	return id(found[0]), nil
}

func userID(ctx context.Context, i client.Identities, ref string) (string, error) {
	return find(ref, "user", func(name string) ([]client.User, error) { return i.Users(ctx, name) }, func(u client.User) string { return u.ID })
}

func groupID(ctx context.Context, i client.Identities, ref string) (string, error) {
	return find(ref, "group", func(name string) ([]client.Group, error) { return i.Groups(ctx, name) }, func(g client.Group) string { return g.ID })
}

func projectID(ctx context.Context, i client.Identities, ref string) (string, error) {
	return find(ref, "project", func(name string) ([]client.Project, error) { return i.Projects(ctx, name) }, func(p client.Project) string { return p.ID })
}

func accountID(ctx context.Context, i client.Identities, ref string) (string, error) {
	return find(ref, "account", func(name string) ([]client.Account, error) { return i.Accounts(ctx, name) }, func(d client.Account) string { return d.ID })
}

func policyID(ctx context.Context, i client.Identities, ref string) (string, error) {
	return find(ref, "policy", func(name string) ([]client.Policy, error) { return i.Policies(ctx, name) }, func(p client.Policy) string { return p.ID })
}

// noSecret stands for a secret that is not wanted.
const noSecret = ""

// readSecret reads one line that is a secret, from a file or from standard
// input: a command line is for everybody on the machine to see.
func readSecret(cmd *cobra.Command, name string) (string, error) {
	text, err := readInput(cmd, name)
	if err != nil {
		return noSecret, err
	}
	defer clear(text)
	secret := strings.TrimRight(string(text), "\r\n")
	if strings.ContainsAny(secret, "\r\n") {
		return noSecret, misuse("the secret is more than one line")
	}
	return secret, nil
}

// onOff adds the flags by which something is enabled or disabled.
func onOff(cmd *cobra.Command) func() (*bool, error) {
	var on, off bool
	cmd.Flags().BoolVar(&on, "enable", false, "Let it be used again.")
	cmd.Flags().BoolVar(&off, "disable", false, "Refuse it on every node at once.")
	return func() (*bool, error) {
		switch {
		case on && off:
			return nil, misuse("--enable and --disable: give one")
		case on || off:
			return &on, nil
		default:
			return nil, nil
		}
	}
}

// changesOf adds the flags of a change and reads what is given of them.
func changesOf(cmd *cobra.Command, rename, disable bool) func() (client.Changes, error) {
	if rename {
		cmd.Flags().String("name", "", "Another name.")
	}
	cmd.Flags().String("description", "", "Another description.")
	enabled := func() (*bool, error) { return nil, nil }
	if disable {
		enabled = onOff(cmd)
	}
	return func() (client.Changes, error) {
		on, err := enabled()
		c := client.Changes{Name: given(cmd, "name"), Description: given(cmd, "description"), Enabled: on}
		if err == nil && c == (client.Changes{}) {
			err = misuse("nothing is to change: see --help")
		}
		return c, err
	}
}

func onState(enabled bool) string {
	if enabled {
		return "enabled"
	}
	return "disabled"
}

// doCommand is a command about one thing, by name or id, that answers with a
// word about what was done.
func (a *app) doCommand(use, short, done string, names []string, do func(ctx context.Context, i client.Identities, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " " + strings.Join(names, " "), Short: short, Args: exactly(names...),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withIdentities(func(i client.Identities) error {
				if err := do(cmd.Context(), i, args); err != nil {
					return err
				}
				return a.print(cmd, map[string]string{"done": done}, [][]string{{done + ": " + strings.Join(args, " ")}})
			})
		},
	}
}
