package huawei_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The use of a key that waits for its deletion is a warning, and in its last
// three days an incident; what does not use it is a refusal like others.
func TestUsesOfPendingKeys(t *testing.T) {
	w := newWorld(t)
	f := func(key, verb, body string, want audit.Rating) {
		t.Helper()
		a := w.ask(verb, strings.ReplaceAll(body, "KEY", key))
		r := w.traces.last(t)
		if a.status != 400 || r.Rating != want || r.ResourceID != key {
			t.Errorf("%s: %d, rated %s: %s", verb, a.status, r.Rating, r.Message)
		}
		if want == audit.RatingIncident && !strings.Contains(r.Message, "waits for its deletion at 20") {
			t.Errorf("%s: %q does not say when", verb, r.Message)
		}
	}
	soon, late := w.createKey("soon"), w.createKey("late")
	var data struct {
		CipherText string `json:"cipher_text"`
	}
	w.must("encrypt-data", `{"key_id":"`+soon+`","plain_text":"x"}`, &data)
	w.replica.advance(time.Now().UnixMilli() - 5*day) // of 7 days two are left
	w.must("schedule-key-deletion", `{"key_id":"`+late+`","pending_days":"30"}`, nil)
	w.must("schedule-key-deletion", `{"key_id":"`+soon+`","pending_days":"7"}`, nil)
	w.replica.advance(time.Now().UnixMilli())
	f(late, "create-datakey", `{"key_id":"KEY"}`, audit.RatingWarning)
	f(soon, "create-datakey", `{"key_id":"KEY"}`, audit.RatingIncident)
	f(soon, "decrypt-data", `{"cipher_text":"`+data.CipherText+`"}`, audit.RatingIncident)
	f(soon, "update-key-description", `{"key_id":"KEY","key_description":"x"}`, audit.RatingWarning)
	f(soon, "enable-key", `{"key_id":"KEY"}`, audit.RatingWarning)
}

// A burst of refusals is an incident, once: of who is known, of an address that
// nobody is known from, and about a key.
func TestBurstsOfRefusals(t *testing.T) {
	w := newWorld(t)
	w.config.RefusalAlarm = 5
	service := kms.New(w.config)
	t.Cleanup(service.Close)
	w.service.Service = service
	key := w.createKey("orders")
	w.must("disable-key", `{"key_id":"`+key+`"}`, nil)
	incidents := func() []*audit.Record { return w.traces.named("unusualRefusals") }
	for range 12 {
		w.ask("create-datakey", `{"key_id":"`+key+`"}`)
	}
	all := incidents()
	if len(all) != 1 {
		t.Fatalf("%d incidents", len(all))
	}
	r := all[0]
	if r.Rating != audit.RatingIncident || r.Type != audit.TypeSystemAction || r.ResourceType != "user" || r.ResourceID != fsmtest.UserID ||
		r.ProjectID != fsmtest.ProjectID || !strings.Contains(r.Request.String(), `"codes":["KMS.0209: 5"],"operations":["createDataKey: 5"]`) {
		t.Errorf("traced as %+v, %s", r, r.Request)
	}
	// Nobody is known, and one address asks.
	for range 12 {
		w.ask("list-keys", "{}", func(r *http.Request) { r.URL.RawQuery = "a=1" })
	}
	if all = incidents(); len(all) != 2 || all[1].ResourceType != "address" || all[1].ProjectID != "" || all[1].ResourceID == "" {
		t.Fatalf("%d incidents, the last one %+v", len(all), all[len(all)-1])
	}
	if service.RefusalBursts(kms.SubjectUser) != 1 || service.RefusalBursts(kms.SubjectAddress) != 1 || service.RefusalBursts(kms.SubjectKey) != 0 {
		t.Error("counted otherwise")
	}
	// What is badly asked is nothing to look at.
	for range 12 {
		w.ask("create-key", `{"key_alias":""}`)
	}
	if all = incidents(); len(all) != 2 {
		t.Errorf("%d incidents", len(all))
	}
}

// The tips of a deletion name who has used the key lately, on whichever node,
// each once, and say what is not known.
func TestRiskTipsNameCallers(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	var asked kms.TraceQuery
	by := func(id, name, domain, operation, rating string, at int64) wire.Trace {
		return wire.Trace{TraceName: operation, TraceRating: rating, Time: at, User: &wire.TraceUser{ID: id, Name: name, Domain: &wire.TraceDomain{ID: domain, Name: "acme"}}}
	}
	w.search = func(q kms.TraceQuery) (kms.TracePage, error) {
		asked = q
		return kms.TracePage{Missing: []string{"n3"}, Marker: "more", Traces: []wire.Trace{
			by("u1", "ada", fsmtest.DomainID, "createDataKey", "normal", 1_800_000_000_000), by("u2", "", fsmtest.DomainID, "sign", "warning", 1_790_000_000_000),
			by("u1", "ada", fsmtest.DomainID, "createDataKey", "normal", 1_780_000_000_000), by("u3", "eve", "d9", "decryptData", "normal", 1_770_000_000_000),
		}}, nil
	}
	w.must("schedule-key-deletion", `{"key_id":"`+key+`","pending_days":"7"}`, nil)
	tips := w.traces.named("deleteKeyRiskTips")
	if len(tips) != 1 {
		t.Fatalf("%d tips", len(tips))
	}
	got := tips[0].Response.String()
	for _, want := range []string{
		`"last_used":"2027-01-15T08:00:00Z"`, `"recent_callers":["ada (u1): createDataKey at 2027-01-15T08:00:00Z, normal","user u2: sign at 2026-09-21T14:13:20Z, warning","user u3 of account d9: decryptData at `,
		`"more_callers":true`, `"missing_nodes":["n3"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if m := tips[0].Message; !strings.HasSuffix(m, "; asked for by ada (u1), user u2, user u3 of account d9") {
		t.Error(m)
	}
	if asked.ResourceID != key || !asked.EachUser || !asked.AllProjects || len(asked.Names) != 17 || asked.Within != time.Second {
		t.Errorf("asked %+v", asked)
	}
	// A search that fails is no reason not to delete, and is told.
	w.search = func(kms.TraceQuery) (kms.TracePage, error) {
		return kms.TracePage{}, kms.Refuse(kms.KindUnavailable, "no")
	}
	w.must("cancel-key-deletion", `{"key_id":"`+key+`"}`, nil)
	w.must("schedule-key-deletion", `{"key_id":"`+key+`","pending_days":"7"}`, nil)
	if tips = w.traces.named("deleteKeyRiskTips"); len(tips) != 2 || !strings.Contains(tips[1].Response.String(), `"more_callers":true`) || strings.Contains(tips[1].Response.String(), "recent") {
		t.Errorf("%d tips, the last %s", len(tips), tips[len(tips)-1].Response)
	}
}

// A condition that no trace can fit because it is longer than what traces keep
// is refused; it is not cut until something fits.
func TestTraceConditionsThatAreTooLong(t *testing.T) {
	w := newWorld(t)
	asked := 0
	w.search = func(kms.TraceQuery) (kms.TracePage, error) { asked++; return kms.TracePage{}, nil }
	f := func(name string, most int) {
		t.Helper()
		for _, path := range []string{"/v3/" + fsmtest.ProjectID + "/traces", "/v2.0/" + fsmtest.ProjectID + "/system/trace", "/v3/" + fsmtest.ProjectID + "/traces/follow"} {
			asked = 0
			if a := w.get(t, path, name+"="+strings.Repeat("a", most)); a.status != 200 || asked != 1 {
				t.Errorf("%s of %d bytes at %s: %d %s", name, most, path, a.status, a.body)
			}
			for _, long := range []int{most + 1, 10_000} {
				a := w.get(t, path, name+"="+strings.Repeat("a", long))
				if a.status != 400 || a.code(t) != "CTS.0003" || !strings.Contains(a.body, name) || !strings.Contains(a.body, "at most") || len(a.body) > 500 || asked != 1 {
					t.Errorf("%s of %d bytes at %s: %d %.300s", name, long, path, a.status, a.body)
				}
			}
		}
	}
	for _, name := range []string{"trace_name", "service_type", "resource_type", "resource_id", "access_key_id", "request_id", "user_id", "code"} {
		f(name, 128)
	}
	f("resource_name", 256)
	f("user", 256)
	f("source_ip", 64)
	refused := func(path, query string) {
		t.Helper()
		if a := w.get(t, path, query); a.status != 400 || a.code(t) != "CTS.0003" {
			t.Errorf("%.50s: %d %.300s", query, a.status, a.body)
		}
	}
	v3 := "/v3/" + fsmtest.ProjectID + "/traces"
	refused(v3, "trace_id=x")
	refused(v3, "trace_id="+strings.Repeat("a", 10_000))
	refused(v3, "tracker_name="+strings.Repeat("a", 65))
	refused("/v2.0/"+fsmtest.ProjectID+"/"+strings.Repeat("a", 65)+"/trace", "")
	refused(v3, "enterprise_project_id="+strings.Repeat("a", 37))
	for _, absurd := range []string{
		"from=1&to=2", "from=1700000000000", "to=1700000000000", "from=1700000000000&to=1700000000000", "from=1700000000001&to=1700000000000",
		"from=-1700000000000&to=1700000000000", "from=1700000000000&to=99999999999999", "from=x&to=y", "from=1e12&to=2e12",
		"from=1700000000000&to=18446744073709551616", "limit=0", "limit=-1", "limit=201", "limit=99999999999999999999", "limit=1.5", "limit=ten",
	} {
		refused(v3, absurd)
	}
	// What fits nothing is answered, and nobody is asked.
	for _, none := range []string{"enterprise_project_id=b0b0b0b0-0000-4000-8000-000000000001", "tracker_name=other"} {
		asked = 0
		if a := w.get(t, v3, none); a.status != 200 || asked != 0 || a.body != `{"traces":[],"meta_data":{"count":0,"marker":null}}` {
			t.Errorf("%s: %d %s", none, a.status, a.body)
		}
	}
}
