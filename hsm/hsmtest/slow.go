package hsmtest

import (
	"context"
	"sync"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

// SlowDevice puts the time of a device in front of keys that have none, and
// counts what comes in. Like a device it cannot be interrupted: a context
// counts only while a call waits for a session.
type SlowDevice struct {
	latency  time.Duration
	sessions chan struct{}

	mu   sync.Mutex
	seen SlowCalls
	now  map[hsm.Key]int
}

// SlowCalls is what a [SlowDevice] has seen.
type SlowCalls struct {
	Calls      int // in all
	Blocks     int // in all
	MostBlocks int // in one call
	MostAtOnce int // calls in the device
	MostOfOne  int // calls in the device for one key
}

// NewSlowDevice returns a device whose calls last latency each, of which as
// many can be inside at once as it has sessions.
func NewSlowDevice(latency time.Duration, sessions int) *SlowDevice {
	return &SlowDevice{latency: latency, sessions: make(chan struct{}, sessions), now: make(map[hsm.Key]int)}
}

// Key returns k as a key of the device.
func (d *SlowDevice) Key(k hsm.Key) hsm.Key { return &slowKey{device: d, Key: k} }

// Seen returns the counts.
func (d *SlowDevice) Seen() SlowCalls {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen
}

func (d *SlowDevice) enter(k hsm.Key, blocks int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now[k]++
	d.seen.Calls++
	d.seen.Blocks += blocks
	d.seen.MostBlocks = max(d.seen.MostBlocks, blocks)
	d.seen.MostAtOnce = max(d.seen.MostAtOnce, len(d.sessions))
	d.seen.MostOfOne = max(d.seen.MostOfOne, d.now[k])
}

func (d *SlowDevice) exit(k hsm.Key) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now[k]--
}

type slowKey struct {
	device *SlowDevice
	hsm.Key
}

// EncryptBlocks lasts as long as the device takes.
func (k *slowKey) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	select {
	case k.device.sessions <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	k.device.enter(k, len(src)/16)
	defer func() {
		k.device.exit(k)
		<-k.device.sessions
	}()
	time.Sleep(k.device.latency)
	return k.Key.EncryptBlocks(context.WithoutCancel(ctx), dst, src)
}
