package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/hsm/doctor"
	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) clusterCommands() *cobra.Command {
	return group("cluster", "Set up and look at the cluster (admin socket; endpoints: API)",
		a.endpointsCommand(), a.initCommand(), a.consistencyCommand(), a.joinTokenCommand(), a.joinCommand(), a.statusCommand(),
		a.membersCommand(), a.removeCommand(), a.promoteCommand(), a.demoteCommand(), a.transferCommand(), a.rotateGossipCommand(), a.caCommands(), a.upgradeCommands(), a.snapshotCommands(), a.recoverCommand())
}

func (a *app) initCommand() *cobra.Command {
	var r wire.InitRequest
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Start a new cluster on a node without one, and show the first administrator's credentials, once",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			reply, err := s.Init(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.print(cmd, reply, [][]string{
				{"CLUSTER", reply.ClusterID},
				{"REGION", reply.Region},
				{"DOMAIN", reply.DomainName, reply.DomainID},
				{"PROJECT", reply.ProjectName, reply.ProjectID},
				{"USER", reply.UserName, reply.UserID},
				{"PASSWORD", reply.Password},
				{"ACCESS KEY", reply.AccessKey},
				{"SECRET KEY", reply.SecretKey},
				{"AWS ACCOUNT", reply.AWSAccountID},
				{"CA CERTIFICATE"},
				{strings.TrimSpace(reply.CACertificate)},
			})
		},
	}
	cmd.Flags().StringVar(&r.Region, "region", "region-1", "Name of the region and of the first project.")
	cmd.Flags().StringVar(&r.DomainName, "domain", "default", "Name of the first account.")
	cmd.Flags().StringVar(&r.UserName, "user", "admin", "Name of the first administrator.")
	return cmd
}

func (a *app) joinTokenCommand() *cobra.Command {
	var lifetime time.Duration
	cmd := &cobra.Command{
		Use:   "join-token",
		Short: "Make a token that admits one node, and show it, once",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			reply, err := s.JoinToken(cmd.Context(), lifetime)
			if err != nil {
				return err
			}
			return a.print(cmd, reply, [][]string{{reply.Token}})
		},
	}
	cmd.Flags().DurationVar(&lifetime, "lifetime", time.Hour, "How long the token is good, 1m to 24h.")
	return cmd
}

func (a *app) joinCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "join",
		Short: "Have a node without a cluster join the one that made a token",
		Long:  "Have a node without a cluster join the one that made a token. The token is read from a file or from standard input, never from the command line.",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			token, err := readInput(cmd, file)
			if err != nil {
				return err
			}
			if err := s.Join(cmd.Context(), strings.TrimSpace(string(token))); err != nil {
				return err
			}
			return a.print(cmd, struct{}{}, [][]string{
				{"joined; now compare `kmsctl root fingerprint` here with `kmsctl cluster status` of a member, and approve the root keys there"},
			})
		},
	}
	cmd.Flags().StringVar(&file, "token-file", "-", "File with the token; - is standard input.")
	return cmd
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what a node knows of itself and its cluster",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			status, err := s.Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.print(cmd, status, statusRows(status)); err != nil || a.output == "json" || len(status.Members) == 0 {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return a.print(cmd, status, memberRows(status.Members))
		},
	}
}

func statusRows(s wire.StatusReply) [][]string {
	rows := [][]string{
		{"NODE", s.NodeID},
		{"VERSION", s.Version},
		{"PHASE", s.Phase},
		{"READY", strconv.FormatBool(s.Ready)},
		{"MODULE", s.Module},
		{"ROOT KEYS", strconv.FormatBool(s.Roots)},
	}
	for _, m := range s.Modules {
		rows = append(rows, deviceRow(doctor.Device(m)))
	}
	if s.NotReady != "" {
		rows = append(rows, []string{"NOT READY", s.NotReady})
	}
	if s.Fingerprint != "" {
		rows = append(rows, []string{"FINGERPRINT", s.Fingerprint})
	}
	if s.ClusterID == "" {
		return rows
	}
	return append(rows, [][]string{
		{"CLUSTER", s.ClusterID},
		{"LEADER", s.Leader},
		{"TERM", strconv.FormatUint(s.Term, 10)},
		{"COMMIT", strconv.FormatUint(s.Commit, 10)},
		{"APPLIED", strconv.FormatUint(s.Applied, 10)},
		{"STATE HASH", s.StateHash},
	}...)
}

func memberRows(members []wire.MemberInfo) [][]string {
	rows := [][]string{{"MEMBER", "ROLE", "ALIVE", "ROOT KEYS", "CLOCK", "CLUSTER ADDRESS", "API", "FINGERPRINT"}}
	for _, m := range members {
		fingerprint := m.Fingerprint
		if m.RootsApproved {
			fingerprint = ""
		}
		rows = append(rows, []string{
			m.ID, m.Role, strconv.FormatBool(m.Alive), strconv.FormatBool(m.RootsApproved), clockText(m.ClockAheadMillis), m.ClusterAddress, m.APIURL, fingerprint,
		})
	}
	for _, m := range members {
		if m.Due != "" {
			rows = append(rows, []string{m.ID + " is " + m.Due})
		}
	}
	return rows
}

// clockText is how far a member's clock is off, to the second.
func clockText(aheadMillis *int64) string {
	if aheadMillis == nil {
		return "unknown"
	}
	ahead := (time.Duration(*aheadMillis) * time.Millisecond).Round(time.Second)
	switch {
	case ahead > 0:
		return ahead.String() + " fast"
	case ahead < 0:
		return ahead.Abs().String() + " slow"
	}
	return "right"
}
