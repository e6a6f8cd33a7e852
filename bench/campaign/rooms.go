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

// needsRooms says whether a scenario fills disks, or has them hang.
func needsRooms(kinds []nemesis.Kind) bool {
	need := slices.Concat(nemesis.RoomKinds(), nemesis.HangKinds())
	return slices.ContainsFunc(kinds, func(k nemesis.Kind) bool { return slices.Contains(need, k) })
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
