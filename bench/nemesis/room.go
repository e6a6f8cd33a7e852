package nemesis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Room is a file system that holds something of a node's, as far as it can be
// filled and made to hang.
type Room interface {
	// Fill takes all that is free, once more where some has become free since.
	Fill() error
	// Clear gives back what Fill has taken.
	Clear() error
	// Freeze has whoever writes to it hang.
	Freeze() error
	// Thaw ends what Freeze has begun; it may be called too often.
	Thaw() error
}

// Rooms are the file systems of a node.
type Rooms struct {
	State  Room // of its data directory: log, votes, snapshots
	Traces Room // of its traces
}

// The kinds that need rooms: disks that are full.
const (
	FullDisk   Kind = "full-disk"     // a node's state has no room: it must end or refuse
	FullAll    Kind = "full-all"      // every node's
	FullStart  Kind = "full-at-start" // a node is killed, and started while there is no room
	FullTraces Kind = "full-traces"   // its traces have none: it must refuse, and serve again by itself
)

// RoomKinds are those that need [Nemesis.Rooms] and [Nemesis.Refuses].
func RoomKinds() []Kind { return []Kind{FullDisk, FullAll, FullStart, FullTraces} }

const (
	refusePatience = 60 * time.Second // for a node to notice; it is under load
	refillPeriod   = 50 * time.Millisecond
)

// fill takes the room of the victims until the end of the fault, which comes
// when all of them have ended or say that they cannot serve, and a while is over.
func (n *Nemesis) fill(ctx context.Context, a Action, victims []*Process) (detail string, err error) {
	pids := make([]int, len(victims))
	for i, v := range victims {
		if n.Rooms[v.ID()] == (Rooms{}) {
			return "", fmt.Errorf("the disks of %s cannot be filled", v.ID())
		}
		if a.Kind == FullStart {
			if err := v.Kill(); err != nil {
				return "", err
			}
		}
		if err := n.refill(a.Kind, v); err != nil {
			return "", err
		}
		if a.Kind == FullStart {
			if err := v.Start(); err != nil {
				return "", err
			}
		}
		if a.Kind != FullTraces {
			v.MayEnd()
		}
		pids[i] = v.PID()
	}
	ended, refused, last := 0, 0, ""
	noticed := func() bool {
		ended, refused = 0, 0
		for i, v := range victims {
			if err = n.refill(a.Kind, v); err != nil {
				return true
			}
			if pid := v.PID(); pid == 0 || pid != pids[i] {
				ended++
			} else if last = n.Refuses(ctx, v.ID()); last != "" && (a.Kind != FullTraces || strings.Contains(last, "full")) {
				refused++
			}
		}
		return ended+refused == len(victims)
	}
	begin := time.Now()
	for !noticed() {
		if time.Since(begin) > refusePatience {
			return "", fmt.Errorf("%s after its disk was full %s serves on, or says no more than %q", refusePatience, victims[0].ID(), last)
		}
		sleep(ctx, refillPeriod)
	}
	for end := time.Now().Add(a.Length); err == nil && time.Now().Before(end); sleep(ctx, refillPeriod) {
		noticed()
	}
	for _, v := range victims {
		if a.Kind != FullTraces {
			// Who lives on may have begun to end, and is then gone after the healing.
			err = errors.Join(err, v.Kill())
		}
	}
	return fmt.Sprintf("%d ended, %d refused: %s", ended, refused, last), err
}

func (n *Nemesis) refill(kind Kind, victim *Process) error {
	room := n.Rooms[victim.ID()].State
	if kind == FullTraces {
		room = n.Rooms[victim.ID()].Traces
	}
	if err := room.Fill(); err != nil {
		return fmt.Errorf("filling a disk of %s: %w", victim.ID(), err)
	}
	return nil
}
