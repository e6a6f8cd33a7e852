package nemesis

import (
	"context"
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

// The kinds that need an [Operator] as well: HSMs that go away while the cluster
// is being changed.
const (
	UnplugBehind    Kind = "hsm-unplugged-behind"    // a node that is left behind starts, and its HSM is gone while it takes a snapshot
	UnplugTransfers Kind = "hsm-unplugged-transfers" // leadership is handed on again and again, while one node's HSM is gone
)

// DeviceOperatorKinds are those that need [Nemesis.Devices] and an [Operator].
func DeviceOperatorKinds() []Kind { return []Kind{UnplugBehind, UnplugTransfers} }

// DeviceKinds are those that need [Nemesis.Devices].
func DeviceKinds() []Kind { return []Kind{UnplugOne, UnplugAll, SlowDevice, LoseSessions} }

const (
	slowestCall  = 200 * time.Millisecond
	startTime    = time.Second // about as long as a node takes to start and to ask for what it misses; it is under load
	sessionsLost = 3           // times
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

// operateWithout does what an operator might while one node has no HSM.
func (n *Nemesis) operateWithout(ctx context.Context, a Action, victim *Process) (detail string, err error) {
	d := n.Devices[victim.ID()]
	if d == nil {
		return "", fmt.Errorf("the HSM of %s cannot be told to misbehave", victim.ID())
	}
	if a.Kind == UnplugTransfers {
		d.Unplug()
		return n.transfers(ctx, a.Length)
	}
	if err := victim.Kill(); err != nil {
		return "", err
	}
	if err := n.Operator.Compact(ctx, victim.ID()); err != nil {
		return "", err
	}
	if err := victim.Start(); err != nil {
		return "", err
	}
	victim.MayEnd() // it may look for its HSM at its start, and find none
	sleep(ctx, startTime*time.Duration(a.Victim)/(1<<16))
	d.Unplug()
	sleep(ctx, a.Length)
	if victim.PID() == 0 {
		return "it ended", nil
	}
	return "", nil
}
