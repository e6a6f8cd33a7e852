package cluster

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bootClock reads CLOCK_BOOTTIME: unlike Go's monotonic clock it counts the time
// during which the machine was suspended.
func bootClock() time.Duration {
	var t unix.Timespec
	// Every call asks, and this never waits: so the scheduler is not told of it,
	// which costs as much as the clock.
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&t)), 0); errno != 0 {
		panic(fmt.Sprintf("reading CLOCK_BOOTTIME: %v", errno)) // there is no such Linux
	}
	return time.Duration(t.Nano())
}
