package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
)

// credentialsDirectory is where systemd puts the service's credentials.
func credentialsDirectory() string { return os.Getenv("CREDENTIALS_DIRECTORY") }

// loadConfig reads the configuration of a command that has the config flags.
func loadConfig(cmd *cobra.Command) (*config.Config, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, err
	}
	c, err := config.Load(file, os.Environ(), cmd.Flags())
	if err != nil {
		return nil, err
	}
	return c, c.CheckSecrets(credentialsDirectory())
}

// addConfigFlags gives a command --config and a flag for every setting.
func addConfigFlags(cmd *cobra.Command) {
	cmd.Flags().String("config", "", "YAML file of the node's configuration; without one, the environment and flags alone count.")
	config.AddFlags(cmd.Flags())
}

func newConfig() *cobra.Command {
	check := &cobra.Command{
		Use:   "check",
		Short: "Print the configuration that kmsd serve would use, or what is wrong with it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			text, err := c.YAML()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	addConfigFlags(check)
	parent := &cobra.Command{Use: "config", Short: "Look at the configuration", Args: cobra.NoArgs, RunE: showHelp}
	parent.AddCommand(check)
	return parent
}
