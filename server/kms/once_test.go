package kms_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

// A repeat under an idempotency token that the state has forgotten is refused,
// and not done again, also by a node whose clock is minutes fast: how old it is
// goes by the leader's time.
func TestForgottenRepeatAtANodeWithAFastClock(t *testing.T) {
	w := newWorld(t)
	const fast = 5 * time.Minute // the cluster's time is so far behind time.Now at the end
	elapsed := 15*time.Minute + 10*time.Second
	begin := time.Now().Add(-fast - elapsed).UnixMilli()
	w.replica.now = begin
	key := w.createKey("orders").ID
	rotate := func(age time.Duration) error {
		in := kms.Incoming{
			Operation: kms.OpRotateOnDemand, RequestID: uuid.NewString(), Source: "127.0.0.1", Project: w.project,
			Once: kms.Once{Token: "token-1", Age: age},
		}
		return w.service.Run(t.Context(), in, func(ctx context.Context, c *kms.Call) error {
			if err := c.Identify(ctx, iam.Principal{UserID: fsmtest.UserID, UserName: "u", DomainID: fsmtest.DomainID, AccessKeyID: fsmtest.AccessKeyID}); err != nil {
				return err
			}
			_, err := w.service.RotateKey(ctx, c, key)
			return err
		})
	}
	rotated := func() {
		t.Helper()
		if k, _ := w.replica.Root().Key(key); k.PrimaryVersion != 2 {
			t.Errorf("the primary version is %d, want 2: one rotation was asked for", k.PrimaryVersion)
		}
	}
	for _, age := range []time.Duration{0, time.Second} {
		if err := rotate(age); err != nil {
			t.Fatal(err)
		}
		rotated()
	}
	w.replica.now = begin + elapsed.Milliseconds()
	w.createKey("another") // replicated time moves on, and the answer is forgotten
	wantKind(t, rotate(elapsed), kms.KindOutcomeUnknown)
	rotated()
}
