package timerslack_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/cmd/kmsd/timerslack"
)

// probe is the argument with which this program does as kmsd does, and says
// what has become of it.
const probe = "probe"

// Variables are set on the process's first thread, where main begins, too.
var onFirstThread = func() bool {
	runtime.LockOSThread()
	return unix.Gettid() == unix.Getpid()
}()

func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != probe {
		runtime.UnlockOSThread()
		os.Exit(m.Run())
	}
	slack, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	timerslack.Coarsen(time.Duration(slack))
	var death int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&death)), 0, 0, 0); err != nil {
		panic(err)
	}
	got, _, _ := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
	fmt.Println(got, death, os.Getpid(), os.Getenv("PROBED"), strings.Join(os.Args[1:], " "), onFirstThread)
}

// The program goes on as the same process with the slack, and keeps what it was
// started with.
func TestCoarsen(t *testing.T) {
	f := func(slack, want int) {
		t.Helper()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		runtime.LockOSThread() // a parent dies with the thread that has started the child
		defer runtime.UnlockOSThread()
		cmd := exec.Command(self, probe, strconv.Itoa(slack), "an argument")
		cmd.Env = append(os.Environ(), "PROBED=yes")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		if got, want := out.String(), fmt.Sprintln(want, 15, cmd.Process.Pid, "yes", probe, slack, "an argument", true); got != want {
			t.Errorf("-got +want:\n-%s+%s", got, want)
		}
	}
	f(300_000, 300_000)
	own, _, _ := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
	f(1, int(own)) // more than that is there already
}
