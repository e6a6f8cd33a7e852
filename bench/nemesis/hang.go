package nemesis

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The kinds that need rooms that hang: disks that take a write and never answer,
// and keep the thread that asked from ending, too.
const (
	HangDisk   Kind = "hang-disk"   // that of a node's state: it must let go of its callers
	HangTraces Kind = "hang-traces" // that of its traces; likewise
)

// HangKinds are those that need [Nemesis.Rooms] and [Nemesis.Gone].
func HangKinds() []Kind { return []Kind{HangDisk, HangTraces} }

// hangPatience is for a node to notice that a disk hangs, which it calls it after
// ten seconds, and to take no connections any more.
const hangPatience = 60 * time.Second

// hang freezes a disk of the victim until it takes no connections, and for a
// while more. Once the disk answers again nothing may be left of the process.
func (n *Nemesis) hang(ctx context.Context, a Action, victim *Process) (detail string, err error) {
	rooms := n.Rooms[victim.ID()]
	if rooms == (Rooms{}) || n.Gone == nil {
		return "", fmt.Errorf("the disks of %s cannot be made to hang", victim.ID())
	}
	room := rooms.State
	if a.Kind == HangTraces {
		room = rooms.Traces
	}
	pid, begin := victim.PID(), time.Now()
	victim.MayEnd()
	if err := room.Freeze(); err != nil {
		return "", fmt.Errorf("freezing a disk of %s: %w", victim.ID(), err)
	}
	gone := within(ctx, hangPatience, func() bool { return n.Gone(ctx, victim.ID()) })
	noticed := time.Since(begin)
	if gone {
		sleep(ctx, a.Length)
	}
	if err := room.Thaw(); err != nil {
		return "", fmt.Errorf("thawing a disk of %s: %w", victim.ID(), err)
	}
	if !gone {
		return "", fmt.Errorf("%s after its disk began to hang %s takes connections", hangPatience, victim.ID())
	}
	if !within(ctx, endAfterError, func() bool { return victim.PID() != pid }) {
		return "", errors.Join(fmt.Errorf("%s goes on, whose disk has hung", victim.ID()), victim.Kill())
	}
	return fmt.Sprintf("took no connections after %v", noticed.Round(time.Millisecond)), nil
}
