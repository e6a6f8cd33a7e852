package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux
// platform that Go runs on.
const tick = 10 * time.Millisecond

// cpuTime is the time that processes have spent on the CPUs, in user and
// kernel mode (utime and stime of proc_pid_stat(5)).
func cpuTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
		}
		ticks, err := parseStat(text)
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// parseStat returns utime+stime, the 14th and 15th field. The second one, the
// command in parentheses, may hold spaces and parentheses itself.
func parseStat(text []byte) (ticks uint64, err error) {
	end := bytes.LastIndexByte(text, ')')
	fields := bytes.Fields(text[end+1:])
	const utime, stime = 14 - 3, 15 - 3 // the first field here is the third
	if end < 0 || len(fields) <= stime {
		return 0, fmt.Errorf("unexpected format")
	}
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseUint(string(fields[i]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("unexpected format: %w", err)
		}
		ticks += n
	}
	return ticks, nil
}

// machineTimes are times of all cores together since the machine started, in
// ticks: in use, and in all.
type machineTimes struct{ used, all uint64 }

// machineTime reads them; ok is false on systems that do not tell.
func machineTime() (m machineTimes, ok bool) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m, false
	}
	return parseMachine(text)
}

// parseMachine reads the first line of proc_stat(5): cpu, then user, nice,
// system, idle, iowait, irq, softirq and steal. Time of guests, which follows,
// is in user and nice already.
func parseMachine(text []byte) (m machineTimes, ok bool) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := bytes.Fields(line)
	const idle, iowait, last = 4, 5, 8
	if len(fields) <= last || string(fields[0]) != "cpu" {
		return m, false
	}
	for i := 1; i <= last; i++ {
		n, err := strconv.ParseUint(string(fields[i]), 10, 64)
		if err != nil {
			return machineTimes{}, false
		}
		if m.all += n; i != idle && i != iowait {
			m.used += n
		}
	}
	return m, true
}

// share is what was in use of the time since before; 0 if none has passed.
func (m machineTimes) share(before machineTimes) float64 {
	if m.all <= before.all || m.used < before.used {
		return 0
	}
	return float64(m.used-before.used) / float64(m.all-before.all)
}
