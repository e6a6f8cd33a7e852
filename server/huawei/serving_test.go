package huawei_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The request's body is gone when the dialect has answered, whatever it has
// answered.
func TestRequestBodiesAreWiped(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	checked := 0
	w.seen = func(rc *fasthttp.RequestCtx) {
		checked++
		if body := rc.Request.Body(); len(body) == 0 || !bytes.Equal(body, make([]byte, len(body))) {
			t.Errorf("a body of %d bytes is still there", len(body))
		}
	}
	w.must("encrypt-data", `{"key_id":"`+key+`","plain_text":"secret"}`, nil)
	w.ask("encrypt-data", `{"key_id":"`+key+`","plain_text":"secret","encryption_context":7}`)
	w.ask("encrypt-data", `{"key_id":"`+key+`","plain_text":"secret"}`, func(r *http.Request) { r.Header.Del("Authorization") })
	if checked != 3 {
		t.Errorf("%d requests were looked at", checked)
	}
}

// Buffers are shared between requests; answers are not.
func TestSideBySide(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 25 {
				plaintext := fmt.Sprintf("worker %d, round %d", worker, i)
				a := w.ask("encrypt-data", `{"key_id":"`+key+`","plain_text":"`+plaintext+`"}`)
				var sealed wire.EncryptDataReply
				if err := json.Unmarshal([]byte(a.body), &sealed); err != nil {
					t.Errorf("%s: %v", a.body, err)
					return
				}
				ciphertext, err := json.Marshal(sealed.CipherText)
				if err != nil {
					t.Error(err)
					return
				}
				a = w.ask("decrypt-data", `{"cipher_text":`+string(ciphertext)+`}`)
				var opened wire.DecryptDataReply
				if err := json.Unmarshal([]byte(a.body), &opened); err != nil || string(opened.PlainText) != plaintext {
					t.Errorf("%q came back as %s (%v)", plaintext, a.body, err)
				}
			}
		})
	}
	wg.Wait()
}

// In the available mode an answer from an old state says how old that is, and no
// other answer does.
func TestTheAgeOfAnOldStateIsSaid(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	f := func(what, verb, want string) {
		t.Helper()
		a := w.ask(verb, `{"key_id":"`+key+`","plain_text":"x"}`)
		if got := a.header.Values("X-Raftkms-State-Age"); a.status != 200 || strings.Join(got, ", ") != want {
			t.Errorf("%s: %d %s, of an age of %q, want %q", what, a.status, a.body, got, want)
		}
	}
	w.replica.age = 1500 * time.Millisecond
	f("lease", "encrypt-data", "")
	if err := w.service.SetConsistency(t.Context(), "", command.SetConsistency{Mode: state.ConsistencyAvailable, MaxAge: 10_000}); err != nil {
		t.Fatal(err)
	}
	f("without a lease", "encrypt-data", "1.5s")
	f("management", "describe-key", "")
	w.replica.age = 9876543210 * time.Nanosecond
	f("older", "encrypt-data", "9.877s")
	w.replica.age = 10_001 * time.Millisecond
	f("too old, but the newest can be had", "encrypt-data", "")
	w.replica.leased = true
	f("with a lease", "encrypt-data", "")
}

// So does an answer that comes from a peer, of the older one where both nodes have
// part in it.
func TestTheAgeOfAPeersStateIsSaid(t *testing.T) {
	w := newWorld(t)
	theirs := &single{machine: w.replica.machine}
	config := w.config
	config.Replica = theirs
	service := kms.New(config)
	t.Cleanup(service.Close)
	peer := huawei.New(service, nil)
	w.dialect.SetElsewhere(func(ctx context.Context, f *huawei.Forwarded) (huawei.Outcome, error) {
		return huawei.EncryptData.Answer(ctx, peer, f, believed, huawei.Path{Project: fsmtest.ProjectID}), nil
	})
	key := w.createKey("orders")
	if err := w.service.SetConsistency(t.Context(), "", command.SetConsistency{Mode: state.ConsistencyAvailable, MaxAge: 10_000}); err != nil {
		t.Fatal(err)
	}
	f := func(what string, own, peers time.Duration, want string) {
		t.Helper()
		w.replica.age, w.replica.leased = own, own == 0
		theirs.age, theirs.leased = peers, peers == 0
		a := w.ask("encrypt-data", `{"key_id":"`+key+`","plain_text":"x"}`)
		if got := a.header.Values("X-Raftkms-State-Age"); a.status != 200 || strings.Join(got, ", ") != want {
			t.Errorf("%s: %d %s, of an age of %q, want %q", what, a.status, a.body, got, want)
		}
	}
	w.replica.apart = true
	f("a state that is too old, and an old one", 11*time.Second, 9*time.Second, "9s")
	f("a state that is too old, and a lease", 11*time.Second, 0, "")
	w.replica.apart = false
	w.service.err = hsm.ErrUnavailable
	f("no module, and an older state", 3*time.Second, 7*time.Second, "7s")
	f("no module, and a newer state", 8*time.Second, 7*time.Second, "8s")
	f("no module, and a lease", 8*time.Second, 0, "8s")
	f("no module but a lease, and an old state", 0, 7*time.Second, "7s")
	f("no module, and leases", 0, 0, "")
}

// BenchmarkCreateDataKey is a whole request without its connection: identity,
// decoding, service, software module, encoding.
func BenchmarkCreateDataKey(b *testing.B) {
	w := newWorld(b)
	key := w.createKey("orders")
	d, raw := w.captured(`{"key_id":"` + key + `"}` + "\n")
	b.ReportAllocs()
	for b.Loop() {
		var rc fasthttp.RequestCtx
		rc.Init(&fasthttp.Request{}, nil, nil)
		raw.CopyTo(&rc.Request)
		huawei.CreateDataKey.Serve(b.Context(), d, &rc, "r1", huawei.Path{Project: fsmtest.ProjectID})
		if rc.Response.StatusCode() != 200 {
			b.Fatal(rc.Response.String())
		}
		if err := rc.Response.CloseBodyStream(); err != nil {
			b.Fatal(err)
		}
	}
}

// captured is the dialect and a signed create-datakey request as it has
// received it.
func (w *world) captured(body string) (*huawei.Dialect, *fasthttp.Request) {
	w.t.Helper()
	raw := new(fasthttp.Request)
	w.before = func(rc *fasthttp.RequestCtx) { rc.Request.CopyTo(raw) }
	w.must("create-datakey", body, nil)
	return w.dialect, raw
}
