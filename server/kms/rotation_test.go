package kms_test

import (
	"context"
	"testing"

	"github.com/raftkms/raftkms/server/kms"
)

// A key that is enabled while its rotation is under way is rotated, or refused as
// disabled: never for something that its caller did not ask for.
func TestRotationOfAKeyThatIsEnabledMeanwhile(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders").ID
	must(t, w.call(kms.OpDisableKey, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.DisableKey(ctx, c, key)
		return err
	}))
	rotate := func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.RotateKey(ctx, c, key)
		return err
	}
	wantKind(t, w.call(kms.OpRotateOnDemand, rotate), kms.KindKeyDisabled)
	w.replica.meanwhile = func() {
		must(t, w.call(kms.OpEnableKey, func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.EnableKey(ctx, c, key)
			return err
		}))
	}
	if err := w.call(kms.OpRotateOnDemand, rotate); err != nil && kms.KindOf(err) != kms.KindKeyDisabled {
		t.Errorf("rotating a key that is enabled meanwhile: %v", err)
	}
}
