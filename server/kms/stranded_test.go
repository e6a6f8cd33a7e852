package kms_test

import (
	"context"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

var somebody = iam.Principal{UserID: fsmtest.UserID, DomainID: fsmtest.DomainID, AccessKeyID: fsmtest.AccessKeyID}

// A use of a key is done by a peer where this node has no state that may answer
// it, and traced here as if it had been done here; nothing else is.
func TestAStrandedNode(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	bound, err := envelope.StringContext("tenant 7")
	must(t, err)
	asked := 0
	in := kms.Incoming{Operation: kms.OpEncryptData, RequestID: "r", Project: w.project}
	// A peer is the same service, asked while it has contact.
	do := func(ctx context.Context, c *kms.Call) error {
		if err := c.Identify(ctx, somebody); err != nil {
			return err
		}
		return w.encrypting(key.ID, bound)(ctx, c)
	}
	in.Stranded = func(ctx context.Context, c *kms.Call) (answered bool, err error) {
		asked++
		w.replica.apart = false
		defer func() { w.replica.apart = true }()
		must(t, c.Identify(ctx, somebody))
		err = w.service.Run(ctx, kms.Incoming{Operation: in.Operation, RequestID: "r", Project: w.project, Forwarded: true}, func(ctx context.Context, peers *kms.Call) error {
			err := do(ctx, peers)
			c.Adopt(peers.Findings())
			return err
		})
		return true, err
	}
	f := func(what string, wantAsked int, want kms.Kind) {
		t.Helper()
		asked = 0
		err := w.service.Run(t.Context(), in, do)
		switch {
		case want == 0 && err != nil:
			t.Errorf("%s: %v", what, err)
		case want != 0:
			wantKind(t, err, want)
		}
		if asked != wantAsked {
			t.Errorf("%s: a peer was asked %d times, want %d", what, asked, wantAsked)
		}
	}

	f("with contact", 0, 0)
	here := *w.traces.last()
	w.replica.apart = true
	f("stranded", 1, 0)
	there := *w.traces.last()
	if there.ResourceID != key.ID || there.ResourceName != "orders" || there.Code != "200" || there.User != here.User ||
		there.Request.String() != here.Request.String() || there.Response.String() != here.Response.String() || there.Request.String() == "" {
		t.Errorf("the trace is %+v, of a call that was done here it is %+v", there, here)
	}
	w.replica.serving = true
	f("under a lease", 0, 0)
	w.replica.serving = false

	w.replica.apart = false
	must(t, w.disable(key.ID))
	w.replica.apart = true
	f("of a key that the peer refuses", 1, kms.KindKeyDisabled)
	if record := w.traces.last(); record.ResourceID != key.ID || record.Code == "200" {
		t.Errorf("the trace of a refusal is %+v", record)
	}
	in.Stranded = func(context.Context, *kms.Call) (bool, error) { asked++; return false, nil }
	f("no peer answers", 1, kms.KindUnavailable)
	w.replica.apart = false
	f("no peer answers, but the leader does", 1, kms.KindKeyDisabled)
	f("the leader answered before", 0, kms.KindKeyDisabled)
	w.replica.apart = true
	if in.Operation = kms.OpDescribeKey; in.Operation.Uses() {
		t.Fatal("looking at a key is a use")
	}
	f("management", 0, kms.KindUnavailable)
}
