package nemesis

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A process asks for the time without the kernel: it calls clock_gettime in the
// vDSO, code that the kernel maps into every process. Its pages are private to
// whoever writes them, as a debugger does that sets a breakpoint. So one process
// can be given another wall clock, and nobody else; a program written in Go
// cannot be by a library in front of libc, nor by a time namespace, which shifts
// the monotonic clocks alone.

// clockName is the function by which a program asks for the time.
const clockName = "__vdso_clock_gettime"

// clockCode asks the kernel and adds what stands behind it, in seconds, to the
// wall clock alone: the other clocks stay as they are.
var clockCode = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
	0x75, 0x0a, // jne to the ret
	0x48, 0x8b, 0x0d, 14, 0, 0, 0, // mov rcx, what stands at clockOffset; syscall has spoilt rcx already
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3,                                                       // ret
	0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, // up to where the seconds lie evenly
}

// clockOffset is where they stand, from the beginning of the code; clockRoom is
// what both take.
const (
	clockOffset = 32
	clockRoom   = clockOffset + 8
)

// clockTrouble says why processes cannot be given other clocks here.
func clockTrouble() error {
	_, _, err := clockFunction(os.Getpid())
	return err
}

// clockPatience is how long a process may take to stand still outside the vDSO.
const clockPatience = 30 * time.Second

// setClock shifts the wall clock of a process by whole seconds; what it was
// shifted by before no longer counts.
func setClock(pid int, by time.Duration) error {
	at, size, err := clockFunction(pid)
	if err != nil {
		return err
	}
	memory, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer memory.Close()
	seconds := binary.LittleEndian.AppendUint64(nil, uint64(int64(by/time.Second)))
	there := make([]byte, len(clockCode))
	if _, err := memory.ReadAt(there, at); err != nil {
		return fmt.Errorf("reading the vDSO: %w", err)
	}
	if !bytes.Equal(there, clockCode) {
		if err := standStill(pid, at, size); err != nil {
			return errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
		}
		_, err := memory.WriteAt(append(bytes.Clone(clockCode), seconds...), at)
		return errors.Join(err, syscall.Kill(pid, syscall.SIGCONT))
	}
	_, err = memory.WriteAt(seconds, at+clockOffset) // eight bytes that lie evenly: read as they were or as they are
	return err
}

// clockFunction is where the function is in a process, and how long; an error
// where other code has no room there.
func clockFunction(pid int) (at, size int64, err error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		var begin, end int64
		if _, err := fmt.Sscanf(line, "%x-%x", &begin, &end); err != nil {
			return 0, 0, fmt.Errorf("reading the map of process %d: %w", pid, err)
		}
		memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
		if err != nil {
			return 0, 0, err
		}
		defer memory.Close()
		object, err := elf.NewFile(io.NewSectionReader(memory, begin, end-begin))
		if err != nil {
			return 0, 0, fmt.Errorf("reading the vDSO: %w", err)
		}
		symbols, err := object.DynamicSymbols()
		for _, s := range symbols {
			if s.Name != clockName {
				continue
			}
			at, size = begin+int64(s.Value), int64(s.Size)
			if size < clockRoom || at%8 != 0 {
				return 0, 0, fmt.Errorf("%s has %d bytes at %#x, too few for other code", clockName, size, at)
			}
			return at, size, nil
		}
		return 0, 0, errors.Join(fmt.Errorf("the vDSO has no %s", clockName), err)
	}
	return 0, 0, fmt.Errorf("process %d has no vDSO", pid)
}

// standStill stops a process such that none of its threads is in a function.
// Whoever calls it has the process go on.
func standStill(pid int, at, size int64) error {
	for end := time.Now().Add(clockPatience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			return err
		}
		if still, inside := threads(pid, at, size); still && !inside {
			return nil
		} else if inside {
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("process %d does not stand still", pid)
}

// threads says whether all threads of a process are stopped, and whether one of
// them is in a function.
func threads(pid int, at, size int64) (still, inside bool) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	still = err == nil && len(tasks) > 0
	for _, task := range tasks {
		status, err := os.ReadFile(filepath.Join(task, "status"))
		if err != nil || !bytes.Contains(status, []byte("State:\tT")) {
			still = false
			continue
		}
		where, err := os.ReadFile(filepath.Join(task, "syscall"))
		fields := strings.Fields(string(where))
		if err != nil || len(fields) < 2 {
			still = false
			continue
		}
		pc, err := strconv.ParseInt(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
		if err != nil {
			still = false
		}
		inside = inside || pc >= at && pc < at+size
	}
	return still, inside
}
