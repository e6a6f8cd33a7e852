package huawei_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/huawei"
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
