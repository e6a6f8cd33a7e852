package main

import (
	"log/slog"

	"github.com/raftkms/raftkms/cluster/clocksource"
)

// warnOfClock tells the operator of a machine whose clock may hide pauses.
func warnOfClock(file string, logger *slog.Logger) {
	if warning := clocksource.Warning(file); warning != "" {
		logger.Warn(warning)
	}
}
