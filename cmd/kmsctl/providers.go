package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/server/wire"
)

// providerCommands are about one kind of those who vouch for users.
func (a *app) providerCommands(kind, about string, add *cobra.Command) *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List them, with the names they vouch for", Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			reply, err := s.Providers(cmd.Context())
			if err != nil {
				return err
			}
			kept := []wire.Provider{}
			rows := [][]string{{"NAME", "ACCOUNT", "BY NAME", "ISSUER", "IDENTITY", "USER"}}
			for _, p := range reply.Providers {
				if p.Kind != kind {
					continue
				}
				kept = append(kept, p)
				rows = append(rows, []string{p.ID, p.Domain, strconv.FormatBool(p.ByName), p.Issuer})
				for _, b := range p.Bindings {
					rows = append(rows, []string{"", "", "", "", b.Name, b.User})
				}
			}
			return a.print(cmd, kept, rows)
		},
	}
	remove := &cobra.Command{
		Use: "remove NAME", Short: "Believe it no longer, on any node", Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			if err := s.RemoveProvider(cmd.Context(), args[0]); err != nil {
				return err
			}
			return a.print(cmd, struct{}{}, [][]string{{"removed: " + args[0]}})
		},
	}
	bind := &cobra.Command{
		Use: "bind NAME IDENTITY USER", Short: "Say which user an identity is", Args: exactly("NAME", "IDENTITY", "USER"),
		Long: "Say which user an identity is: uri:…, dns:… or email:… of a client certificate, or the value of an OIDC token's user claim.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			if err := s.Bind(cmd.Context(), wire.Binding{Provider: args[0], Name: args[1], User: args[2]}); err != nil {
				return err
			}
			return a.print(cmd, struct{}{}, [][]string{{args[1] + " is " + args[2]}})
		},
	}
	unbind := &cobra.Command{
		Use: "unbind NAME IDENTITY", Short: "Take that back", Args: exactly("NAME", "IDENTITY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			if err := s.Unbind(cmd.Context(), args[0], args[1]); err != nil {
				return err
			}
			return a.print(cmd, struct{}{}, [][]string{{args[1] + " is nobody"}})
		},
	}
	return group(kind, about, add, list, remove, bind, unbind)
}

func (a *app) clientCACommands() *cobra.Command {
	p := wire.Provider{Kind: wire.ProviderClientCA}
	var file string
	add := a.addProviderCommand(&p, "Believe a CA about the client certificates of an account's users", func(cmd *cobra.Command) error {
		certificate, err := readInput(cmd, file)
		p.Certificate = string(certificate)
		return err
	})
	add.Flags().StringVar(&file, "file", "-", "PEM file of the CA's certificate; - is standard input.")
	return a.providerCommands(wire.ProviderClientCA, "CAs whose client certificates stand for users (admin socket)", add)
}

func (a *app) oidcCommands() *cobra.Command {
	p := wire.Provider{Kind: wire.ProviderOIDC}
	var file, ca string
	add := a.addProviderCommand(&p, "Believe an OIDC issuer about an account's users", func(cmd *cobra.Command) error {
		if ca != "" {
			certificate, err := readInput(cmd, ca)
			if err != nil {
				return err
			}
			p.Certificate = string(certificate)
		}
		if file == "" {
			return nil
		}
		keys, err := readInput(cmd, file)
		p.KeySet = string(keys)
		return err
	})
	add.Flags().StringVar(&p.Issuer, "issuer", "", "https URL of the issuer, as its tokens say it.")
	add.Flags().StringVar(&p.Audience, "audience", "", "Audience that its tokens must be for.")
	add.Flags().StringVar(&p.UserClaim, "user-claim", "sub", "Claim that names the user.")
	add.Flags().StringVar(&p.GroupsClaim, "groups-claim", "", "Claim with names of groups of the account that its user is in as well, while the token lasts; none when absent.")
	add.Flags().StringVar(&ca, "ca-file", "", "PEM file of the CA of the issuer's own certificate, where the system does not know it.")
	add.Flags().StringVar(&file, "jwks-file", "", "JWKS file of its keys, for clusters that cannot reach it; fetched from the issuer when absent.")
	return a.providerCommands(wire.ProviderOIDC, "OIDC issuers whose bearer tokens stand for users (admin socket)", add)
}

func (a *app) addProviderCommand(p *wire.Provider, short string, read func(cmd *cobra.Command) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: "add NAME", Short: short, Args: exactly("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			if err := read(cmd); err != nil {
				return err
			}
			p.ID = args[0]
			if err := s.AddProvider(cmd.Context(), *p); err != nil {
				return err
			}
			return a.print(cmd, struct{}{}, [][]string{{"added: " + p.ID}})
		},
	}
	cmd.Flags().StringVar(&p.Domain, "domain", "default", "Account whose users it may vouch for.")
	cmd.Flags().BoolVar(&p.ByName, "by-name", false, "Whether a name that is bound to nobody is the user's of that name.")
	return cmd
}
