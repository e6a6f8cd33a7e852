package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/canonical"
)

// What a node answers to the three forms of the query, member by member: those
// of the vendor's record, with the types that its clients demand, and the
// extensions.
func TestTraceRecordsFieldByField(t *testing.T) {
	s, founded := startFounderOf(t)
	c := newSignedClient(t, s, founded)
	before := time.Now().UnixMilli()
	var created struct {
		KeyInfo struct {
			KeyID string `json:"key_id"`
		} `json:"key_info"`
	}
	if status := c.ask("POST", "/v1.0/PROJECT/kms/create-key", "", `{"key_alias":"orders"}`, &created); status != http.StatusOK {
		t.Fatal(status)
	}
	key := created.KeyInfo.KeyID
	if status := c.ask("POST", "/v1.0/PROJECT/kms/create-datakey", "", `{"key_id":"`+key+`","datakey_length":"512","encryption_context":{"tenant":"7"}}`, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	if status := c.ask("POST", "/v1.0/PROJECT/kms/create-datakey", "", `{"key_id":"`+key+`","datakey_length":"9"}`, nil); status != http.StatusBadRequest {
		t.Fatal(status)
	}
	project, _ := s.machine.State().Project(founded.ProjectID)
	user := map[string]any{
		"id": founded.UserID, "name": "u", "user_name": "u", "domain": map[string]any{"id": project.DomainID, "name": "d"}, "account_id": project.DomainID,
		"principal_id": founded.UserID, "access_key_id": founded.AccessKey,
	}
	endpoint, err := url.Parse(s.cfg.APIURL)
	must(t, err)
	made := map[string]any{
		"trace_name": "createDataKey", "trace_rating": "normal", "trace_status": "normal", "trace_type": "ApiCall", "service_type": "KMS",
		"resource_type": "cmk", "resource_id": key, "resource_name": "orders", "source_ip": "127.0.0.1", "code": "200", "api_version": "v1.0",
		"request": `{"key_id":"` + key + `","bits":512,"encryption_context":{"tenant":"7"}}`, "response": `{"key_version":1}`, "message": "", "location_info": "",
		"endpoint": endpoint.Host, "resource_url": "/v1.0/" + founded.ProjectID + "/kms/create-datakey", "user": user, "read_only": true, "operation_id": "CreateDataKey",
		"enterprise_project_id": "0", "resource_account_id": project.DomainID, "node_id": "n1", "project_id": founded.ProjectID, "user_agent": "Go-http-client/1.1",
	}
	refused := map[string]any{"trace_rating": "warning", "trace_status": "warning", "code": "400", "error_code": "KMS.1903"}
	f := func(path string) {
		t.Helper()
		var page struct {
			Traces   []map[string]any `json:"traces"`
			MetaData map[string]any   `json:"meta_data"`
		}
		if status := c.ask("GET", path, "trace_name=createDataKey&limit=10", "", &page); status != http.StatusOK || len(page.Traces) != 2 {
			t.Fatalf("%s: %d, %d traces", path, status, len(page.Traces))
		}
		if diff := cmp.Diff(page.MetaData, map[string]any{"count": 2.0, "marker": nil}); diff != "" {
			t.Errorf("%s: meta_data -got +want\n%s", path, diff)
		}
		got := page.Traces[1]
		for _, name := range []string{"trace_id", "request_id"} {
			if id, err := uuid.Parse(got[name].(string)); err != nil || id.String() != got[name] {
				t.Errorf("%s: %s is %v", path, name, got[name])
			}
			delete(got, name)
		}
		for _, name := range []string{"time", "record_time", "duration_us"} {
			at, is := got[name].(float64)
			if !is || name != "duration_us" && (at < float64(before) || at > float64(time.Now().UnixMilli())) || at < 0 {
				t.Errorf("%s: %s is %v", path, name, got[name])
			}
			delete(got, name)
		}
		if diff := cmp.Diff(got, made); diff != "" {
			t.Errorf("%s: -got +want\n%s", path, diff)
		}
		for name, want := range refused {
			if page.Traces[0][name] != want {
				t.Errorf("%s: of a refusal, %s is %v", path, name, page.Traces[0][name])
			}
		}
	}
	f("/v3/PROJECT/traces")
	f("/v2.0/PROJECT/system/trace")
	f("/v1.0/PROJECT/system/trace")

	// Every condition finds the trace, alone, and a value beside it does not;
	// trace_id goes over all others.
	all := c.traces("trace_name=createDataKey&trace_rating=normal").Traces
	found := all[0]
	for name, value := range map[string]string{
		"service_type": "KMS", "user": "u", "resource_id": key, "resource_name": "orders", "resource_type": "cmk", "trace_id": found.TraceID, "trace_name": "createDataKey",
		"trace_rating": "normal", "access_key_id": founded.AccessKey, "request_id": found.RequestID, "source_ip": "127.0.0.1", "user_id": founded.UserID, "code": "200", "node_id": "n1",
		"trace_type": "system", "tracker_name": "system", "enterprise_project_id": "0", "scope": "all",
	} {
		holds := func(query string) bool {
			for _, trace := range c.traces(query).Traces {
				if trace.TraceID == found.TraceID {
					return true
				}
			}
			return false
		}
		if !holds("limit=200&" + name + "=" + url.QueryEscape(value)) {
			t.Errorf("%s=%s does not find the trace", name, value)
		}
		switch name {
		case "trace_rating", "node_id", "trace_type", "scope":
			continue // of these there is no other value that it does not have
		case "trace_id":
			value = strings.Repeat("0", 8) + value[8:]
		default:
			value += "x"
		}
		if holds("limit=200&" + name + "=" + url.QueryEscape(value)) {
			t.Errorf("%s=%s finds the trace", name, value)
		}
	}
	if got := c.traces("trace_id=" + found.TraceID + "&user=nobody&trace_rating=incident&from=1000000000000&to=1000000000001").Traces; len(got) != 1 || got[0].TraceID != found.TraceID {
		t.Errorf("by its id %d are found", len(got))
	}
	at := func(from, to int64) int {
		return c.traces("trace_id=&trace_name=createDataKey&trace_rating=normal&from=" + strconv.FormatInt(from, 10) + "&to=" + strconv.FormatInt(to, 10)).MetaData.Count
	}
	if at(found.Time-1, found.Time+1) != 1 || at(found.Time, found.Time+1000) != 0 || at(found.Time-1000, found.Time) != 0 {
		t.Error("from and to are not exclusive")
	}
}

// Markers that no page has ended with are refused, whatever they are.
func TestWrongMarkersThroughTheAPI(t *testing.T) {
	s, founded := startFounderOf(t)
	c := newSignedClient(t, s, founded)
	for range 3 {
		if status := c.ask("POST", "/v1.0/PROJECT/kms/list-keys", "", `{}`, nil); status != http.StatusOK {
			t.Fatal(status)
		}
	}
	first := c.traces("trace_name=listKeys&limit=1")
	if first.MetaData.Marker == nil {
		t.Fatal("there is no second page")
	}
	marker := *first.MetaData.Marker
	if next := c.traces("trace_name=listKeys&limit=1&next=" + marker); len(next.Traces) != 1 || next.Traces[0].TraceID == first.Traces[0].TraceID {
		t.Errorf("the second page has %+v", next.Traces)
	}
	encoded := func(m any) string { return base64.RawURLEncoding.EncodeToString(canonical.MustMarshal(m)) }
	f := func(path, marker string) {
		t.Helper()
		var refused struct {
			Code    string `json:"error_code"`
			Message string `json:"error_msg"`
		}
		status := c.ask("GET", path, "next="+url.QueryEscape(marker), "", &refused)
		if status != http.StatusBadRequest || refused.Code != "CTS.0003" || !strings.Contains(refused.Message, "marker") {
			t.Errorf("%s, %.40q: %d %+v", path, marker, status, refused)
		}
	}
	for _, path := range []string{"/v3/PROJECT/traces", "/v1.0/PROJECT/system/trace", "/v2.0/PROJECT/system/trace", "/v3/PROJECT/traces/follow"} {
		for _, wrong := range []string{
			"x", "919c82d4-8046-4722-9094-35c3c6524cff", marker + "A", marker[1:], marker + "==", "null", "0", strings.Repeat("A", 10_000), "é",
			encoded(map[int]int{}), encoded(map[int]any{1: map[string]uint64{}, 2: int64(1)}), encoded(map[int]any{1: map[string]any{"n1": "7"}, 2: int64(1)}), encoded([]int{1}),
		} {
			f(path, wrong)
		}
	}
	// The marker of a search is not one of following, and the other way round.
	f("/v3/PROJECT/traces/follow", marker)
	var followed struct {
		MetaData struct {
			Marker string `json:"marker"`
		} `json:"meta_data"`
	}
	if status := c.ask("GET", "/v3/PROJECT/traces/follow", "", "", &followed); status != http.StatusOK {
		t.Fatal(status)
	}
	f("/v3/PROJECT/traces", followed.MetaData.Marker)
	// Each of them has left its trace, which quotes nothing of it.
	raw, err := json.Marshal(c.traces("trace_rating=warning&limit=200").Traces)
	must(t, err)
	if n := strings.Count(string(raw), `"CTS.0003"`); n != 4*13+2 || strings.Contains(string(raw), "AAAAAAAA") {
		t.Errorf("%d refusals are traced", n)
	}
}

// Which of two names would count is anybody's guess: an answer would be wrong
// without a word. So it is with what is no text.
func TestWrongQueriesThroughTheAPI(t *testing.T) {
	s, founded := startFounderOf(t)
	c := newSignedClient(t, s, founded)
	f := func(path, query, code string) {
		t.Helper()
		var refused struct {
			Code    string `json:"error_code"`
			Message string `json:"error_msg"`
		}
		status := c.ask("GET", path, query, "", &refused)
		if status != http.StatusBadRequest || refused.Code != code || !strings.Contains(refused.Message, "malformed query") {
			t.Errorf("%s?%s: %d %+v", path, query, status, refused)
		}
	}
	for _, path := range []string{"/v3/PROJECT/traces", "/v1.0/PROJECT/system/trace", "/v2.0/PROJECT/system/trace", "/v3/PROJECT/traces/follow"} {
		f(path, "user=admin&user=nobody", "CTS.0003")
		f(path, "user=a%FF", "CTS.0003")
	}
	f("/v1.0/PROJECT/kms/user-quotas", "x=1&x=2", "KMS.0202")
}
