package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) userCommands() *cobra.Command {
	one := []string{"USER"}
	password := a.passwordCommand()
	return group("user", "Users of the account", a.createUserCommand(), a.listUsersCommand(), a.showUserCommand(), a.updateUserCommand(), password,
		a.ownPasswordCommand(), a.totpCommands(),
		a.doCommand("unlock", "End a lock after too many wrong passwords", "unlocked", one, func(ctx context.Context, i client.Identities, args []string) error {
			id, err := userID(ctx, i, args[0])
			if err != nil {
				return err
			}
			return i.UnlockUser(ctx, id)
		}),
		a.doCommand("delete", "Remove a user with its access keys, on every node at once", "deleted", one, func(ctx context.Context, i client.Identities, args []string) error {
			id, err := userID(ctx, i, args[0])
			if err != nil {
				return err
			}
			return i.DeleteUser(ctx, id)
		}))
}

func (a *app) createUserCommand() *cobra.Command {
	var u wire.NewUser
	var file string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a user, who may do nothing yet, and show its id", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u.Name = args[0]
			if file != "" {
				password, err := readSecret(cmd, file)
				if err != nil {
					return err
				}
				u.Password = wire.SecretString(password)
			}
			return a.withIdentities(func(i client.Identities) error {
				made, err := i.CreateUser(cmd.Context(), u)
				if err != nil {
					return err
				}
				return a.print(cmd, made, [][]string{{made.ID}})
			})
		},
	}
	cmd.Flags().StringVar(&u.Description, "description", "", "Who it is.")
	cmd.Flags().StringVar(&u.Service, "service", "", "Service whose own identity it is: obs, evs, …")
	cmd.Flags().StringVar(&file, "password-file", "", "File with the password, - is standard input; without it the user has none.")
	return cmd
}

func (a *app) listUsersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the users of the account", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withIdentities(func(i client.Identities) error {
				users, err := i.Users(cmd.Context(), "")
				if err != nil {
					return err
				}
				return a.print(cmd, users, userRows(users))
			})
		},
	}
}

func userRows(users []client.User) [][]string {
	rows := [][]string{{"ID", "NAME", "STATE", "PASSWORD", "LOCKED UNTIL", "DESCRIPTION"}}
	for _, u := range users {
		rows = append(rows, []string{u.ID, u.Name, onState(u.Enabled), strconv.FormatBool(u.HasPassword), u.LockedUntil, u.Description})
	}
	return rows
}

func (a *app) showUserCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show USER", Short: "Show a user, its groups and what holds for it", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withIdentities(func(i client.Identities) error {
				id, err := userID(cmd.Context(), i, args[0])
				if err != nil {
					return err
				}
				u, err := i.User(cmd.Context(), id)
				if err != nil {
					return err
				}
				groups, err := i.GroupsOf(cmd.Context(), id)
				if err != nil {
					return err
				}
				assigned, err := i.Assignments(cmd.Context(), client.Holder{UserID: id})
				if err != nil {
					return err
				}
				rows := [][]string{
					{"ID", u.ID}, {"NAME", u.Name}, {"DESCRIPTION", u.Description}, {"SERVICE", u.Service}, {"STATE", onState(u.Enabled)},
					{"PASSWORD", strconv.FormatBool(u.HasPassword)}, {"SECOND FACTOR", strconv.FormatBool(u.HasMFA)}, {"LOCKED UNTIL", u.LockedUntil},
				}
				for _, g := range groups {
					rows = append(rows, []string{"GROUP", g.Name})
				}
				for _, as := range assigned {
					rows = append(rows, []string{"POLICY", as.Role.Name, placeOf(as)})
				}
				return a.print(cmd, map[string]any{"user": u, "groups": groups, "assignments": assigned}, rows)
			})
		},
	}
}

func (a *app) updateUserCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "update USER", Short: "Rename, describe, enable or disable a user", Args: exactly("USER")}
	changes := changesOf(cmd, true, true)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := changes()
		if err != nil {
			return err
		}
		return a.withIdentities(func(i client.Identities) error {
			id, err := userID(cmd.Context(), i, args[0])
			if err != nil {
				return err
			}
			u, err := i.UpdateUser(cmd.Context(), id, c)
			if err != nil {
				return err
			}
			return a.print(cmd, u, userRows([]client.User{u}))
		})
	}
	return cmd
}

func (a *app) passwordCommand() *cobra.Command {
	var none bool
	cmd := &cobra.Command{
		Use: "set-password USER", Short: "Give a user the password on standard input, and end its tokens", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			password := noSecret
			if !none {
				var err error
				if password, err = readSecret(cmd, "-"); err != nil {
					return err
				}
				if password == noSecret {
					return misuse("standard input has no password; --none takes it away")
				}
			}
			return a.withIdentities(func(i client.Identities) error {
				id, err := userID(cmd.Context(), i, args[0])
				if err != nil {
					return err
				}
				if err := i.SetPassword(cmd.Context(), id, password); err != nil {
					return err
				}
				return a.print(cmd, map[string]string{"user": id}, [][]string{{"password set: " + args[0]}})
			})
		},
	}
	cmd.Flags().BoolVar(&none, "none", false, "Take the password away: access keys and those who vouch for the user stay.")
	return cmd
}

func (a *app) ownPasswordCommand() *cobra.Command {
	var old, fresh string
	cmd := &cobra.Command{
		Use: "change-password ID", Short: "Change one's own password, by one's own id", Args: exactly("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if old == "" || fresh == "" || old == "-" && fresh == "-" {
				return misuse("give --old-password-file and --new-password-file; one of them may be -")
			}
			before, err := readSecret(cmd, old)
			if err != nil {
				return err
			}
			after, err := readSecret(cmd, fresh)
			if err != nil {
				return err
			}
			return a.withIdentities(func(i client.Identities) error {
				if err := i.ChangePassword(cmd.Context(), args[0], before, after); err != nil {
					return err
				}
				return a.print(cmd, struct{}{}, [][]string{{"password changed"}})
			})
		},
	}
	cmd.Flags().StringVar(&old, "old-password-file", "", "File with the password as it is.")
	cmd.Flags().StringVar(&fresh, "new-password-file", "", "File with the new one.")
	return cmd
}

func (a *app) groupCommands() *cobra.Command {
	member := []string{"GROUP", "USER"}
	both := func(do func(i client.Identities, ctx context.Context, group, user string) error) func(context.Context, client.Identities, []string) error {
		return func(ctx context.Context, i client.Identities, args []string) error {
			group, err := groupID(ctx, i, args[0])
			if err != nil {
				return err
			}
			user, err := userID(ctx, i, args[1])
			if err != nil {
				return err
			}
			return do(i, ctx, group, user)
		}
	}
	return group("group", "Groups of the account", a.createGroupCommand(), a.listGroupsCommand(), a.groupMembersCommand(), a.updateGroupCommand(),
		a.doCommand("add", "Put a user into a group", "added", member, both(client.Identities.AddMember)),
		a.doCommand("remove", "Take a user out of a group, on every node at once", "removed", member, both(client.Identities.RemoveMember)),
		a.doCommand("delete", "Remove a group; its members lose what it gave them", "deleted", member[:1], func(ctx context.Context, i client.Identities, args []string) error {
			id, err := groupID(ctx, i, args[0])
			if err != nil {
				return err
			}
			return i.DeleteGroup(ctx, id)
		}))
}

func (a *app) createGroupCommand() *cobra.Command {
	var g wire.NewNamed
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a group and show its id", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			g.Name = args[0]
			return a.withIdentities(func(i client.Identities) error {
				made, err := i.CreateGroup(cmd.Context(), g)
				if err != nil {
					return err
				}
				return a.print(cmd, made, [][]string{{made.ID}})
			})
		},
	}
	cmd.Flags().StringVar(&g.Description, "description", "", "Who is in it.")
	return cmd
}

func (a *app) listGroupsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the groups of the account", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withIdentities(func(i client.Identities) error {
				groups, err := i.Groups(cmd.Context(), "")
				if err != nil {
					return err
				}
				return a.print(cmd, groups, groupRows(groups))
			})
		},
	}
}

func groupRows(groups []client.Group) [][]string {
	rows := [][]string{{"ID", "NAME", "DESCRIPTION"}}
	for _, g := range groups {
		rows = append(rows, []string{g.ID, g.Name, g.Description})
	}
	return rows
}

func (a *app) groupMembersCommand() *cobra.Command {
	return &cobra.Command{
		Use: "members GROUP", Short: "List the users in a group", Args: exactly("GROUP"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withIdentities(func(i client.Identities) error {
				id, err := groupID(cmd.Context(), i, args[0])
				if err != nil {
					return err
				}
				users, err := i.Members(cmd.Context(), id)
				if err != nil {
					return err
				}
				return a.print(cmd, users, userRows(users))
			})
		},
	}
}

func (a *app) updateGroupCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "update GROUP", Short: "Rename or describe a group", Args: exactly("GROUP")}
	changes := changesOf(cmd, true, false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := changes()
		if err != nil {
			return err
		}
		return a.withIdentities(func(i client.Identities) error {
			id, err := groupID(cmd.Context(), i, args[0])
			if err != nil {
				return err
			}
			g, err := i.UpdateGroup(cmd.Context(), id, c)
			if err != nil {
				return err
			}
			return a.print(cmd, g, groupRows([]client.Group{g}))
		})
	}
	return cmd
}
