//go:build !race

// Under the race detector a sync.Pool drops some of what it is given, on
// purpose, so there is nothing to count there.

package huawei_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/huawei"
)

// served is a signed request that is served over and over, without a connection.
type served struct {
	w        *world
	endpoint huawei.Endpoint
	rc       *fasthttp.RequestCtx
	body     []byte
	sink     discarded
}

// discarded counts what is written to it.
type discarded int

func (d *discarded) Write(p []byte) (int, error) {
	*d += discarded(len(p))
	return len(p), nil
}

func (w *world) served(e huawei.Endpoint, verb, body string) *served {
	w.t.Helper()
	path := "/v1.0/" + fsmtest.ProjectID + "/kms/" + verb
	signed := request.NewHttpRequestBuilder().WithEndpoint(endpoint).WithMethod(http.MethodPost).WithPath(path).
		AddHeaderParam("Content-Type", "application/json").AddHeaderParam("X-Sdk-Date", time.Now().UTC().Format("20060102T150405Z")).
		WithBody("body", body).Build()
	headers, err := signer.Sign(signed, fsmtest.AccessKeyID, secretKey)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &served{w: w, endpoint: e, rc: new(fasthttp.RequestCtx), body: []byte(body)}
	s.rc.Init(new(fasthttp.Request), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, nil)
	s.rc.Request.Header.SetMethod(http.MethodPost)
	s.rc.Request.SetRequestURI(endpoint + path)
	s.rc.Request.Header.SetContentType("application/json")
	for name, value := range headers {
		s.rc.Request.Header.Set(name, value)
	}
	s.once()
	return s
}

// once serves the request and has the answer written.
func (s *served) once() {
	s.rc.Request.SetBody(s.body) // the one before was wiped
	s.rc.Response.Reset()
	s.endpoint.Serve(context.Background(), s.w.dialect, s.rc, "8e5c1b0e-0000-4000-8000-000000000000", huawei.Path{Project: fsmtest.ProjectID})
	if s.rc.Response.StatusCode() != fasthttp.StatusOK {
		s.w.t.Fatalf("status %d", s.rc.Response.StatusCode())
	}
	if err := s.rc.Response.BodyWriteTo(&s.sink); err != nil {
		s.w.t.Fatal(err)
	}
	if err := s.rc.Response.CloseBodyStream(); err != nil {
		s.w.t.Fatal(err)
	}
}

// hotCalls are the calls that the budgets are of.
func hotCalls(w *world) map[string]*served {
	key := w.createKey("orders")
	var made struct {
		Plain  string `json:"plain_text"`
		Cipher string `json:"cipher_text"`
	}
	w.must("create-datakey", `{"key_id":"`+key+`"}`, &made)
	var sealed struct {
		Cipher string `json:"cipher_text"`
	}
	w.must("encrypt-data", `{"key_id":"`+key+`","plain_text":"aGVsbG8="}`, &sealed)
	body := func(of any) string {
		text, err := json.Marshal(of)
		if err != nil {
			w.t.Fatal(err)
		}
		return string(text)
	}
	return map[string]*served{
		"create-datakey":  w.served(huawei.CreateDataKey, "create-datakey", body(map[string]any{"key_id": key})),
		"decrypt-datakey": w.served(huawei.DecryptDataKey, "decrypt-datakey", body(map[string]any{"key_id": key, "cipher_text": made.Cipher, "datakey_cipher_length": "32"})),
		"encrypt-data":    w.served(huawei.EncryptData, "encrypt-data", body(map[string]any{"key_id": key, "plain_text": "hello"})),
		"decrypt-data":    w.served(huawei.DecryptData, "decrypt-data", body(map[string]any{"cipher_text": sealed.Cipher})),
	}
}

// newHotWorld is a world whose traces go to a real log, and whose node has a lease.
func newHotWorld(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.replica.leased = true
	log, err := audit.OpenConfig(audit.Config{Dir: t.TempDir(), NodeID: fsmtest.NodeID, Sync: audit.SyncInterval})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	w.traces.through = log.Append
	return w
}

// TestAllocationsOfHotCalls: from the request as it was parsed to the answer
// before TLS, with the trace written. What is allocated: the call with its
// trace, which is never used again; the access key and the key id as text, which
// the trace keeps; the stream that wipes the answer; the secret, the ciphertext
// and what holds them; and AES-GCM under a key of one message. To open a data key
// takes two more, its length as text and its digest. Path, address and program
// are texts of the request before where they are the same.
func TestAllocationsOfHotCalls(t *testing.T) {
	budget := map[string]float64{"create-datakey": 10, "decrypt-datakey": 12, "encrypt-data": 10, "decrypt-data": 10}
	for name, s := range hotCalls(newHotWorld(t)) {
		got := testing.AllocsPerRun(1000, s.once)
		if got > budget[name] {
			t.Errorf("%s: %v allocations a call, want %v at most", name, got, budget[name])
		}
	}
}

// BenchmarkHotCalls is what a call costs where nothing else runs.
func BenchmarkHotCalls(b *testing.B) {
	for name, s := range hotCalls(newHotWorld(b)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.once()
			}
		})
	}
}
