package main

import (
	"strconv"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) upgradeCommands() *cobra.Command {
	return group("upgrade", "Follow and end a rolling upgrade", a.upgradeStatusCommand(), a.raiseLevelCommand())
}

func (a *app) upgradeStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show which version each node runs, and which feature levels it knows",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			status, err := s.Upgrade(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, status, upgradeRows(status))
		},
	}
}

func (a *app) raiseLevelCommand() *cobra.Command {
	var level uint32
	cmd := &cobra.Command{
		Use:   "raise",
		Short: "Let the cluster use what its nodes' new version can do, for good",
		Long: `Let the cluster use what its nodes' new version can do. Until then a node can be started with the version that it ran
before; after that no version can that does not know the new feature level. It is refused while a node does not know it.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			status, err := s.RaiseLevel(cmd.Context(), level)
			if err != nil {
				return err
			}
			return a.print(cmd, status, upgradeRows(status))
		},
	}
	cmd.Flags().Uint32Var(&level, "level", 0, "Feature level to take the cluster to; 0: the highest that all nodes know.")
	return cmd
}

func upgradeRows(s wire.UpgradeStatus) [][]string {
	number := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	rows := [][]string{{"LEVEL", number(s.Level)}, {"POSSIBLE", number(s.Possible)}, {"NODE", "VERSION", "LOWEST LEVEL", "HIGHEST LEVEL"}}
	for _, n := range s.Nodes {
		rows = append(rows, []string{n.NodeID, n.Version, number(n.Lowest), number(n.Highest)})
	}
	return rows
}
