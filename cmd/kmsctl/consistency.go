package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/server/wire"
)

func (a *app) consistencyCommand() *cobra.Command {
	var maxAge time.Duration
	cmd := &cobra.Command{
		Use:   "consistency [lease|strict|available]",
		Short: "Show or change what uses of keys are answered from",
		Long: `Show or change what uses of keys are answered from, in the whole cluster. Management is linearizable in every mode.

  lease      linearizable; a node answers without a round trip while it holds a serving lease (the default)
  strict     linearizable, on hosts whose clocks cannot be relied on; each use waits for a round trip
  available  as lease, but a node without contact goes on with a state up to --max-age old, and says how old
             in X-Raftkms-State-Age. A revocation is then final only after that time.`,
		Args:      atMostOne("mode"),
		ValidArgs: []string{"lease", "strict", "available"},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.admin()
			if err != nil {
				return err
			}
			var now wire.Consistency
			if len(args) == 0 {
				if cmd.Flags().Changed("max-age") {
					return misuse("--max-age goes with a mode")
				}
				now, err = s.Consistency(cmd.Context())
			} else {
				now, err = s.SetConsistency(cmd.Context(), wire.Consistency{Mode: args[0], MaxAgeMillis: maxAge.Milliseconds()})
			}
			if err != nil {
				return err
			}
			rows := [][]string{{"CONSISTENCY", now.Mode}}
			if now.MaxAgeMillis != 0 {
				rows = append(rows, []string{"MAX AGE", (time.Duration(now.MaxAgeMillis) * time.Millisecond).String()})
			}
			return a.print(cmd, now, rows)
		},
	}
	cmd.Flags().DurationVar(&maxAge, "max-age", 0, "With available: how old a state may be, 5s to 60s; 30s when not given.")
	return cmd
}
