package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

// lifeCommands are what is done to a key beyond enabling and disabling it.
func (a *app) lifeCommands() []*cobra.Command {
	change := a.changeCommand
	return []*cobra.Command{
		change("rename KEY NAME", "Give a key another name", func(ctx context.Context, c *client.Client, args []string) error {
			return c.RenameKey(ctx, args[0], args[1])
		}, "KEY", "NAME"),
		change("describe-as KEY TEXT", "Give a key another description", func(ctx context.Context, c *client.Client, args []string) error {
			return c.DescribeAs(ctx, args[0], args[1])
		}, "KEY", "TEXT"),
		a.deleteKeyCommand(),
		change("cancel-deletion KEY", "Bring a key back that waits for its deletion; it is Disabled then, or PendingImport", func(ctx context.Context, c *client.Client, args []string) error {
			return c.CancelDeletion(ctx, args[0])
		}, "KEY"),
		change("protect KEY", "Refuse the deletion of a key until it is unprotected", func(ctx context.Context, c *client.Client, args []string) error {
			return c.ProtectKey(ctx, args[0], true)
		}, "KEY"),
		change("unprotect KEY", "Let the deletion of a key be scheduled again", func(ctx context.Context, c *client.Client, args []string) error {
			return c.ProtectKey(ctx, args[0], false)
		}, "KEY"),
		change("rotate KEY", "Add a version to a key now", func(ctx context.Context, c *client.Client, args []string) error {
			return c.RotateKey(ctx, args[0])
		}, "KEY"),
		a.versionsCommand(), a.verifyErasureCommand(),
		group("rotation", "Have keys rotated by themselves",
			change("enable KEY DAYS", "Rotate a key every 30 to 365 days", func(ctx context.Context, c *client.Client, args []string) error {
				return withDays(args[1], func(days int) error { return c.EnableRotation(ctx, args[0], days) })
			}, "KEY", "DAYS"),
			change("interval KEY DAYS", "Change the days; a new period begins", func(ctx context.Context, c *client.Client, args []string) error {
				return withDays(args[1], func(days int) error { return c.SetRotationInterval(ctx, args[0], days) })
			}, "KEY", "DAYS"),
			change("disable KEY", "Rotate a key no more; its versions stay", func(ctx context.Context, c *client.Client, args []string) error {
				return c.DisableRotation(ctx, args[0])
			}, "KEY"),
			a.rotationStatusCommand()),
		group("alias", "Further names of keys",
			change("create KEY ALIAS", "Give a key one more name", func(ctx context.Context, c *client.Client, args []string) error {
				return c.CreateAlias(ctx, args[0], args[1])
			}, "KEY", "ALIAS"),
			change("point ALIAS KEY", "Point an alias at another key", func(ctx context.Context, c *client.Client, args []string) error {
				return c.AssociateAlias(ctx, args[0], args[1])
			}, "ALIAS", "KEY"),
			change("delete KEY ALIAS", "Take an alias from a key", func(ctx context.Context, c *client.Client, args []string) error {
				return c.DeleteAliases(ctx, args[0], args[1])
			}, "KEY", "ALIAS"),
			a.listAliasesCommand()),
	}
}

// changeCommand does something and shows that it was done.
func (a *app) changeCommand(use, short string, do func(ctx context.Context, c *client.Client, args []string) error, names ...string) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: exactly(names...), RunE: func(cmd *cobra.Command, args []string) error {
		return a.withClient(func(c *client.Client) error {
			if err := do(cmd.Context(), c, args); err != nil {
				return err
			}
			return a.print(cmd, struct{}{}, [][]string{{"done"}})
		})
	}}
}

func withDays(text string, do func(days int) error) error {
	days, err := strconv.Atoi(text)
	if err != nil {
		return misuse("%q is no number of days", text)
	}
	return do(days)
}

func (a *app) deleteKeyCommand() *cobra.Command {
	var days int
	cmd := &cobra.Command{
		Use:   "delete KEY",
		Short: "Take a key out of use now, and delete it for good after some days",
		Long: "Take a key out of use now, on every node at once, and delete it for good after some days.\n" +
			"What it has encrypted can never be decrypted after that. Until then `kmsctl key cancel-deletion` brings it back.",
		Args: exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				if err := c.ScheduleDeletion(cmd.Context(), args[0], days); err != nil {
					return err
				}
				// An alias leads to the key as long as it exists.
				k, err := c.DescribeKey(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(cmd, k, [][]string{{"the key is deleted at " + k.Deletion.Format(time.RFC3339)}})
			})
		},
	}
	cmd.Flags().IntVar(&days, "days", 7, "Days until it is deleted, 7 to 1096.")
	return cmd
}

func (a *app) versionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "versions KEY", Short: "Show the versions of a key, newest first", Args: exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				versions, err := c.ListVersions(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				rows := [][]string{{"VERSION", "PRIMARY", "CREATED", "LAST USED"}}
				for _, v := range versions {
					rows = append(rows, []string{strconv.Itoa(v.Number), strconv.FormatBool(v.Primary), v.Created.Format(time.RFC3339), known(v.LastUsed)})
				}
				return a.print(cmd, versions, rows)
			})
		},
	}
}

func (a *app) rotationStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status KEY", Short: "Show how a key is rotated", Args: exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				r, err := c.RotationOf(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(cmd, r, [][]string{
					{"ENABLED", strconv.FormatBool(r.Enabled)}, {"EVERY", fmt.Sprintf("%d days", r.Days)},
					{"LAST", known(r.Last)}, {"ROTATIONS", strconv.Itoa(r.Count)},
				})
			})
		},
	}
}

func (a *app) listAliasesCommand() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "list", Short: "Show the aliases of a key, or all", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				aliases, err := c.ListAliases(cmd.Context(), key)
				if err != nil {
					return err
				}
				rows := [][]string{{"ALIAS", "KEY", "CREATED", "UPDATED"}}
				for _, x := range aliases {
					rows = append(rows, []string{x.Name, x.KeyID, x.Created.Format(time.RFC3339), x.Updated.Format(time.RFC3339)})
				}
				return a.print(cmd, aliases, rows)
			})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "Only those of this key.")
	return cmd
}

// known is a time, or a dash where there is none.
func known(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Format(time.RFC3339)
}
