package audit_test

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/server/audit"
)

func TestDetails(t *testing.T) {
	f := func(put func(d *audit.Details), want string) {
		t.Helper()
		d := new(audit.Details)
		put(d)
		got := d.String()
		if got != want || got != "" && !json.Valid([]byte(got)) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(func(*audit.Details) {}, "")
	f(func(d *audit.Details) { d.Text("key_id", "") }, "")
	f(func(d *audit.Details) { d.Text("a", "x\"y\n"); d.Number("b", -1); d.Flag("c", true) }, `{"a":"x\"y\n","b":-1,"c":true}`)
	f(func(d *audit.Details) {
		d.Digest("d", []byte{1, 255})
		d.Texts("e", []string{"x", "y"})
		d.Texts("f", nil)
	}, `{"d":"01ff","e":["x","y"],"f":[]}`)
	f(func(d *audit.Details) { d.Pairs("p", maps.All(map[string]string{"k": "v"})) }, `{"p":{"k":"v"}}`)
	f(func(d *audit.Details) {
		d.Symbol("a", "RSAES_OAEP_SHA_256")
		d.Symbol("b", "")
		d.Symbol("c", "c2VjcmV0")
		d.Symbol("d", strings.Repeat("A", 41))
		d.Symbol("e", "A\n")
	}, `{"a":"RSAES_OAEP_SHA_256","c":"?","d":"?","e":"?"}`)
	f(func(d *audit.Details) { d.Text("long", strings.Repeat("x", 10000)) }, `{"long":"`+strings.Repeat("x", 256)+`"}`)
	// What does not fit is left out as a whole, and what fits after it is in.
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("x", 100)
	}
	f(func(d *audit.Details) { d.Texts("many", many); d.Number("n", 1) }, `{"n":1,"truncated":true}`)
	f(func(d *audit.Details) { d.Texts("many", many) }, `{"truncated":true}`)
}

// A record costs no more than one allocation, whatever it tells.
func TestAppendAllocates(t *testing.T) {
	log, _ := open(t, audit.Config{Dir: t.TempDir(), NodeID: "n1", Sync: audit.SyncInterval})
	ctx := context.Background()
	n := testing.AllocsPerRun(500, func() {
		r := record
		r.Request, r.Response = new(audit.Details), nil
		r.Request.Text("key_id", "alias/orders")
		r.Request.Number("bits", 256)
		if err := log.Append(ctx, &r); err != nil {
			t.Fatal(err)
		}
	})
	// One is the record with its details; that is the call's, and the test's.
	if n > 2 {
		t.Errorf("%v allocations a record", n)
	}
}

func TestTraceID(t *testing.T) {
	var h audit.Hash
	for i := range h {
		h[i] = 0xff
	}
	if got := audit.TraceID(h); got != "ffffffff-ffff-8fff-bfff-ffffffffffff" {
		t.Error(got)
	}
}
