package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Where nobody names another clock, leases run by CLOCK_BOOTTIME and no other: on a
// machine that was never suspended the monotonic one shows the same. So a thread is
// refused that clock alone, and has none then.
func TestLeasesRunByTheBootClock(t *testing.T) {
	var cfg Config
	cfg.fill()
	boot := func() time.Duration {
		var at unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &at); err != nil {
			t.Fatal(err)
		}
		return time.Duration(at.Nano())
	}
	before := boot()
	now := cfg.Clock()
	if after := boot(); now < before || now > after {
		t.Errorf("the clock shows %s, CLOCK_BOOTTIME %s before and %s after", now, before, after)
	}

	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		done <- func() (err error) {
			if err := refuseClock(unix.CLOCK_BOOTTIME); err != nil {
				return err
			}
			var at unix.Timespec
			if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&at)), 0); errno != 0 {
				return fmt.Errorf("CLOCK_MONOTONIC is refused, too: %w", errno)
			}
			defer func() {
				if problem := recover(); !strings.Contains(fmt.Sprint(problem), "reading CLOCK_BOOTTIME") {
					err = fmt.Errorf("not having the clock ended in %v", problem)
				}
			}()
			return fmt.Errorf("the clock shows %s without CLOCK_BOOTTIME", cfg.Clock())
		}()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// refuseClock has clock_gettime fail for one clock on this thread, for good.
func refuseClock(clock uint32) error {
	// struct seccomp_data: the call's number at 0, its first argument at 16.
	low := uint32(16)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		low += 4
	}
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	unless := func(value uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: value, Jf: skip}
	}
	answer := func(with uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with} }
	program := []unix.SockFilter{
		load(0), unless(unix.SYS_CLOCK_GETTIME, 3),
		load(low), unless(clock, 1),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
		answer(unix.SECCOMP_RET_ALLOW),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return errors.Join(errors.New("filtering system calls"), errno)
	}
	return nil
}
