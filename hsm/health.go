package hsm

import (
	"context"
	"time"
)

// Health is how a device has fared since it was opened.
type Health struct {
	// Outage is why the device does not serve now; nil while it does. It wraps
	// [ErrUnavailable], or [ErrPIN] when only a person can help. Of a [Redundant]
	// module and its members it may also be that a generator failed for good
	// (entropy.ErrGenerator).
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

// Redundant is a [Module] over several devices that hold the same roots.
type Redundant interface {
	// Members does no I/O. The preferred device is the first.
	Members() []MemberHealth
	// Lacking returns the transport keys of the devices that do not hold that
	// generation of the roots. [ErrUnavailable] while one of them is out.
	Lacking(ctx context.Context, generation RootGeneration) (publicKeys [][]byte, err error)
	// CopyRoots brings a generation from a device that holds it to those that do
	// not, wrapped as in [Module.ExportRoots], and has them prove it. It returns
	// the names of those that got it, and [ErrUnavailable] while one of them is out.
	CopyRoots(ctx context.Context, generation RootGeneration, officerPIN []byte) (to []string, err error)
}

// MemberHealth is how one of several devices fares.
type MemberHealth struct {
	Name   string // as metrics and people call it
	Health Health
	// Unused is why calls do not go to it although its device may serve: it has
	// not proved to hold the roots. Nil while they may.
	Unused error
	// Calls is how many calls it was given.
	Calls uint64
}

// Serves tells why the device cannot take over; nil while it can.
func (m MemberHealth) Serves() error {
	if m.Health.Outage != nil {
		return m.Health.Outage
	}
	return m.Unused
}
