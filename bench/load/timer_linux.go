package load

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timer sleeps with a timerfd that the runtime polls: some ten microseconds
// exact, where time.Sleep of an idle process may be a millisecond late, and
// without a thread that blocks or spins. It is used by one goroutine.
type timer struct {
	fd   int
	file *os.File
}

func newTimer() (*timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a timer for the open loop: %w", err)
	}
	return &timer{fd: fd, file: os.NewFile(uintptr(fd), "timer of the open loop")}, nil
}

// sleep falls back on time.Sleep if the timer fails, which it has no reason to.
func (t *timer) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	var expirations [8]byte
	if err := unix.TimerfdSettime(t.fd, 0, &spec, nil); err != nil {
		time.Sleep(d)
		return
	}
	if n, err := t.file.Read(expirations[:]); err != nil || n != len(expirations) || binary.NativeEndian.Uint64(expirations[:]) == 0 {
		time.Sleep(d)
	}
}

func (t *timer) close() { t.file.Close() }
