package client_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/client"
)

const (
	accessKey = "AKEXAMPLE"
	secretKey = "secret-example"
	project   = "0123456789abcdef0123456789abcdef"
)

// fake is one node of a service: an HTTPS server that checks signatures with a
// verifier of its own, and answers as it is told.
type fake struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	answer   func(w http.ResponseWriter, verb, body string)
	requests []string // verb and body of each
	probes   int      // of /readyz
	unready  bool
	tokens   bool     // it heeds idempotency tokens, and says so
	carried  []string // those of the requests
	members  string   // what /nodes answers; empty: there is no such thing
}

func newFake(t *testing.T, answer func(w http.ResponseWriter, verb, body string)) *fake {
	t.Helper()
	f := &fake{t: t, answer: answer}
	f.Server = httptest.NewTLSServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

// plain answers what is asked without credentials.
func (f *fake) plain(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.URL.Path {
	case "/readyz":
		f.probes++
		if f.unready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case "/livez":
		if f.tokens {
			w.Header().Set("X-Idempotency-Token", "taken")
		}
	case "/nodes":
		if f.members == "" {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(w, f.members)
	default:
		return false
	}
	if r.Header.Get("Authorization") != "" {
		f.t.Errorf("%s is asked with credentials", r.URL.Path)
	}
	return true
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	if f.plain(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	verb, ok := strings.CutPrefix(r.URL.Path, "/v1.0/"+project+"/kms/")
	if !ok {
		verb, ok = strings.CutPrefix(r.URL.Path, "/v3/"+project+"/")
	}
	if r.Method != http.MethodPost {
		verb = r.Method + " " + verb
	}
	if r.URL.RawQuery != "" {
		verb += "?" + r.URL.RawQuery
	}
	if !ok || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("unexpected request %s %s", r.Method, r.URL)
	}
	if problem := verify(r, body); problem != "" {
		refuse(w, http.StatusUnauthorized, "APIGW.0301", problem)
		return
	}
	f.mu.Lock()
	f.requests = append(f.requests, verb+" "+string(body))
	f.carried = append(f.carried, r.Header.Get("X-Idempotency-Token"))
	answer := f.answer
	f.mu.Unlock()
	answer(w, verb, string(body))
}

func (f *fake) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// exchange has a call made, answers it, and wants it to have sent that, and
// nothing else, and to have made that of the answer.
func (f *fake) exchange(sent, answer string, want any, call func() (any, error)) {
	f.t.Helper()
	f.mu.Lock()
	f.requests, f.answer = nil, reply(answer)
	f.mu.Unlock()
	got, err := call()
	if err != nil {
		f.t.Errorf("%s: %v", sent, err)
		return
	}
	if diff := cmp.Diff(f.seen(), []string{sent}); diff != "" {
		f.t.Error("sent: -got +want\n" + diff)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		f.t.Error("result: -got +want\n" + diff)
	}
}

var authorization = regexp.MustCompile(`^SDK-HMAC-SHA256 Access=(\w+), SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$`)

// verify checks a signature of layout A and returns what is wrong with it.
func verify(r *http.Request, body []byte) string {
	parts := authorization.FindStringSubmatch(r.Header.Get("Authorization"))
	if parts == nil || parts[1] != accessKey {
		return "ak not exist"
	}
	date := r.Header.Get("X-Sdk-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if err != nil || time.Since(at).Abs() > 15*time.Minute || !strings.Contains(parts[2], "x-sdk-date") {
		return "stale"
	}
	var headers strings.Builder
	for name := range strings.SplitSeq(parts[2], ";") {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	sum := sha256.Sum256(body)
	canonical := r.Method + "\n" + r.URL.Path + "/\n" + r.URL.Query().Encode() + "\n" + headers.String() + "\n" + parts[2] + "\n" + hex.EncodeToString(sum[:])
	sum = sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(secretKey))
	mac.Write([]byte("SDK-HMAC-SHA256\n" + date + "\n" + hex.EncodeToString(sum[:])))
	if hex.EncodeToString(mac.Sum(nil)) != parts[3] {
		return "verify aksk signature fail"
	}
	return ""
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("X-Request-Id", "request-7")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"error":{"error_code":"`+code+`","error_msg":"`+message+`"},"error_code":"`+code+`","error_msg":"`+message+`"}`)
}

// reply answers with a fixed body.
func reply(body string) func(http.ResponseWriter, string, string) {
	return func(w http.ResponseWriter, _, _ string) { _, _ = io.WriteString(w, body) }
}

// configure returns a client's configuration for some nodes.
func configure(nodes ...*fake) client.Config {
	cfg := client.Config{
		CA: x509.NewCertPool(), AccessKey: accessKey, SecretKey: secretKey, ProjectID: project,
		Patience: 20 * time.Second,
	}
	for _, node := range nodes {
		cfg.Endpoints = append(cfg.Endpoints, node.URL)
		cfg.CA.AddCert(node.Certificate())
	}
	return cfg
}

func open(t *testing.T, cfg client.Config) *client.Client {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
