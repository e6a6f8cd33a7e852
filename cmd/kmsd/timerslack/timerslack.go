// Package timerslack has the kernel wake this process for its short sleeps less
// often.
//
// While a thread waits for the disk, and at a node under load one always does,
// the Go runtime's monitor looks every 20 µs whether the thread's processor
// should go to another one. Each look is a switch of contexts, and with batches
// of some ten traces there is nearly one for every request. The kernel may end
// a sleep later by the timer slack of its thread (50 µs where nobody asked for
// more), so a greater slack means fewer looks. What it costs is that a timer,
// or work that waits behind a call of the system, may come later by as much.
package timerslack

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Slack is what a node asks for. Lease, election and call timeouts are a
// thousand times longer; a call of a device that lasts as long hardly is.
const Slack = 500 * time.Microsecond

// Coarsen sets the slack and, since only threads that are made afterwards have
// it and the runtime has made its own by now, begins the program anew: the same
// process, with the same arguments, environment, and parent-death signal. There
// it returns at once. It is to be called first in main, and returns where the
// system does not do it, which changes nothing but the cost of calls.
func Coarsen(slack time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Another thread has no parent-death signal, and would take that from the process.
	if unix.Gettid() != unix.Getpid() || current() >= slack {
		return
	}
	program, err := os.Executable()
	if err != nil {
		return
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0); err != nil || current() < slack {
		return
	}
	// Where this fails, the process goes on as it began.
	_ = syscall.Exec(program, os.Args, os.Environ())
}

// current is the slack of this thread.
func current() time.Duration {
	slack, _, errno := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
	if errno != 0 {
		return 0
	}
	return time.Duration(slack)
}
