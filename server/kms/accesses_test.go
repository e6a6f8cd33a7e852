package kms_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/kms"
)

// propose has a command of a node applied.
func (w *world) propose(body command.Body) {
	w.t.Helper()
	cmd, err := command.New(body.Type(), body)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd.Caller, cmd.Proposal = fsmtest.CallerFor(body.Type()), command.Proposal{ID: uuid.NewString()}
	data, err := command.Encode(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	if result, err := w.replica.Propose(w.t.Context(), data); err != nil || result.Refusal != nil {
		w.t.Fatalf("%v: %v %v", body.Type(), result.Refusal, err)
	}
}

// An access key's last use gets into the state, and then not again for some
// minutes, however often the key is used and whichever node tells.
func TestLastUseOfAccessKeys(t *testing.T) {
	w := newWorld(t)
	use := func() {
		t.Helper()
		err := w.call(kms.OpListKeys, func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.ListKeys(ctx, c, kms.ListKeysRequest{Limit: 1})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	report := func() {
		t.Helper()
		if err := w.service.ReportAccesses(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	told := func() int64 {
		access, ok := w.replica.Root().Access(fsmtest.AccessKeyID)
		if !ok {
			return 0
		}
		return access.Last
	}
	w.pass(time.Now().UnixMilli())
	report()
	if told() != 0 {
		t.Error("a last use of a key that was not used")
	}
	use()
	w.replica.cutOff = true
	if err := w.service.ReportAccesses(t.Context(), 0); kms.KindOf(err) != kms.KindUnavailable {
		t.Errorf("without a leader: %v", err)
	}
	w.replica.cutOff = false
	w.pass(time.Now().UnixMilli() + 1)
	report()
	if away := time.Since(time.UnixMilli(told())); away.Abs() > time.Minute {
		t.Fatalf("last used %s ago", away)
	}
	before := w.replica.Root()
	for range 3 {
		use()
		report()
	}
	if w.replica.Root() != before {
		t.Error("told again at once")
	}

	// Another node has told of a use of six minutes ago: this one's is news.
	older := command.RecordAccess{Uses: []command.Access{{AccessKeyID: fsmtest.AccessKeyID, Last: time.Now().UnixMilli() - 360_000}}}
	w2 := newWorld(t)
	w2.pass(time.Now().UnixMilli() - 360_000)
	w2.propose(older)
	w2.pass(time.Now().UnixMilli())
	w, before = w2, w2.replica.Root()
	use()
	report()
	if w.replica.Root() == before {
		t.Error("a use six minutes later is not told")
	}
}

// Revocations go when their tokens would have ended by themselves, not before.
func TestRevocationsAreForgotten(t *testing.T) {
	w := newWorld(t)
	revoke := func(name string, expires int64) {
		t.Helper()
		err := w.call(kms.OpRevokeToken, func(ctx context.Context, c *kms.Call) error {
			return w.service.RevokeToken(ctx, c, command.RevokeToken{TokenID: fsmtest.APITokenID(name), UserID: fsmtest.UserID, Expires: expires})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	revoke("a", fsmtest.Start+60_000)
	revoke("b", fsmtest.Start+120_000)
	forget := func(now int64, want int) {
		t.Helper()
		w.pass(now)
		if err := w.service.ForgetRevoked(t.Context(), now); err != nil {
			t.Fatal(err)
		}
		if got := w.replica.Root().RevokedCount(); got != want {
			t.Errorf("at %d ms %d revocations are kept, want %d", now-fsmtest.Start, got, want)
		}
	}
	forget(fsmtest.Start+59_000, 2)
	before := w.replica.Root()
	forget(fsmtest.Start+59_500, 2)
	if w.replica.Root() != before {
		t.Error("nothing is over, and yet something is proposed")
	}
	forget(fsmtest.Start+60_002, 1)
	forget(fsmtest.Start+200_000, 0)
}
