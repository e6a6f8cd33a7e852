package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) accessKeyCommands() *cobra.Command {
	one := []string{"ACCESS-KEY"}
	enable := func(on bool) func(context.Context, client.Identities, []string) error {
		return func(ctx context.Context, i client.Identities, args []string) error {
			_, err := i.EnableAccessKey(ctx, args[0], on)
			return err
		}
	}
	return group("access-key", "Access keys of users", a.createAccessKeyCommand(), a.listAccessKeysCommand(),
		a.doCommand("enable", "Let an access key be used again", "enabled", one, enable(true)),
		a.doCommand("disable", "Refuse an access key, on every node at once", "disabled", one, enable(false)),
		a.doCommand("delete", "Remove an access key, on every node at once", "deleted", one, func(ctx context.Context, i client.Identities, args []string) error {
			return i.DeleteAccessKey(ctx, args[0])
		}))
}

func (a *app) createAccessKeyCommand() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use: "create USER", Short: "Give a user one more access key, and show its secret this once", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withIdentities(func(i client.Identities) error {
				id, err := userID(cmd.Context(), i, args[0])
				if err != nil {
					return err
				}
				k, err := i.CreateAccessKey(cmd.Context(), id, description)
				if err != nil {
					return err
				}
				return a.print(cmd, k, [][]string{{"ACCESS KEY", k.Access}, {"SECRET KEY", string(k.Secret)}})
			})
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "What it is for.")
	return cmd
}

func (a *app) listAccessKeysCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list USER", Short: "List the access keys of a user and when they were used last", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withIdentities(func(i client.Identities) error {
				id, err := userID(cmd.Context(), i, args[0])
				if err != nil {
					return err
				}
				keys, err := i.AccessKeys(cmd.Context(), id)
				if err != nil {
					return err
				}
				rows := [][]string{{"ACCESS KEY", "STATUS", "CREATED", "LAST USE", "DESCRIPTION"}}
				for _, k := range keys {
					rows = append(rows, []string{k.Access, k.Status, k.CreateTime, k.LastUseTime, k.Description})
				}
				return a.print(cmd, keys, rows)
			})
		},
	}
}

func (a *app) iamProjectCommands() *cobra.Command {
	var p wire.NewNamed
	create := &cobra.Command{
		Use: "create NAME", Short: "Make a project and show its id; clients know its name as a region's", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.Name = args[0]
			return a.withIdentities(func(i client.Identities) error {
				made, err := i.CreateProject(cmd.Context(), p)
				if err != nil {
					return err
				}
				return a.print(cmd, made, [][]string{{made.ID}})
			})
		},
	}
	create.Flags().StringVar(&p.Description, "description", "", "What it is for.")
	list := &cobra.Command{
		Use: "list", Short: "List the projects of the account", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withIdentities(func(i client.Identities) error {
				projects, err := i.Projects(cmd.Context(), "")
				if err != nil {
					return err
				}
				return a.print(cmd, projects, projectRows(projects))
			})
		},
	}
	update := &cobra.Command{Use: "update PROJECT", Short: "Describe, enable or disable a project", Args: exactly("PROJECT")}
	changes := changesOf(update, false, true)
	update.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := changes()
		if err != nil {
			return err
		}
		return a.withIdentities(func(i client.Identities) error {
			id, err := projectID(cmd.Context(), i, args[0])
			if err != nil {
				return err
			}
			changed, err := i.UpdateProject(cmd.Context(), id, c)
			if err != nil {
				return err
			}
			return a.print(cmd, changed, projectRows([]client.Project{changed}))
		})
	}
	return group("project", "Projects of the account", create, list, update,
		a.doCommand("delete", "Remove a project without keys", "deleted", []string{"PROJECT"}, func(ctx context.Context, i client.Identities, args []string) error {
			id, err := projectID(ctx, i, args[0])
			if err != nil {
				return err
			}
			return i.DeleteProject(ctx, id)
		}))
}

func projectRows(projects []client.Project) [][]string {
	rows := [][]string{{"ID", "NAME", "STATE", "DESCRIPTION"}}
	for _, p := range projects {
		rows = append(rows, []string{p.ID, p.Name, onState(p.Enabled), p.Description})
	}
	return rows
}

func (a *app) accountCommands() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the accounts", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withIdentities(func(i client.Identities) error {
				accounts, err := i.Accounts(cmd.Context(), "")
				if err != nil {
					return err
				}
				return a.print(cmd, accounts, accountRows(accounts))
			})
		},
	}
	update := &cobra.Command{Use: "update ACCOUNT", Short: "Rename, describe, enable or disable an account", Args: exactly("ACCOUNT")}
	changes := changesOf(update, true, true)
	update.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := changes()
		if err != nil {
			return err
		}
		return a.withIdentities(func(i client.Identities) error {
			id, err := accountID(cmd.Context(), i, args[0])
			if err != nil {
				return err
			}
			changed, err := i.UpdateAccount(cmd.Context(), id, c)
			if err != nil {
				return err
			}
			return a.print(cmd, changed, accountRows([]client.Account{changed}))
		})
	}
	return group("account", "Accounts of the cluster (for those of the first account who may)", a.createAccountCommand(), list, update,
		a.doCommand("delete", "Remove an account without keys, and all that is in it", "deleted", []string{"ACCOUNT"}, func(ctx context.Context, i client.Identities, args []string) error {
			id, err := accountID(ctx, i, args[0])
			if err != nil {
				return err
			}
			return i.DeleteAccount(ctx, id)
		}))
}

func accountRows(accounts []client.Account) [][]string {
	rows := [][]string{{"ID", "NAME", "STATE", "DESCRIPTION"}}
	for _, d := range accounts {
		rows = append(rows, []string{d.ID, d.Name, onState(d.Enabled), d.Description})
	}
	return rows
}

func (a *app) createAccountCommand() *cobra.Command {
	var r wire.CreateAccountRequest
	var file string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make an account with a project and an administrator, and show the administrator's secrets this once", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Domain.Name = args[0]
			if file != "" {
				password, err := readSecret(cmd, file)
				if err != nil {
					return err
				}
				r.Domain.Administrator.Password = wire.SecretString(password)
			}
			return a.withIdentities(func(i client.Identities) error {
				made, err := i.CreateAccount(cmd.Context(), r)
				if err != nil {
					return err
				}
				first := made.Administrator
				return a.print(cmd, made, [][]string{
					{"ACCOUNT", made.Domain.ID}, {"PROJECT", made.Project.ID, made.Project.Name}, {"USER", first.ID, first.Name},
					{"PASSWORD", string(first.Password)}, {"ACCESS KEY", first.Access}, {"SECRET KEY", string(first.Secret)},
				})
			})
		},
	}
	cmd.Flags().StringVar(&r.Domain.Description, "description", "", "Whose it is.")
	cmd.Flags().StringVar(&r.Domain.Administrator.Name, "user", "admin", "Name of its administrator.")
	cmd.Flags().StringVar(&file, "password-file", "", "File with the administrator's password, - is standard input; one is made when absent.")
	return cmd
}
