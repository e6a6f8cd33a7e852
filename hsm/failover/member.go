package failover

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/raftkms/raftkms/hsm"
)

var (
	errNotOpened  = fmt.Errorf("%w: it was not opened yet", hsm.ErrUnavailable)
	errNoRootsYet = fmt.Errorf("it is not known to hold them: %w", hsm.ErrNoRoots)
	errUnproved   = fmt.Errorf("%w: it was away and has not proved its root keys since", hsm.ErrUnavailable)
)

// member is one of the two devices.
type member struct {
	name  string
	open  func(ctx context.Context) (hsm.Module, error)
	retry chan struct{} // wakes who admits it
	at    atomic.Pointer[standing]
	calls atomic.Uint64

	// opening is under way, or nil. It is of who opens the pair, then of who
	// admits the device, then of who closes the pair.
	opening *attempt
}

// says is what the device said, by its name.
func (m *member) says(err error) error { return fmt.Errorf("the %s HSM: %w", m.name, err) }

// standing is how a device stands with the pair. It is replaced, not changed.
type standing struct {
	module *tested // nil while it could not be opened
	reason error   // why it is not asked for what needs roots; nil: it is
	absent bool    // it was in an outage when somebody looked
}
