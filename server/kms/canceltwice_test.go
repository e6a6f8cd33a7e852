package kms_test

import (
	"context"
	"testing"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

// A repeat is told what the first one was told: the state to which the key has
// come back, which for a key without material is not that for others.
func TestARepeatedCancellationSaysTheSame(t *testing.T) {
	w := newWorld(t)
	f := func(key *state.Key, want state.KeyState) {
		t.Helper()
		must(t, w.call(kms.OpScheduleKeyDeletion, func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.ScheduleDeletion(ctx, c, key.ID, 7)
			return err
		}))
		in := kms.Incoming{
			Operation: kms.OpCancelKeyDeletion, RequestID: uuid.NewString(), Source: "127.0.0.1", Project: w.project,
			Once: kms.Once{Token: "token of " + key.Name},
		}
		for _, attempt := range []string{"first", "repeat"} {
			must(t, w.service.Run(t.Context(), in, func(ctx context.Context, c *kms.Call) error {
				if err := c.Identify(ctx, iam.Principal{UserID: fsmtest.UserID, UserName: "u", DomainID: fsmtest.DomainID, AccessKeyID: fsmtest.AccessKeyID}); err != nil {
					return err
				}
				back, err := w.service.CancelDeletion(ctx, c, key.ID)
				if err == nil && back.State != want {
					t.Errorf("the %s attempt says that the key is %s, want %s", attempt, back.State, want)
				}
				return err
			}))
		}
	}
	f(w.createKey("orders"), state.Disabled)
	f(w.external(), state.PendingImport)
}
