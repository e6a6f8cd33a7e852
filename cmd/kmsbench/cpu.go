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
