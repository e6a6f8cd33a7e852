package campaign

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// What an answer means decides what a history may prove; the two ways of
// asking must agree on it.
func TestWhatAnAnswerMeans(t *testing.T) {
	status, body := 0, ""
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == 0 { // the connection breaks without an answer
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close()
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer server.Close()
	ca := x509.NewCertPool()
	ca.AddCert(server.Certificate())
	file := &devfile.File{AccessKey: "a", SecretKey: "s", ProjectID: "p", Nodes: []devfile.Node{{ID: "n", URL: server.URL}}}
	askersOf := func() []asker {
		own, err := client.New(client.Config{
			Endpoints: file.URLs(), CA: ca, AccessKey: "a", SecretKey: "s", ProjectID: "p", Patience: 100 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		return []asker{newDirect(file, 0, ca, time.Minute, new(secrets), nil), roaming{Client: own}}
	}
	f := func(op history.Op, outcome history.Outcome, code string) {
		t.Helper()
		for _, a := range askersOf() {
			got := a.ask(context.Background(), "key", &history.Call{Op: op})
			if got.outcome != outcome || got.code != code || (got.err == nil) != (outcome == history.OK) {
				t.Errorf("%T: %s with status %d is %s %q, %v", a, op, status, got.outcome, got.code, got.err)
			}
			a.close()
		}
	}
	says := func(s int, code string) {
		text, err := json.Marshal(wire.NewError(code, "message", "request"))
		if err != nil {
			t.Fatal(err)
		}
		status, body = s, string(text)
	}
	status, body = 200, `{"key_info":{"key_id":"id","key_state":"3"}}`
	f(history.Disable, history.OK, "")
	f(history.Rotate, history.OK, "")
	says(400, history.CodeNotEnabled)
	f(history.Disable, history.Refused, history.CodeNotEnabled)
	says(401, "APIGW.0301")
	f(history.Describe, history.Refused, "APIGW.0301")
	says(503, "KMS.0104")
	f(history.Create, history.NotDone, "KMS.0104")
	says(408, "KMS.0214")
	f(history.Create, history.NotDone, "KMS.0214")
	says(500, "KMS.0103")
	f(history.Create, history.Unknown, "KMS.0103")
	says(500, "KMS.0102")
	f(history.Enable, history.Unknown, "KMS.0102")
	status = 0
	f(history.Disable, history.Unknown, "")
	server.Close()
	f(history.Disable, history.NotDone, "")
}

func TestOnlyADialThatFailsSendsNothing(t *testing.T) {
	if got := unanswered(&net.OpError{Op: "dial", Err: errors.New("refused")}).outcome; got != history.NotDone {
		t.Errorf("a failed dial is %s", got)
	}
	if got := unanswered(&net.OpError{Op: "read", Err: errors.New("reset")}).outcome; got != history.Unknown {
		t.Errorf("a failed read is %s", got)
	}
}

func TestACampaignThatDidTooLittle(t *testing.T) {
	scenario := Scenario{Kinds: []nemesis.Kind{nemesis.KillOne, nemesis.PauseOne}, Successes: 2}
	both := map[string]int{"kill-one": 1, "pause-one": 1}
	rotated := 1
	f := func(r Report, fails bool) {
		t.Helper()
		r.Scenario = scenario
		r.Calls = map[history.Op]map[history.Outcome]int{history.Rotate: {history.OK: rotated, history.Unknown: 1}}
		if err := r.tooLittle(); errors.Is(err, ErrTooLittle) != fails || (err != nil) != fails {
			t.Errorf("%+v: %v", r, err)
		}
	}
	f(Report{Faults: both, Successes: 2, Compared: 1, Granted: 1, Ungranted: 1}, false)
	f(Report{Faults: both, Successes: 2, Compared: 1, Granted: 1}, true)
	f(Report{Faults: both, Successes: 2, Compared: 1, Ungranted: 1}, true)
	f(Report{Faults: both, Successes: 1, Compared: 1, Granted: 1, Ungranted: 1}, true)
	f(Report{Faults: both, Successes: 2, Granted: 1, Ungranted: 1}, true)
	f(Report{Faults: map[string]int{"kill-one": 2}, Successes: 2, Compared: 1, Granted: 1, Ungranted: 1}, true)
	rotated = 0
	f(Report{Faults: both, Successes: 2, Compared: 1, Granted: 1, Ungranted: 1}, true)
	rotated, scenario.Erasing = 1, true
	f(Report{Faults: both, Successes: 2, Compared: 1, Granted: 1, Ungranted: 1, Erasures: 1}, false)
	f(Report{Faults: both, Successes: 2, Compared: 1, Granted: 1, Ungranted: 1}, true)
	scenario.Kinds, scenario.Erasing = nil, false
	f(Report{Successes: 2, Compared: 1, Granted: 1, Ungranted: 1}, true)
}

func TestAReportSaysWhatFailed(t *testing.T) {
	h := &history.History{
		Calls: []history.Call{
			{Op: history.Create, Name: "k", Begin: 5, End: 6, Outcome: history.OK},
			{Op: history.Disable, Name: "k", Begin: 15, End: 40, Outcome: history.OK},
			{Op: history.Enable, Name: "k", Begin: 20, End: 30, Outcome: history.OK},
			{Op: history.Describe, Name: "k", Begin: 21, End: 22, Outcome: history.NotDone},
			{Op: history.OpenKey, Name: "k", Begin: 50, End: 51, Outcome: history.OK, Final: true},
		},
		Faults: []history.Fault{{Kind: "kill-one", Begin: 7, End: 10}, {Kind: "kill-one", Begin: 60, End: 70}},
	}
	r := &Report{Problems: []error{ErrCrashed}, Violations: []*history.Violation{{Promise: history.ErrLost, What: "it is gone"}}}
	r.fill(h)
	if r.Successes != 3 || r.Faults["kill-one"] != 2 || len(r.Recoveries) != 1 || r.Recoveries[0] != 20 {
		t.Errorf("the report is %+v", r)
	}
	if err := r.Err(); !errors.Is(err, ErrCrashed) || !errors.Is(err, history.ErrLost) {
		t.Errorf("the error is %v", err)
	}
	for _, want := range []string{"kill-one 2", "it is gone", ErrCrashed.Error(), "enable-key"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, r)
		}
	}
	if err := (&Report{}).Err(); err != nil {
		t.Error(err)
	}
}
