package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

// grantCommands are leave to use a key.
func (a *app) grantCommands() *cobra.Command {
	return group("grant", "Let others use a key",
		a.createGrantCommand(),
		&cobra.Command{Use: "list KEY", Short: "Show the grants on a key, the oldest first", Args: exactly("KEY"), RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error {
				grants, err := c.ListGrants(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printGrants(cmd, grants)
			})
		}},
		&cobra.Command{Use: "list-retirable", Short: "Show the grants that you may retire, on whatever key", Args: exactly(), RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				grants, err := c.ListRetirableGrants(cmd.Context())
				if err != nil {
					return err
				}
				return a.printGrants(cmd, grants)
			})
		}},
		a.endGrantCommand("revoke", "Take a grant back, on every node at once", (*client.Client).RevokeGrant),
		a.endGrantCommand("retire", "Give up a grant that you made, have, or are named in", (*client.Client).RetireGrant))
}

func (a *app) createGrantCommand() *cobra.Command {
	var g client.NewGrant
	account := ""
	cmd := &cobra.Command{
		Use:   "create KEY",
		Short: "Let a user or an account use a key, and show the grant's id",
		Args:  exactly("KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case (g.Grantee == "") == (account == ""):
				return misuse("to whom? Give --to or --to-account")
			case len(g.Operations) == 0:
				return misuse("what may they do? Give --allow, as in --allow create-datakey,decrypt-datakey")
			case account != "":
				g.Grantee, g.ToAccount = account, true
			}
			g.Key = args[0]
			return a.withClient(func(c *client.Client) error {
				id, err := c.CreateGrant(cmd.Context(), g)
				if err != nil {
					return err
				}
				return a.print(cmd, map[string]string{"id": id}, [][]string{{id}})
			})
		},
	}
	cmd.Flags().StringVar(&g.Grantee, "to", "", "Id of the user who may.")
	cmd.Flags().StringVar(&account, "to-account", "", "Id of the account whose users may.")
	cmd.Flags().StringSliceVar(&g.Operations, "allow", nil, "Operations, separated by commas: create-datakey, encrypt-datakey, decrypt-datakey, encrypt-data, decrypt-data, describe-key, sign, verify …")
	cmd.Flags().StringVar(&g.Retiring, "retiring", "", "Id of a user or an account who may retire it, too.")
	cmd.Flags().StringVar(&g.Name, "name", "", "A name for people.")
	return cmd
}

func (a *app) endGrantCommand(verb, short string, end func(c *client.Client, ctx context.Context, key, id string) error) *cobra.Command {
	return &cobra.Command{Use: verb + " KEY GRANT", Short: short, Args: exactly("KEY", "GRANT"), RunE: func(cmd *cobra.Command, args []string) error {
		return a.withClient(func(c *client.Client) error {
			if err := end(c, cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			return a.print(cmd, map[string]string{"key": args[0], "grant": args[1]}, [][]string{{"done"}})
		})
	}}
}

func (a *app) printGrants(cmd *cobra.Command, grants []client.Grant) error {
	rows := [][]string{{"GRANT", "KEY", "NAME", "TO", "GRANTEE", "OPERATIONS", "ISSUER", "CREATED"}}
	for _, g := range grants {
		to := "user"
		if g.ToAccount {
			to = "account"
		}
		rows = append(rows, []string{g.ID, g.KeyID, g.Name, to, g.Grantee, strings.Join(g.Operations, ","), g.Issuer, g.Created.Format(time.RFC3339)})
	}
	return a.print(cmd, grants, rows)
}
