package pkcs11

import (
	"fmt"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

// inLimit runs f, with which somebody leaves the library, and waits no longer than
// the limit for each call that f names by in. No watchdog is there any more, and a
// call in C cannot be ended: when one hangs, the goroutine is left in it, for no
// other reason than that, and does the rest if it comes back. The process ends
// beside it.
func (l *library) inLimit(limit time.Duration, f func(in func(name string)) error) (hangs bool, err error) {
	ended := make(chan error, 1)
	calls := make(chan string, 2) // room for all that f names: nobody may be there to hear of it
	go func() { ended <- f(func(name string) { calls <- name }) }()
	overdue := time.NewTimer(limit)
	defer overdue.Stop()
	name := ""
	for {
		select {
		case err := <-ended:
			return false, err
		case name = <-calls:
			overdue.Reset(limit)
		case <-overdue.C:
			return true, fmt.Errorf("%w: the PKCS#11 library %s hangs in its %s, from which it has not come back within %v; only the end of the process frees it",
				hsm.ErrUnavailable, l.path, name, limit)
		}
	}
}

// leave is [registry.release] that waits no longer than the limit.
func (l *library) leave(limit time.Duration) error {
	_, err := l.inLimit(limit, func(in func(name string)) error {
		in("C_Finalize")
		return libraries.release(l)
	})
	return err
}
