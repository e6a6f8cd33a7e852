package batch

import (
	"context"
	"fmt"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

const blockSize = 16

// key is a key of the device, with who waits for it. It implements [hsm.Key].
type key struct {
	device *Device
	below  hsm.Key

	// The rest is guarded by the device's lock.

	waiting line[*request]
	// Invariant: the key stands in line for its turn while somebody waits for it.
	turn    place[*key]
	calls   int       // sessions that it has
	forming bool      // one of them has not taken its callers along yet
	began   time.Time // of the youngest call in the device
}

// EncryptBlocks goes to the device together with those who want the same key
// now. dst is written, and dst and src are read, only until it returns.
func (k *key) EncryptBlocks(ctx context.Context, dst, src []byte) error {
	// What is wrong with one must not come to be an error for others.
	if len(src) == 0 || len(src)%blockSize != 0 {
		return fmt.Errorf("encrypting blocks: %d bytes are not whole blocks", len(src))
	}
	if len(dst) != len(src) {
		return fmt.Errorf("encrypting blocks: room for %d bytes, input of %d", len(dst), len(src))
	}
	return k.device.serve(ctx, k, dst, src)
}

// Close closes the key below. Callers that still wait get what that says to them.
func (k *key) Close() error { return k.below.Close() }

// request is one caller of EncryptBlocks.
type request struct {
	dst, src []byte
	// wake tells a caller that waits that it leads or is done, once in all; it
	// has room for that, so that who tells never waits.
	wake chan struct{}

	// The rest is guarded by the device's lock, and the caller's own once woken.

	state state
	err   error
	place place[*request]
}

// state is how far a request has come.
type state uint8

const (
	waiting state = iota // in line
	leading              // out of the line, with a session, to take others along
	inside               // its blocks are in another caller's call
	done                 // err is the answer
	left                 // its caller is gone while its blocks are inside
)

func newRequest() *request {
	r := &request{wake: make(chan struct{}, 1)}
	r.place.of = r
	return r
}
