package cluster

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// bootClock reads CLOCK_BOOTTIME: unlike Go's monotonic clock it counts the time
// during which the machine was suspended.
func bootClock() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(fmt.Sprintf("reading CLOCK_BOOTTIME: %v", err)) // there is no such Linux
	}
	return time.Duration(t.Nano())
}
