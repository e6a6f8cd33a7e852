package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/bench/report"
	"github.com/raftkms/raftkms/bench/result"
)

func newReport() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:     "report FILE...",
		Short:   "Make an HTML page of files that kmsbench run wrote",
		Long:    "Make one HTML page, which loads nothing from elsewhere, of files that kmsbench run wrote: plots of the latencies and of what was varied,\nand tables of the results, errors, nodes and settings.",
		Example: "  kmsbench report soft.json pkcs11.json -o report.html",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, files []string) error {
			if out == "" {
				return errors.New("which file is to be written? Give -o report.html")
			}
			var runs []report.Run
			for _, file := range files {
				r, err := result.ReadFile(file)
				if err != nil {
					return err
				}
				runs = append(runs, report.Run{Name: strings.TrimSuffix(filepath.Base(file), ".json"), Result: r})
			}
			to, err := os.Create(out)
			if err != nil {
				return fmt.Errorf("writing the report: %w", err)
			}
			return errors.Join(report.Write(to, runs), to.Close())
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "The file to write.")
	return cmd
}
