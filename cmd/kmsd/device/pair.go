package device

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

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
			ctx, cancel := context.WithTimeout(ctx, openWithin)
			defer cancel()
			m, err := pkcs11.Open(ctx, cfg)
			if err != nil {
				return nil, err // and no module that is nil inside
			}
			return m, nil
		}}
	}
	return failover.Open(ctx, failover.Config{
		Devices: [2]failover.Device{device("first", first), device("second", second)}, Logger: logger,
	})
}

// stuck decides what calls that hang in a device for good mean. Only the end of
// the process frees them, but the node has another device.
type stuck struct {
	logger *slog.Logger
	end    func(error)

	mu    sync.Mutex
	names map[string]bool
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
