package result

import (
	"os"
	"runtime"
	"strings"
)

// ThisMachine describes the machine that this process runs on, as far as its
// operating system tells.
func ThisMachine() Machine {
	return Machine{
		Cores: runtime.GOMAXPROCS(0), OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: cpuModel(), Kernel: kernelRelease(),
	}
}

// cpuModel is the model name of proc_cpuinfo(5); empty where there is none.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
			return bounded(value)
		}
	}
	return ""
}

func kernelRelease() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return bounded(string(text))
}

// bounded is a text of the machine, short enough for a file.
func bounded(text string) string {
	text = strings.TrimSpace(text)
	return text[:min(len(text), 200)]
}
