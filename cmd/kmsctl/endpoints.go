package main

import (
	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/client"
)

func (a *app) endpointsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "endpoints",
		Short: "List the addresses of the nodes' API, as the API tells them to every client",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				nodes, err := c.Nodes(cmd.Context())
				if err != nil {
					return err
				}
				rows := [][]string{{"NODE", "URL"}}
				for _, n := range nodes {
					rows = append(rows, []string{n.ID, n.URL})
				}
				return a.print(cmd, nodes, rows)
			})
		},
	}
}
