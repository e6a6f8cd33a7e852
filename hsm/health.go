package hsm

import "time"

// Health is how a device has fared since it was opened.
type Health struct {
	// Outage is why the device does not serve now; nil while it does. It wraps
	// [ErrUnavailable], or [ErrPIN] when only a person can help.
	Outage error
	// Since is when the outage began, or the time without one.
	Since time.Time
	// Outages, Logins and Reloads (of the device's library) are counted.
	Outages, Logins, Reloads uint64
	// Faults of calls: of a session, of all sessions or objects, of the device.
	SessionFaults, LostFaults, DeviceFaults uint64
	// Inside is how many calls are in the device, and Oldest for how long the
	// longest of them has been.
	Inside int
	Oldest time.Duration
	// Loaded is how many keys are objects of the device on behalf of callers.
	Loaded int
}

// Monitored is a [Module] over a device that may fail, and come back, while
// the process lives. A module that is not Monitored serves until it is closed.
type Monitored interface {
	// Health does no I/O.
	Health() Health
	// Changed returns a channel that is closed when the present outage, or the
	// present time without one, ends. Taken before a look at Health it misses
	// no change.
	Changed() <-chan struct{}
}

// Outage returns why the module does not serve now; nil while it does.
func Outage(m Module) error {
	if d, ok := m.(Monitored); ok {
		return d.Health().Outage
	}
	return nil
}
