package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client/admin"
)

func (a *app) membersCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "members",
		Short: "List the nodes of the cluster",
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
			return a.print(cmd, status.Members, memberRows(status.Members))
		},
	}
}

func (a *app) removeCommand() *cobra.Command {
	return a.nodeCommand("remove NODE", "Take a node out of the cluster, for good; to come back it starts empty, with a new token", "out of the cluster",
		func(ctx context.Context, s *admin.Socket, id string) error { return s.Remove(ctx, id) })
}

func (a *app) promoteCommand() *cobra.Command {
	return a.nodeCommand("promote NODE", "Let a standby have a vote", "a voter now",
		func(ctx context.Context, s *admin.Socket, id string) error { return s.Promote(ctx, id) })
}

func (a *app) demoteCommand() *cobra.Command {
	return a.nodeCommand("demote NODE", "Take the vote from a node, which goes on serving as a standby", "a standby now",
		func(ctx context.Context, s *admin.Socket, id string) error { return s.Demote(ctx, id) })
}

// nodeCommand is a command that does something to one node.
func (a *app) nodeCommand(use, short, done string, do func(ctx context.Context, s *admin.Socket, id string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  exactly("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			if err := do(cmd.Context(), s, args[0]); err != nil {
				return err
			}
			return a.print(cmd, map[string]string{"node_id": args[0]}, [][]string{{args[0] + " is " + done}})
		},
	}
}

func (a *app) transferCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "transfer-leader [NODE]",
		Short: "Hand leadership to a voter, or to the one that is furthest",
		Args:  atMostOne("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			to := ""
			if len(args) == 1 {
				to = args[0]
			}
			reply, err := s.TransferLeadership(cmd.Context(), to)
			if err != nil {
				return err
			}
			return a.print(cmd, reply, [][]string{{reply.Leader + " leads now"}})
		},
	}
}
