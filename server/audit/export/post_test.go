package export_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"github.com/raftkms/raftkms/server/audit/export"
)

// posted is one request that a service got.
type posted struct {
	header http.Header
	body   []byte
}

// service takes posts and answers as it is told.
type service struct {
	*httptest.Server
	ca string

	mu     sync.Mutex
	posts  []posted // those that were answered with 200
	tries  int
	answer func(try int, body []byte) (status int, header, reply string)
}

func newService(t *testing.T, answer func(try int, body []byte) (status int, header, reply string)) *service {
	t.Helper()
	s := &service{answer: answer, ca: filepath.Join(t.TempDir(), "ca.pem")}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tries++
		status, retry, reply := s.answer(s.tries, body)
		if status == 200 {
			s.posts = append(s.posts, posted{r.Header, body})
		}
		if retry != "" {
			w.Header().Set("Retry-After", retry)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, reply)
	}))
	t.Cleanup(s.Close)
	write(t, s.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return s
}

func (s *service) got() []posted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts
}

func taken(int, []byte) (int, string, string) { return 200, "", "" }

func secretOf(text string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(text), nil }
}

// A webhook gets the lines, signed; what it refuses comes again under the same
// id, and what is too large in smaller parts.
func TestWebhook(t *testing.T) {
	f := func(secret string, key []byte, answer func(try int, body []byte) (int, string, string), errs uint64) {
		t.Helper()
		w := newWorld(t)
		w.append(40)
		hook := newService(t, answer)
		s, stop := w.start(export.Config{Name: "hook", Kind: export.Webhook, URL: hook.URL + "/traces", CAFile: hook.ca, Secret: secretOf(secret), Authorization: secretOf("Bearer hunter2")})
		w.caughtUp(s)
		stop()
		var all []string
		for _, p := range hook.got() {
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(p.header.Get("Webhook-Id") + "." + p.header.Get("Webhook-Timestamp") + "."))
			mac.Write(p.body)
			if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); p.header.Get("Webhook-Signature") != want || p.header.Get("Authorization") != "Bearer hunter2" ||
				p.header.Get("Content-Type") != "application/x-ndjson" || !strings.HasPrefix(p.header.Get("Webhook-Id"), "n1.") {
				t.Errorf("%v", p.header)
			}
			all = append(all, split(string(p.body))...)
		}
		w.covered(all)
		if st := s.Stats()[0]; st.Errors != errs {
			t.Errorf("%+v", st)
		}
		if text := w.logged.String(); strings.Contains(text, "hunter2") || strings.Contains(text, secret) {
			t.Errorf("a secret is logged: %s", text)
		}
	}
	f("a secret", []byte("a secret"), taken, 0)
	f("whsec_"+base64.StdEncoding.EncodeToString([]byte("key")), []byte("key"), taken, 0)
	f("a secret", []byte("a secret"), func(try int, _ []byte) (int, string, string) {
		if try <= 2 {
			return 500, "", "Bearer hunter2"
		}
		return 200, "", ""
	}, 2)
	f("a secret", []byte("a secret"), func(_ int, body []byte) (int, string, string) {
		if bytes.Count(body, []byte{'\n'}) > 10 {
			return 413, "", ""
		}
		return 200, "", ""
	}, 4) // 40, 20, 20, 20
}

// A receiver that says when to come again is not asked before; one that sends
// elsewhere is not followed.
func TestWebhookThatPutsOff(t *testing.T) {
	w := newWorld(t)
	w.append(3)
	var first time.Time
	var waited time.Duration
	hook := newService(t, func(try int, _ []byte) (int, string, string) {
		switch try {
		case 1:
			return 307, "", ""
		case 2:
			first = time.Now()
			return 429, "3", ""
		}
		waited = time.Since(first)
		return 200, "", ""
	})
	s, stop := w.start(export.Config{Name: "hook", Kind: export.Webhook, URL: hook.URL, CAFile: hook.ca})
	w.caughtUp(s)
	stop()
	if waited < 3*time.Second {
		t.Errorf("it came again after %v", waited)
	}
	if h := hook.got()[0].header; h.Get("Webhook-Signature") != "" || h.Get("Authorization") != "" {
		t.Errorf("%v", h)
	}
}

// OpenTelemetry: each line is a log record with its rating as the severity.
func TestOTLP(t *testing.T) {
	w := newWorld(t)
	w.append(20)
	partial, err := proto.Marshal(&collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{RejectedLogRecords: 2, ErrorMessage: "no"}})
	if err != nil {
		t.Fatal(err)
	}
	service := newService(t, func(try int, _ []byte) (int, string, string) {
		switch try {
		case 1:
			return 503, "1", ""
		case 2:
			return 200, "", string(partial)
		}
		return 200, "", ""
	})
	s, stop := w.start(export.Config{Name: "otel", Kind: export.OTLP, URL: service.URL + "/v1/logs", CAFile: service.ca})
	w.caughtUp(s)
	stop()
	var all []string
	var fifth *logs.LogRecord
	for _, p := range service.got() {
		var r collector.ExportLogsServiceRequest
		if err := proto.Unmarshal(p.body, &r); err != nil || p.header.Get("Content-Type") != "application/x-protobuf" {
			t.Fatal(err, p.header)
		}
		of := r.ResourceLogs[0]
		if a := of.Resource.Attributes; a[0].Value.GetStringValue() != "raftkms" || a[1].Value.GetStringValue() != "n1" {
			t.Errorf("resource %v", a)
		}
		for _, record := range of.ScopeLogs[0].LogRecords {
			all = append(all, record.Body.GetStringValue()+"\n")
		}
		fifth = of.ScopeLogs[0].LogRecords[4]
	}
	w.covered(all)
	attributes := make(map[string]string)
	for _, a := range fifth.Attributes {
		attributes[a.Key] = a.Value.GetStringValue()
	}
	if fifth.SeverityNumber != logs.SeverityNumber_SEVERITY_NUMBER_WARN || fifth.EventName != "createDataKey" || fifth.TimeUnixNano != 1700000000000e6 ||
		fifth.ObservedTimeUnixNano != 1700000000003e6 || attributes["user.name"] != "ops" || attributes["client.address"] != "192.0.2.7" || attributes["raftkms.request_id"] != "request-5" {
		t.Errorf("%v", fifth)
	}
	if st := s.Stats()[0]; st.Errors != 2 {
		t.Errorf("%+v", st)
	}
}
