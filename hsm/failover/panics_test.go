package failover_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/failover"
	"github.com/raftkms/raftkms/hsm/soft"
)

// panicking is a device whose module has a mistake in one of its methods.
type panicking struct{ hsm.Module }

func (panicking) Health() hsm.Health       { return hsm.Health{} }
func (panicking) Changed() <-chan struct{} { return nil }

func (m panicking) Under(g hsm.RootGeneration) hsm.Module { return panicking{m.Module.Under(g)} }

func (panicking) Random(_ context.Context, p []byte) error {
	var none []byte
	p[0] = none[len(p)] // out of range
	return nil
}

// A panic inside a device is an error of the call, which says where to read of
// it, and not the end of the process.
func TestAPanicInsideADeviceIsAnError(t *testing.T) {
	dir := t.TempDir()
	device := func(name string) failover.Device {
		return failover.Device{Name: name, Open: func(ctx context.Context) (hsm.Module, error) {
			m, err := soft.Open(ctx, soft.Config{
				RootsFile:      filepath.Join(dir, name+"-roots"),
				PrivateKeyFile: filepath.Join(dir, name+"-private"),
				UnlockKeyFile:  filepath.Join(dir, name+"-unlock"),
			})
			return panicking{m}, err
		}}
	}
	var log bytes.Buffer
	p, err := failover.Open(t.Context(), failover.Config{
		Devices: [2]failover.Device{device("first"), device("second")}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	ok(t, err)
	err = p.Random(testContext(t), make([]byte, 8))
	ok(t, p.Close()) // also: the call was counted out
	if err == nil || errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), "the first HSM") {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(log.String(), "panicking.Random") {
		t.Errorf("the log has no stack: %s", log.String())
	}
}
