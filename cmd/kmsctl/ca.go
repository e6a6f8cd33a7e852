package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) caCommands() *cobra.Command {
	return group("ca", "Replace the cluster's own CA, by which nodes know one another and clients know nodes",
		a.caStatusCommand(), a.caCertificatesCommand(),
		a.caStepCommand("rotate", "Make a new CA, which all nodes trust besides the old one", `Make a new CA, which all nodes trust besides the old one. Nothing else changes: it signs nothing yet. Give clients both
certificates next ("kmsctl cluster ca certificates"), then go on with "kmsctl cluster ca use". A node that is away holds the
rotation up until it is back, or is removed.`),
		a.caStepCommand("use", "Have the new CA sign, and all nodes take certificates of it, while they serve", `Have the new CA sign, and all nodes take certificates of it, without a restart. Both CAs stay trusted. It is refused while a
node does not trust the new CA, and names it. There is no way back from here, but to finish and to rotate once more.`),
		a.caStepCommand("finish", "Trust the old CA no more", `Trust the old CA no more: what it has signed is worth nothing from then on. It is refused while a node has no certificate of
the new one, and names it. Clients that were given only the old CA do not believe the nodes since "kmsctl cluster ca use".`),
		a.caStepCommand("abort", "Give up a new CA that does not sign yet", "Give up a new CA that does not sign yet: nodes trust the old one alone again."))
}

func (a *app) caStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show the CAs that are trusted, and how far each node is with them",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := a.caStatus(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, status, caRows(status))
		},
	}
}

func (a *app) caStatus(ctx context.Context) (wire.CAStatus, error) {
	s, err := a.admin()
	if err != nil {
		return wire.CAStatus{}, err
	}
	return s.CA(ctx)
}

func (a *app) caCertificatesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "certificates",
		Short: "Print the certificates of all CAs that are trusted, for clients (PEM)",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			status, err := a.caStatus(cmd.Context())
			if err != nil {
				return err
			}
			var rows [][]string
			for _, ca := range status.CAs {
				rows = append(rows, []string{strings.TrimSpace(ca.Certificate)})
			}
			return a.print(cmd, status.CAs, rows)
		},
	}
}

func (a *app) caStepCommand(step, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:   step,
		Short: short,
		Long:  long + "\n\nAsked again, it goes on with nodes that were behind.",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			status, err := s.RotateCA(cmd.Context(), step)
			if err != nil {
				return err
			}
			if err := a.print(cmd, status, caRows(status)); err != nil {
				return err
			}
			var behind []string
			for _, node := range status.Nodes {
				if node.Behind() {
					behind = append(behind, node.NodeID)
				}
			}
			if len(behind) > 0 {
				return fmt.Errorf("it is decided, and %s has not followed yet: start it, or take it out of the cluster, and ask again", strings.Join(behind, ", "))
			}
			return nil
		},
	}
}

func caRows(s wire.CAStatus) [][]string {
	rows := [][]string{{"STAGE", s.Stage}, {"CA", "ROLE", "VALID UNTIL"}}
	for _, ca := range s.CAs {
		rows = append(rows, []string{ca.Fingerprint, ca.Role, ca.NotAfter})
	}
	rows = append(rows, []string{"NODE", "TRUSTS ALL", "RENEWED", "PROBLEM"})
	for _, n := range s.Nodes {
		rows = append(rows, []string{n.NodeID, yesNo(n.Trusts), yesNo(n.Renewed), n.Problem})
	}
	return rows
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
