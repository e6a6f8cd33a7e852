package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func (a *app) totpCommands() *cobra.Command {
	one := []string{"USER"}
	return group("totp", "Second factors: one-time codes by the time", a.enrolTOTPCommand(), a.confirmTOTPCommand(), a.removeTOTPCommand(), a.showTOTPCommand(),
		a.doCommand("reset", "Take away a second factor that a user has lost, and end the user's tokens", "reset", one, func(ctx context.Context, i client.Identities, args []string) error {
			id, err := userID(ctx, i, args[0])
			if err != nil {
				return err
			}
			return i.ResetMFA(ctx, id)
		}))
}

// loginFlags are who logs in by a password.
type loginFlags struct{ account, file, code string }

func (l *loginFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.account, "account", "", "Name of the account.")
	cmd.Flags().StringVar(&l.file, "password-file", "", "File with the password, - is standard input.")
	cmd.Flags().StringVar(&l.code, "code", "", "One-time code of the second factor that counts by now, if there is one.")
}

// loggedIn runs f as the user of that name, who has shown their password.
func (a *app) loggedIn(cmd *cobra.Command, l loginFlags, user string, f func(i client.Identities, id string) error) error {
	if l.account == "" || l.file == "" {
		return misuse("who asks? Give --account and --password-file")
	}
	password, err := readSecret(cmd, l.file)
	if err != nil {
		return err
	}
	cfg, err := a.reach()
	if err != nil {
		return err
	}
	token, id, err := client.RequestToken(cmd.Context(), cfg, client.Login{Account: l.account, User: user, Password: password, Code: l.code})
	if err != nil {
		return err
	}
	cfg.Token = func(context.Context) (string, error) { return token, nil }
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c.Identities(), id)
}

func (a *app) enrolTOTPCommand() *cobra.Command {
	var l loginFlags
	cmd := &cobra.Command{
		Use: "enrol USER", Short: "Hand oneself a second factor and show its secret, this once; it counts when it is confirmed", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.loggedIn(cmd, l, args[0], func(i client.Identities, id string) error {
				d, err := i.EnrolMFA(cmd.Context(), id, "kmsctl")
				if err != nil {
					return err
				}
				shown := map[string]string{"user_id": d.UserID, "serial_number": d.SerialNumber, "base32_string_seed": string(d.Seed), "uri": string(d.URI)}
				return a.print(cmd, shown, [][]string{{"SERIAL", d.SerialNumber}, {"SECRET", string(d.Seed)}, {"URI", string(d.URI)}})
			})
		},
	}
	l.add(cmd)
	return cmd
}

func (a *app) confirmTOTPCommand() *cobra.Command {
	var l loginFlags
	cmd := &cobra.Command{
		Use: "confirm USER SERIAL CODE", Short: "Have the second factor that was handed out count, by a code of it", Args: exactly("USER", "SERIAL", "CODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.loggedIn(cmd, l, args[0], func(i client.Identities, id string) error {
				if err := i.BindMFA(cmd.Context(), id, args[1], args[2]); err != nil {
					return err
				}
				return a.print(cmd, map[string]string{"serial_number": args[1]}, [][]string{{"confirmed: " + args[1]}})
			})
		},
	}
	l.add(cmd)
	return cmd
}

func (a *app) removeTOTPCommand() *cobra.Command {
	return a.doCommand("remove", "Take one's own second factor away, by one's own id and a code", "removed", []string{"ID", "CODE"}, func(ctx context.Context, i client.Identities, args []string) error {
		return i.UnbindMFA(ctx, args[0], args[1])
	})
}

func (a *app) showTOTPCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show USER", Short: "Show whether a user has a second factor, and since when", Args: exactly("USER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withIdentities(func(i client.Identities) error {
				id, err := userID(cmd.Context(), i, args[0])
				if err != nil {
					return err
				}
				d, err := i.MFA(cmd.Context(), id)
				if err != nil {
					return err
				}
				return a.print(cmd, d, [][]string{{"SERIAL", d.SerialNumber}, {"SINCE", d.ConfirmTime}})
			})
		},
	}
}
