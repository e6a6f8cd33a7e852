package device

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/failover"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// openPair opens a node's two HSMs.
func openPair(ctx context.Context, c *config.Config, logger *slog.Logger, hung func(error)) (hsm.Module, error) {
	stuck := &stuck{logger: logger, end: hung}
	first := PKCS11(c, logger, stuck.hung("first"))
	second, _ := Second(c, logger, stuck.hung("second"))
	device := func(name string, cfg pkcs11.Config) failover.Device {
		return failover.Device{Name: name, Open: func(ctx context.Context) (hsm.Module, error) {
			// The clock is the pair's: a library that hangs is taken in when it lets go.
			cfg.OpenLimit = -1
			late := time.AfterFunc(hangsAfter, func() { stuck.hung(name)(errOpening) })
			m, err := pkcs11.Open(ctx, cfg)
			late.Stop()
			if err != nil {
				return nil, err // and no module that is nil inside
			}
			stuck.freed(name)
			return m, nil
		}}
	}
	return failover.Open(ctx, failover.Config{
		Devices:   [2]failover.Device{device("first", first), device("second", second)},
		OpenLimit: c.Module.PKCS11.OpenLimit, Logger: logger,
	})
}

// hangsAfter is how long a device is opened before it counts as hung for good.
const hangsAfter = time.Minute

var errOpening = fmt.Errorf("%w: it has been opened for %v and has not answered", hsm.ErrUnavailable, hangsAfter)

// stuck decides what calls that hang in a device for good mean. Only the end of
// the process frees them, but the node has another device.
type stuck struct {
	logger *slog.Logger
	end    func(error)

	mu    sync.Mutex
	names map[string]bool
}

// freed is told of a device that was opened after all.
func (s *stuck) freed(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.names, name)
}

func (s *stuck) hung(name string) func(error) {
	return func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.names == nil {
			s.names = make(map[string]bool)
		}
		s.names[name] = true
		if len(s.names) > 1 && s.end != nil {
			s.end(fmt.Errorf("both HSMs: %w", err))
			return
		}
		s.logger.Error("a call hangs in one HSM of two for good; the node goes on with the other, and the device may need a restart of the node to be used again",
			"hsm", name, "error", err)
	}
}
