package kms

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
)

// panicking is a device whose module has a mistake.
type panicking struct{ hsm.Module }

func (panicking) Describe() hsm.Description {
	return hsm.Description{Device: true, MaxBlocks: 1, Sessions: 1}
}

func (panicking) VerifyMAC(_ context.Context, message, _ []byte) error {
	_ = message[:1<<20]
	return nil
}

// A panic while a key is loaded, on behalf of all who wait for it, is their error
// and not the end of the process.
func TestAPanicWhileLoadingIsAnError(t *testing.T) {
	var log bytes.Buffer
	keys := newKeyring(panicking{}, 0, slog.New(slog.NewTextHandler(&log, nil)))
	defer keys.close()
	id := uuid.NewString()
	_, err := keys.use(t.Context(), &state.Key{ID: id, Spec: "AES_256", Level: uint8(hsm.LevelHSM)}, &state.Version{KeyID: id, Number: 1, RootGeneration: 1})
	if err == nil || KindOf(err) != KindInternal {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(log.String(), "panicking.VerifyMAC") {
		t.Errorf("the log has no stack: %s", log.String())
	}
}
