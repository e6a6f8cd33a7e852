package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

// pageSize is how many keys are asked for at once.
const pageSize = 100

func (a *app) keyCommands() *cobra.Command {
	return group("key", "Make and look after keys", append(append(a.lifeCommands(), a.importCommands()...), a.tagCommands(), a.grantCommands(),
		a.createKeyCommand(), a.describeKeyCommand(), a.listKeysCommand(), a.findKeysCommand(), a.publicKeyCommand(), a.certificateRequestCommand(),
		a.stateCommand("enable", "Let a disabled key be used again", (*client.Client).EnableKey, client.Enabled),
		a.stateCommand("disable", "Forbid every use of a key, on every node at once", (*client.Client).DisableKey, client.Disabled))...)
}

// withClient runs f with a client and closes it.
func (a *app) withClient(f func(c *client.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

func (a *app) createKeyCommand() *cobra.Command {
	var k client.NewKey
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a key and show its id",
		Args:  exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			k.Name = args[0]
			return a.withClient(func(c *client.Client) error {
				id, err := c.CreateKey(cmd.Context(), k)
				if err != nil {
					return err
				}
				return a.print(cmd, map[string]string{"id": id}, [][]string{{id}})
			})
		},
	}
	cmd.Flags().StringVar(&k.Origin, "origin", "", "kms, or external for material that is imported later; kms when absent.")
	addNewKeyFlags(cmd, &k)
	return cmd
}

// addNewKeyFlags gives a command the flags that shape a key of either origin.
func addNewKeyFlags(cmd *cobra.Command, k *client.NewKey) {
	cmd.Flags().StringVar(&k.Description, "description", "", "What the key is for, at most 255 characters.")
	cmd.Flags().StringVar(&k.Level, "protection-level", "", "HSM or SOFTWARE; what the cluster's modules are for when absent.")
	cmd.Flags().BoolVar(&k.Protected, "protect", false, "Refuse the deletion of the key until it is unprotected.")
	cmd.Flags().StringVar(&k.Spec, "spec", "", "Algorithm and size; AES_256 when absent.")
	cmd.Flags().StringVar(&k.Usage, "usage", "", "ENCRYPT_DECRYPT, SIGN_VERIFY, GENERATE_VERIFY_MAC or KEY_AGREEMENT; what the spec is for when absent.")
}

func (a *app) describeKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "describe KEY",
		Short: "Show a key, by its id or alias/NAME",
		Args:  exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				k, err := c.DescribeKey(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(cmd, k, [][]string{
					{"ID", k.ID}, {"NAME", k.Name}, {"DESCRIPTION", k.Description}, {"STATE", k.State.String()},
					{"SPEC", k.Spec}, {"USAGE", k.Usage}, {"ORIGIN", k.Origin}, {"CREATED", k.Created.Format(time.RFC3339)},
					{"DELETION", known(k.Deletion)}, {"MATERIAL EXPIRES", known(k.Expires)}, {"PROTECTED", strconv.FormatBool(k.Protected)}, {"LEVEL", k.Level}, {"ROTATED", strconv.FormatBool(k.Rotated)},
				})
			})
		},
	}
}

func (a *app) listKeysCommand() *cobra.Command {
	var o client.ListOptions
	var state string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the project's keys, newest first",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state != "" {
				states := []client.KeyState{client.Enabled, client.Disabled, client.PendingDeletion, client.PendingImport}
				at := slices.IndexFunc(states, func(s client.KeyState) bool { return s.String() == state })
				if at < 0 {
					return misuse("--state %q is none of %v", state, states)
				}
				o.State = states[at]
			}
			return a.withClient(func(c *client.Client) error {
				keys, err := allKeys(cmd.Context(), c, o)
				if err != nil {
					return err
				}
				return a.printKeys(cmd, keys)
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "Only keys in this state: Enabled, Disabled, PendingDeletion or PendingImport.")
	cmd.Flags().StringVar(&o.Spec, "spec", "", "Only keys of this spec.")
	return cmd
}

func (a *app) printKeys(cmd *cobra.Command, keys []client.Key) error {
	rows := [][]string{{"ID", "NAME", "STATE", "SPEC", "CREATED"}}
	for _, k := range keys {
		rows = append(rows, []string{k.ID, k.Name, k.State.String(), k.Spec, k.Created.Format(time.RFC3339)})
	}
	return a.print(cmd, keys, rows)
}

func allKeys(ctx context.Context, c *client.Client, o client.ListOptions) ([]client.Key, error) {
	keys := []client.Key{}
	o.Limit = pageSize
	for {
		page, err := c.ListKeys(ctx, o)
		if err != nil {
			return nil, err
		}
		keys = append(keys, page.Keys...)
		if page.Next <= o.Offset { // the last page
			return keys, nil
		}
		o.Offset = page.Next
	}
}

// stateCommand is enable or disable.
func (a *app) stateCommand(verb, short string, change func(*client.Client, context.Context, string) error, state client.KeyState) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " KEY",
		Short: short,
		Args:  exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				if err := change(c, cmd.Context(), args[0]); err != nil {
					return err
				}
				return a.print(cmd, map[string]any{"key": args[0], "state": state}, [][]string{{args[0], state.String()}})
			})
		},
	}
}
