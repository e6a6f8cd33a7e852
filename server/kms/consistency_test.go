package kms_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

// barriersOf counts the barriers that do waits for.
func (w *world) barriersOf(do func()) int {
	before := w.replica.barriers
	do()
	return w.replica.barriers - before
}

func (w *world) disable(key string) error {
	return w.call(kms.OpDisableKey, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.DisableKey(ctx, c, key)
		return err
	})
}

func (w *world) enable(key string) error {
	return w.call(kms.OpEnableKey, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.EnableKey(ctx, c, key)
		return err
	})
}

// reEncrypt fails on a refusal, and else when the ciphertext is not under the key.
func (w *world) reEncrypt(ciphertext []byte, key string) error {
	return w.call(kms.OpReEncrypt, func(ctx context.Context, c *kms.Call) error {
		_, to, err := w.service.ReEncrypt(ctx, c, kms.ReEncryptRequest{
			Source: kms.DecryptRequest{Ciphertext: ciphertext}, Destination: kms.EncryptRequest{Key: key},
		})
		if err == nil && to.KeyID != key {
			w.t.Errorf("it is under %s, want %s", to.KeyID, key)
		}
		return err
	})
}

func (w *world) setConsistency(mode state.Consistency, maxAge time.Duration) {
	w.t.Helper()
	if err := w.service.SetConsistency(w.t.Context(), "", command.SetConsistency{Mode: mode, MaxAge: maxAge.Milliseconds()}); err != nil {
		w.t.Fatal(err)
	}
}

// Whoever sets the mode once more, after a call that did not wait until no node
// may answer from an old state, waits for the rest of that time.
func TestARepeatedChangeOfTheModeWaits(t *testing.T) {
	w := newWorld(t)
	w.setConsistency(state.ConsistencyAvailable, 5*time.Second)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	set := func(ctx context.Context, mode state.Consistency, maxAge time.Duration) error {
		return w.service.SetConsistency(ctx, "", command.SetConsistency{Mode: mode, MaxAge: maxAge.Milliseconds()})
	}
	wantKind(t, set(gone, state.ConsistencyStrict, 0), kms.KindOutcomeUnknown)
	wantKind(t, set(gone, state.ConsistencyStrict, 0), kms.KindOutcomeUnknown)
	wantKind(t, set(gone, state.ConsistencyLease, 0), kms.KindOutcomeUnknown)
	w.replica.advance(w.replica.now + 5500) // the clock of a node may be slow, and that of a leader behind
	wantKind(t, set(gone, state.ConsistencyLease, 0), kms.KindOutcomeUnknown)
	w.replica.advance(w.replica.now + 9125)
	begun := time.Now()
	must(t, set(t.Context(), state.ConsistencyStrict, 0))
	if took := time.Since(begun); took < 900*time.Millisecond {
		t.Errorf("it returned after %s: another node may answer from an old state for a second yet", took)
	}
	w.replica.advance(w.replica.now + 1000)
	must(t, set(gone, state.ConsistencyStrict, 0))

	// A bound that was lowered counts as what it was.
	must(t, set(t.Context(), state.ConsistencyAvailable, time.Minute))
	wantKind(t, set(gone, state.ConsistencyAvailable, 5*time.Second), kms.KindOutcomeUnknown)
	w.replica.advance(w.replica.now + 20_000)
	wantKind(t, set(gone, state.ConsistencyLease, 0), kms.KindOutcomeUnknown)
	w.replica.advance(w.replica.now + 57_000)
	wantKind(t, set(gone, state.ConsistencyLease, 0), kms.KindOutcomeUnknown)
	w.replica.advance(w.replica.now + 1000)
	must(t, set(gone, state.ConsistencyLease, 0))
}

// Under a lease a yes asks nobody; a no is asked for again, of the newest state;
// management always asks.
func TestUsesUnderALease(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	sealed, err := w.encrypt(key.ID, []byte("hello"), envelope.NoContext())
	if err != nil {
		t.Fatal(err)
	}
	w.replica.serving = true
	f := func(what string, want int, kind kms.Kind, do func() error) {
		t.Helper()
		var err error
		if got := w.barriersOf(func() { err = do() }); got != want {
			t.Errorf("%s: %d barriers, want %d", what, got, want)
		}
		if kind == 0 && err != nil {
			t.Errorf("%s: %v", what, err)
		} else if kind != 0 {
			wantKind(t, err, kind)
		}
	}
	f("a thousand uses", 0, 0, func() error {
		for range 1000 {
			if opened, err := w.decrypt("", sealed.Ciphertext, envelope.NoContext()); err != nil || string(opened.Plaintext) != "hello" {
				return err
			}
		}
		return nil
	})
	f("an unknown key", 1, kms.KindNotFound, func() error {
		_, err := w.encrypt(uuid.NewString(), []byte("x"), envelope.NoContext())
		return err
	})
	f("an unknown credential", 1, kms.KindWrongProject, func() error {
		return w.callAs(fsmtest.UserID, "AAAABBBBCCCCDDDDEEEE", "0123", kms.OpEncryptData, func(context.Context, *kms.Call) error { return nil })
	})
	f("a value that no state makes good", 0, kms.KindInvalid, func() error {
		_, err := w.encrypt(key.ID, nil, envelope.NoContext())
		return err
	})
	f("a description", 1, 0, func() error {
		return w.call(kms.OpDescribeKey, func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.DescribeKey(ctx, c, key.ID)
			return err
		})
	})
	f("a change", 1, 0, func() error { return w.disable(key.ID) })
	f("a use of what is disabled", 1, kms.KindKeyDisabled, func() error {
		_, err := w.decrypt("", sealed.Ciphertext, envelope.NoContext())
		return err
	})

	// What an old state denies and the newest one allows is allowed, once.
	old := w.replica.machine.State()
	if err := w.enable(key.ID); err != nil {
		t.Fatal(err)
	}
	w.replica.old = old
	traced := len(w.traces.records)
	f("a use that the old state denies", 1, 0, func() error {
		sealed, err := w.encrypt(key.ID, []byte("again"), envelope.NoContext())
		if err == nil {
			opened, err := w.decrypt("", sealed.Ciphertext, envelope.NoContext())
			if err != nil || string(opened.Plaintext) != "again" {
				t.Errorf("it sealed something else: %v", err)
			}
		}
		return err
	})
	if got := len(w.traces.records) - traced; got != 2 {
		t.Errorf("%d traces of two calls", got)
	}

	other := w.createKey("other")
	f("re-encrypting", 0, 0, func() error { return w.reEncrypt(sealed.Ciphertext, other.ID) })

	// Without a lease, or where none counts, everything asks.
	w.replica.serving = false
	f("without a lease", 1, 0, func() error { _, err := w.encrypt(key.ID, []byte("x"), envelope.NoContext()); return err })
	w.replica.serving = true
	w.setConsistency(state.ConsistencyStrict, 0)
	f("strict", 1, 0, func() error { _, err := w.encrypt(key.ID, []byte("x"), envelope.NoContext()); return err })
	w.setConsistency(state.ConsistencyLease, 0)
	f("lease again", 0, 0, func() error { _, err := w.encrypt(key.ID, []byte("x"), envelope.NoContext()); return err })
}

// A use is answered from the state that is there when the lease has been looked at:
// the lease may have come with it. One that was loaded before may be older than any
// lease allows.
func TestTheStateIsLoadedAfterTheLookAtTheLease(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	enabled := w.replica.machine.State()
	must(t, w.disable(key.ID))
	w.replica.serving, w.replica.old, w.replica.comes = true, enabled, true
	_, err := w.encrypt(key.ID, []byte("x"), envelope.NoContext())
	wantKind(t, err, kms.KindKeyDisabled)
}

// What is no well-formed request says nothing of the state. A signature that
// does not match is looked at in the newest one, be the access key known or not:
// the two are one refusal, and cost the same.
func TestDenialsOfTheState(t *testing.T) {
	w := newWorld(t)
	w.replica.serving = true
	f := func(reason string, want int) {
		t.Helper()
		got := w.barriersOf(func() {
			w.service.Run(t.Context(), kms.Incoming{Operation: kms.OpEncryptData, Project: w.project}, func(context.Context, *kms.Call) error {
				return &iam.Error{Reason: reason}
			})
		})
		if got != want {
			t.Errorf("%q: %d barriers, want %d", reason, got, want)
		}
	}
	f("verify aksk signature fail", 1)
	f("verify aksk signature fail, X-Sdk-Date is more than 15 minutes from the server's time", 0)
	f("decrypt token fail", 1)
	f("something that this package does not know", 1)
}

// An answer waits for the last fenced command that it may follow from, and for
// none that it cannot.
func TestAnswersWaitUntilReleased(t *testing.T) {
	w := newWorld(t)
	first, second := w.createKey("first"), w.createKey("second")
	w.replica.serving = true
	if err := w.disable(first.ID); err != nil {
		t.Fatal(err)
	}
	fence := w.replica.machine.State().LastFence()
	f := func(what string, want []uint64, do func() error) {
		t.Helper()
		w.replica.waited = nil
		do()
		if got := slices.Compact(w.replica.waited); !slices.Equal(got, want) {
			t.Errorf("%s waited for %v, want %v", what, got, want)
		}
	}
	use := func(key string) func() error {
		return func() error { _, err := w.encrypt(key, []byte("x"), envelope.NoContext()); return err }
	}
	f("a use of the key", []uint64{fence}, use(first.ID))
	f("a use of another key", nil, use(second.ID))
	describe := func(key string) func() error {
		return func() error {
			return w.call(kms.OpDescribeKey, func(ctx context.Context, c *kms.Call) error {
				_, err := w.service.DescribeKey(ctx, c, key)
				return err
			})
		}
	}
	f("a look at the key", []uint64{fence}, describe(first.ID))
	f("a look at another key", nil, describe(second.ID))
	f("a change of another key", nil, func() error {
		return w.call(kms.OpUpdateKeyDescription, func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.UpdateDescription(ctx, c, second.ID, "another one")
			return err
		})
	})
	f("a listing", []uint64{fence}, func() error {
		return w.call(kms.OpListKeys, func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.ListKeys(ctx, c, kms.ListKeysRequest{Limit: 10})
			return err
		})
	})
	f("a no-op", []uint64{fence}, func() error { return w.disable(first.ID) })
	must(t, w.enable(first.ID))
	ofFirst, err := w.encrypt(first.ID, []byte("x"), envelope.NoContext())
	must(t, err)
	ofSecond, err := w.encrypt(second.ID, []byte("x"), envelope.NoContext())
	must(t, err)
	f("re-encrypting from the key", []uint64{fence}, func() error { return w.reEncrypt(ofFirst.Ciphertext, second.ID) })
	f("re-encrypting to the key", []uint64{fence}, func() error { return w.reEncrypt(ofSecond.Ciphertext, first.ID) })
	f("re-encrypting under another key", nil, func() error { return w.reEncrypt(ofSecond.Ciphertext, second.ID) })
	f("a wrong parameter", nil, func() error {
		_, err := w.encrypt(second.ID, nil, envelope.NoContext())
		return err
	})

	w.replica.unreleased = true
	_, err = w.encrypt(first.ID, []byte("x"), envelope.NoContext())
	wantKind(t, err, kms.KindUnavailable)
	if record := w.traces.last(); record.Code == "200" {
		t.Errorf("the trace says %s", record.Code)
	}
	wantKind(t, w.enable(first.ID), kms.KindOutcomeUnknown)
	if _, err := w.encrypt(second.ID, []byte("x"), envelope.NoContext()); err != nil {
		t.Errorf("a use of another key: %v", err)
	}
}

// In the available mode a node without contact answers from what it has, says
// how old that is, and stops at the bound.
func TestAvailable(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	w.setConsistency(state.ConsistencyAvailable, 10*time.Second)
	w.replica.apart, w.replica.unreleased = true, true
	f := func(age time.Duration, want kms.Kind) {
		t.Helper()
		w.replica.age = age
		var told time.Duration
		in := kms.Incoming{Operation: kms.OpEncryptData, RequestID: "r", Project: w.project, Aged: func(age time.Duration) { told = age }}
		err := w.service.Run(t.Context(), in, func(ctx context.Context, c *kms.Call) error {
			if err := c.Identify(ctx, iam.Principal{UserID: fsmtest.UserID, DomainID: fsmtest.DomainID, AccessKeyID: fsmtest.AccessKeyID}); err != nil {
				return err
			}
			_, err := w.service.EncryptData(ctx, c, kms.EncryptRequest{Key: key.ID, Plaintext: []byte("x")})
			return err
		})
		switch {
		case want != 0:
			wantKind(t, err, want)
		case err != nil || told != age:
			t.Errorf("a state %s old: %v, told %s", age, err, told)
		}
		if ready := w.service.HasState() == nil; ready != (want == 0) {
			t.Errorf("a state %s old: ready %v", age, ready)
		}
	}
	f(time.Second, 0)
	f(10*time.Second, 0)
	f(11*time.Second, kms.KindUnavailable)
	wantKind(t, w.disable(key.ID), kms.KindUnavailable)
}
