package campaign

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// How large the disks are that can be filled: a campaign does not need as much.
// Nothing of it is taken on the machine's disk before it is written.
const (
	stateRoom  = 192 << 20
	tracesRoom = 256 << 20
)

// connectPatience is how long a connection may take until nobody takes it.
const connectPatience = time.Second

// tracesDir is the directory of a node's traces, in that of its data.
const tracesDir = "audit"

// hasAny says whether some of a scenario's kinds are among those.
func hasAny(kinds, of []nemesis.Kind) bool {
	return slices.ContainsFunc(kinds, func(k nemesis.Kind) bool { return slices.Contains(of, k) })
}

// furnish gives every node the disks of its own that the scenario takes, if any.
func (c *cluster) furnish(kinds []nemesis.Kind) error {
	rooms, power := hasAny(kinds, slices.Concat(nemesis.RoomKinds(), nemesis.HangKinds())), hasAny(kinds, nemesis.PowerKinds())
	if rooms && power {
		return errors.New("a scenario that cuts the power has one disk a node, and one that fills or freezes disks has two: it cannot do both")
	}
	for _, p := range c.processes {
		var err error
		switch {
		case rooms:
			err = c.mount(p.ID())
		case power:
			err = c.mountAlone(p.ID())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mountAlone gives a node one small disk for all of its data, which loses with the
// power what nobody has it flush.
func (c *cluster) mountAlone(id string) error {
	v, err := nemesis.NewVolume(filepath.Join(c.dir, id+".disk"), filepath.Join(c.dir, id, dataDir), stateRoom+tracesRoom)
	if err != nil {
		return fmt.Errorf("a disk for %s: %w", id, err)
	}
	c.volumes = append(c.volumes, v)
	if c.supplies == nil {
		c.supplies = make(map[string]nemesis.Supply)
	}
	c.supplies[id] = v
	return v.KeepUnflushed()
}

// mount gives a node two small disks: one for all of its data but the traces,
// one for these. Its log of messages lies beside them.
func (c *cluster) mount(id string) error {
	state := filepath.Join(c.dir, id, dataDir)
	var made []*nemesis.Volume
	for _, disk := range []struct {
		name, at string
		size     int64
	}{{"state", state, stateRoom}, {"traces", filepath.Join(state, tracesDir), tracesRoom}} {
		v, err := nemesis.NewVolume(filepath.Join(c.dir, id+"."+disk.name), disk.at, disk.size)
		if err != nil {
			return fmt.Errorf("a disk for %s: %w", id, err)
		}
		made, c.volumes = append(made, v), append(c.volumes, v)
	}
	if c.rooms == nil {
		c.rooms = make(map[string]nemesis.Rooms)
	}
	c.rooms[id] = nemesis.Rooms{State: made[0], Traces: made[1]}
	return nil
}

// unmount takes the disks away again, the newest first: it lies in another one.
func (c *cluster) unmount() {
	for _, v := range slices.Backward(c.volumes) {
		_ = v.Close() // what stays mounted stays behind in the campaign's directory, whose removal says so
	}
	c.volumes = nil
}

// refuses is why a node says that it cannot serve; empty: it can, or says nothing.
func (c *cluster) refuses(ctx context.Context, id string) string {
	s, err := c.status(ctx, c.index(id))
	if err != nil || s.Ready {
		return ""
	}
	return s.NotReady
}

// gone says that a node takes no connections of callers.
func (c *cluster) gone(ctx context.Context, id string) bool {
	api, err := url.Parse(c.file.Nodes[c.index(id)].URL)
	if err != nil {
		return false
	}
	d := net.Dialer{Timeout: connectPatience}
	conn, err := d.DialContext(ctx, "tcp", api.Host)
	if err == nil {
		conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}
