// Package clocksource looks at where the kernel takes the time from. Serving
// leases stand on a clock that sees every pause of the machine, and some sources
// do not give one.
//
// What it promises: a source that is known to hide pauses gets words that say so
// and what to do. What it never does: refuse a machine, since whether its guests
// are ever paused or moved only its operator knows.
package clocksource

import (
	"os"
	"strings"
)

// File is where Linux names the source in use.
const File = "/sys/devices/system/clocksource/clocksource0/current_clocksource"

// hiding does not show a guest for how long it stood still while it was moved.
const hiding = "kvm-clock"

// Warning is what to tell an operator about the source that the file names; empty:
// nothing, as where there is no such file.
func Warning(file string) string {
	name, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(name)) != hiding {
		return ""
	}
	return "this machine's clock source is " + hiding + ", which does not show a guest that it was paused or moved, so that a node could go on serving by a lease that has run out: " +
		"if that happens here, have the cluster serve without leases (`kmsctl cluster consistency strict`)"
}
