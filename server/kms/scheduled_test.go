package kms_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

const day = int64(24 * time.Hour / time.Millisecond)

// pass lets time pass up to an instant of replicated time.
func (w *world) pass(to int64) {
	w.replica.mu.Lock()
	defer w.replica.mu.Unlock()
	w.replica.now = max(w.replica.now, to)
}

func (w *world) key(id string) *state.Key {
	w.t.Helper()
	key, ok := w.replica.Root().Key(id)
	if !ok {
		w.t.Fatalf("there is no key %s", id)
	}
	return key
}

func (w *world) must(op kms.Operation, do func(ctx context.Context, c *kms.Call) error) {
	w.t.Helper()
	if err := w.call(op, do); err != nil {
		w.t.Fatalf("%s: %v", op.Name, err)
	}
}

// named counts the traces of a name, and returns the last one.
func (w *world) named(name string) (count int, last *audit.Record) {
	w.traces.mu.Lock()
	defer w.traces.mu.Unlock()
	for _, r := range w.traces.records {
		if r.TraceName == name {
			count, last = count+1, r
		}
	}
	return count, last
}

// A due time is done once, however many schedulers look at it at once; what was
// encrypted before is still decrypted.
func TestRotationWhenDue(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	old, err := w.encrypt(key.ID, []byte("x"), envelope.Context{})
	if err != nil {
		t.Fatal(err)
	}
	w.must(kms.OpEnableKeyRotation, func(ctx context.Context, c *kms.Call) error { return w.service.EnableRotation(ctx, c, key.ID, 30) })
	due := w.key(key.ID).RotationDue
	if err := w.service.RotateDueKeys(t.Context(), due-1); err != nil || w.key(key.ID).Versions != 1 {
		t.Fatalf("before its time: %v, %d versions", err, w.key(key.ID).Versions)
	}
	w.pass(due)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := w.service.RotateDueKeys(t.Context(), due); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if k := w.key(key.ID); k.Versions != 2 || k.PrimaryVersion != 2 || k.Rotations != 1 || k.RotationDue < due+30*day {
		t.Fatalf("after its time: %+v", k)
	}
	if _, trace := w.named("rotateKey"); trace == nil || trace.Type != audit.TypeSystemAction || trace.ResourceID != key.ID || trace.SourceIP != "" {
		t.Errorf("traced as %+v", trace)
	}
	if opened, err := w.decrypt("", old.Ciphertext, envelope.Context{}); err != nil || string(opened.Plaintext) != "x" {
		t.Errorf("the old version: %v", err)
	}
	fresh, err := w.encrypt(key.ID, []byte("y"), envelope.Context{})
	if err != nil {
		t.Fatal(err)
	}
	if header, err := envelope.ParseHeader(fresh.Ciphertext); err != nil || header.KeyVersion != 2 {
		t.Errorf("encrypted with version %d (%v)", header.KeyVersion, err)
	}
}

// A disabled key waits; when it is enabled again an overdue one is rotated at once.
func TestOverdueRotation(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	w.must(kms.OpEnableKeyRotation, func(ctx context.Context, c *kms.Call) error { return w.service.EnableRotation(ctx, c, key.ID, 30) })
	w.must(kms.OpDisableKey, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.DisableKey(ctx, c, key.ID)
		return err
	})
	w.pass(w.key(key.ID).RotationDue + 5*day)
	now := w.replica.now
	if err := w.service.RotateDueKeys(t.Context(), now); err != nil || w.key(key.ID).Versions != 1 {
		t.Fatalf("disabled: %v, %d versions", err, w.key(key.ID).Versions)
	}
	w.must(kms.OpEnableKey, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.EnableKey(ctx, c, key.ID)
		return err
	})
	if err := w.service.RotateDueKeys(t.Context(), now); err != nil || w.key(key.ID).Versions != 2 {
		t.Fatalf("enabled: %v, %d versions", err, w.key(key.ID).Versions)
	}
}

// An outcome that was lost is found out, not repeated.
func TestRotationWithALostOutcome(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	w.must(kms.OpEnableKeyRotation, func(ctx context.Context, c *kms.Call) error { return w.service.EnableRotation(ctx, c, key.ID, 30) })
	w.pass(w.key(key.ID).RotationDue)
	w.replica.unknown = 1
	for range 2 {
		if err := w.service.RotateDueKeys(t.Context(), w.replica.now); err != nil {
			t.Fatal(err)
		}
	}
	if k := w.key(key.ID); k.Versions != 2 || k.Rotations != 1 {
		t.Fatalf("%+v", k)
	}
	w.replica.cutOff = true
	w.pass(w.key(key.ID).RotationDue)
	if err := w.service.RotateDueKeys(t.Context(), w.replica.now); kms.KindOf(err) != kms.KindUnavailable {
		t.Errorf("without a leader: %v", err)
	}
}

func TestDeletionWhenDue(t *testing.T) {
	w := newWorld(t)
	key, other := w.createKey("orders"), w.createKey("other")
	sealed, err := w.encrypt(key.ID, []byte("x"), envelope.Context{})
	if err != nil {
		t.Fatal(err)
	}
	schedule := func(id string) {
		w.must(kms.OpScheduleKeyDeletion, func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.ScheduleDeletion(ctx, c, id, 7)
			return err
		})
	}
	schedule(key.ID)
	schedule(other.ID)
	due := w.key(key.ID).Deletion
	if err := w.service.DeleteDueKeys(t.Context(), due-1); err != nil || w.key(key.ID).State != state.PendingDeletion {
		t.Fatalf("before its time: %v", err)
	}
	// A day before, it is warned of, once.
	for range 3 {
		if err := w.service.WarnOfDeletions(t.Context(), due-day); err != nil {
			t.Fatal(err)
		}
	}
	if n, tip := w.named("deleteKeyRiskTips"); n != 4 || tip.Rating != audit.RatingWarning { // two when they were scheduled
		t.Errorf("%d warnings, the last %+v", n, tip)
	}
	w.must(kms.OpCancelKeyDeletion, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.CancelDeletion(ctx, c, other.ID)
		return err
	})
	w.pass(due + 1000)
	if err := w.service.DeleteDueKeys(t.Context(), due+1000); err != nil {
		t.Fatal(err)
	}
	if _, exists := w.replica.Root().Key(key.ID); exists || w.key(other.ID).State != state.Disabled {
		t.Fatal("the wrong key is gone, or none")
	}
	if len(w.replica.Root().Versions(key.ID)) != 0 {
		t.Error("its material is still there")
	}
	if _, trace := w.named("deleteKey"); trace == nil || trace.Type != audit.TypeSystemAction || trace.ResourceID != key.ID || trace.ResourceName != "orders" {
		t.Errorf("traced as %+v", trace)
	}
	if _, err := w.decrypt("", sealed.Ciphertext, envelope.Context{}); kms.KindOf(err) != kms.KindNotFound || !strings.Contains(err.Error(), "was deleted at") {
		t.Errorf("decrypting: %v", err)
	}
	// To others it never was there.
	err = w.callAs("b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1", "", w.project, kms.OpDescribeKey, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.DescribeKey(ctx, c, key.ID)
		return err
	})
	if err == nil || strings.Contains(err.Error(), "deleted") {
		t.Errorf("a stranger learns %v", err)
	}
}

// What this node used is reported, and what could not be reported is not lost,
// nor what was pushed out of the module meanwhile.
func TestUsesAreReported(t *testing.T) {
	w := newWorld(t) // keeps two versions loaded
	var ids []string
	for _, name := range []string{"a", "b", "c"} {
		key := w.createKey(name)
		if _, err := w.encrypt(key.ID, []byte("x"), envelope.Context{}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, key.ID)
	}
	w.replica.cutOff = true
	if err := w.service.ReportUses(t.Context(), 0); kms.KindOf(err) != kms.KindUnavailable {
		t.Errorf("without a leader: %v", err)
	}
	w.replica.cutOff = false
	w.pass(time.Now().UnixMilli() + 1000)
	if err := w.service.ReportUses(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		use, used := w.replica.Root().Use(id, 1)
		if !used || time.Since(time.UnixMilli(use.Last)).Abs() > time.Minute {
			t.Errorf("use of %s: %+v", id, use)
		}
	}
	before := w.replica.Root()
	if err := w.service.ReportUses(t.Context(), 0); err != nil || w.replica.Root() != before {
		t.Errorf("nothing was used, and yet reported (%v)", err)
	}
	version, _ := before.Version(ids[2], 1)
	if _, err := w.encrypt(ids[2], []byte("x"), envelope.Context{}); err != nil {
		t.Fatal(err)
	}
	if err := w.service.ReportUses(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if after, _ := w.replica.Root().Version(ids[2], 1); after != version {
		t.Error("a use moved the version's record: what was loaded from it counts no more")
	}
}
