package main

import "github.com/spf13/cobra"

func (a *app) auditCommands() *cobra.Command {
	return group("audit", "Look at traces and check them", a.searchTracesCommand(), a.tailTracesCommand(), a.verifyCommand(), a.traceKeysCommand())
}
