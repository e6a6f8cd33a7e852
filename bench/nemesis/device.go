package nemesis

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Device is a node's HSM, as far as it can be told to misbehave.
type Device interface {
	// Unplug takes it away with everything in it; Plug brings it back.
	Unplug()
	Plug()
	// LoseSessions closes every session once.
	LoseSessions()
	// Delay makes every call last so much longer.
	Delay(time.Duration)
}

// The kinds that need devices.
const (
	UnplugOne    Kind = "hsm-unplugged"     // one node's HSM is gone
	UnplugAll    Kind = "hsm-all-unplugged" // every node's
	SlowDevice   Kind = "hsm-slow"          // one node's HSM takes long for everything
	LoseSessions Kind = "hsm-sessions-lost" // one node's HSM forgets its sessions, several times
)

// DeviceKinds are those that need [Nemesis.Devices].
func DeviceKinds() []Kind { return []Kind{UnplugOne, UnplugAll, SlowDevice, LoseSessions} }

const (
	slowestCall  = 200 * time.Millisecond
	sessionsLost = 3 // times
)

// misbehave has the victims' devices do so.
func (n *Nemesis) misbehave(a Action, victims []*Process) error {
	random := rand.New(rand.NewPCG(uint64(a.Victim), uint64(a.Length)))
	for _, v := range victims {
		d := n.Devices[v.ID()]
		if d == nil {
			return fmt.Errorf("the HSM of %s cannot be told to misbehave", v.ID())
		}
		switch a.Kind {
		case SlowDevice:
			d.Delay(time.Duration(random.Int64N(int64(slowestCall))))
		case LoseSessions:
			for range sessionsLost {
				d.LoseSessions()
				time.Sleep(a.Length / sessionsLost)
			}
		default:
			d.Unplug()
		}
	}
	return nil
}
