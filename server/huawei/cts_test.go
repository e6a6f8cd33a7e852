package huawei_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	cts "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cts/v3"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cts/v3/model"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

func newCTS(t *testing.T, w *world) *cts.CtsClient {
	t.Helper()
	credentials, err := basic.NewCredentialsBuilder().WithAk(fsmtest.AccessKeyID).WithSk(secretKey).WithProjectId(fsmtest.ProjectID).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return w.listener.Dial() }
	client, err := cts.CtsClientBuilder().WithEndpoints([]string{endpoint}).WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig().WithDialContext(dial)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	return cts.NewCtsClient(client)
}

// The vendor's client, unmodified, asks with every condition, and reads pages.
func TestTracesThroughTheSDK(t *testing.T) {
	w := newWorld(t)
	client := newCTS(t, w)
	var asked kms.TraceQuery
	found := audit.Found{Sequence: 7, TraceID: "919c82d4-8046-8722-9094-35c3c6524cff", Body: []byte(`"trace_name":"createDataKey","trace_rating":"normal","trace_type":"ApiCall","service_type":"KMS",` +
		`"resource_type":"cmk","resource_id":"k1","resource_name":"orders","resource_url":"/v1.0/b0/kms/create-datakey","source_ip":"192.0.2.7","request_id":"r1","node_id":"n1","project_id":"b0",` +
		`"user":{"id":"a0","name":"admin","domain":{"id":"d0","name":"acme"},"access_key_id":"AK1"},"code":"200","read_only":true,"request":{"bits":256},"time":1700000000000,"record_time":1700000000003,"duration_us":2500`)}
	shown, err := found.Show()
	if err != nil {
		t.Fatal(err)
	}
	w.search = func(q kms.TraceQuery) (kms.TracePage, error) {
		asked = q
		return kms.TracePage{Traces: []wire.Trace{shown}, Marker: "next page", Missing: []string{"n3"}}, nil
	}
	limit, from, to := int32(200), int64(1700000000000), int64(1700000100000)
	rating := model.GetListTracesRequestTraceRatingEnum().WARNING
	answer, err := client.ListTraces(&model.ListTracesRequest{
		TraceType: model.GetListTracesRequestTraceTypeEnum().SYSTEM, Limit: &limit, From: &from, To: &to, Next: text("m"), TrackerName: text("system"),
		ServiceType: text("KMS"), User: text("admin"), ResourceId: text("k1"), ResourceName: text("orders"), ResourceType: text("cmk"),
		TraceName: text("createDataKey"), TraceRating: &rating, AccessKeyId: text("AK1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := kms.TraceQuery{Marker: "m", Query: audit.Query{TraceName: "createDataKey", Rating: "warning", Service: "KMS", ResourceType: "cmk", ResourceID: "k1",
		ResourceName: "orders", ProjectID: fsmtest.ProjectID, UserName: "admin", AccessKeyID: "AK1", After: from, Before: to, Limit: 200}}
	if diff := cmp.Diff(asked, want); diff != "" {
		t.Errorf("-got +want\n%s", diff)
	}
	got := (*answer.Traces)[0]
	if *answer.MetaData.Count != 1 || *answer.MetaData.Marker != "next page" || *got.TraceId != found.TraceID || *got.Request != `{"bits":256}` || *got.Response != "" ||
		*got.Code != "200" || *got.User.Name != "admin" || *got.User.Domain.Name != "acme" || *got.User.AccessKeyId != "AK1" || *got.OperationId != "CreateDataKey" ||
		*got.ApiVersion != "v1.0" || !*got.ReadOnly || got.TraceRating.Value() != "normal" || *got.Time != 1700000000000 {
		t.Errorf("got %s", got)
	}
	if r := w.traces.last(t); r.TraceName != "listTraces" || r.Service != "CTS" || !strings.Contains(r.Response.String(), `"missing_nodes":["n3"]`) {
		t.Errorf("traced as %s of %s: %s", r.TraceName, r.Service, r.Response)
	}

	// What it asks for when it names nothing, and what it must not ask for.
	w.search = func(q kms.TraceQuery) (kms.TracePage, error) { asked = q; return kms.TracePage{}, nil }
	if answer, err = client.ListTraces(&model.ListTracesRequest{TraceType: model.GetListTracesRequestTraceTypeEnum().SYSTEM}); err != nil {
		t.Fatal(err)
	}
	if answer.MetaData.Marker != nil || *answer.MetaData.Count != 0 || len(*answer.Traces) != 0 || asked.Limit != 10 || time.Since(time.UnixMilli(asked.After)) > time.Hour+time.Minute {
		t.Errorf("%s, asked %+v", answer, asked)
	}
	if answer, err = client.ListTraces(&model.ListTracesRequest{TraceType: model.GetListTracesRequestTraceTypeEnum().DATA}); err != nil || *answer.MetaData.Count != 0 {
		t.Errorf("%v: %v", answer, err)
	}
	f := func(change func(r *model.ListTracesRequest)) {
		t.Helper()
		r := &model.ListTracesRequest{TraceType: model.GetListTracesRequestTraceTypeEnum().SYSTEM}
		change(r)
		_, err := client.ListTraces(r)
		var refused *sdkerr.ServiceResponseError
		if !errors.As(err, &refused) || refused.StatusCode != 400 || refused.ErrorCode != "CTS.0003" {
			t.Errorf("error %v", err)
		}
	}
	zero, much, early := int32(0), int32(201), int64(1700000000)
	f(func(r *model.ListTracesRequest) { r.Limit = &zero })
	f(func(r *model.ListTracesRequest) { r.Limit = &much })
	f(func(r *model.ListTracesRequest) { r.From = &from })
	f(func(r *model.ListTracesRequest) { r.From, r.To = &to, &from })
	f(func(r *model.ListTracesRequest) { r.From, r.To = &early, &to })
	w.search = func(kms.TraceQuery) (kms.TracePage, error) {
		return kms.TracePage{}, &kms.Error{Kind: kms.KindInvalid, Parameter: "marker", Message: "wrong"}
	}
	f(func(r *model.ListTracesRequest) { r.Next = text("x") })
}

// get sends a signed GET.
func (w *world) get(t *testing.T, path, query string) answered {
	t.Helper()
	b := request.NewHttpRequestBuilder().WithEndpoint(endpoint).WithMethod("GET").WithPath(path).
		AddHeaderParam("X-Sdk-Date", time.Now().UTC().Format("20060102T150405Z"))
	address := endpoint + path
	if query != "" {
		address += "?" + query
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		for name := range values {
			b = b.AddQueryParam(name, reflect.ValueOf(values.Get(name)))
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	headers, err := signer.Sign(b.Build(), fsmtest.AccessKeyID, secretKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	return w.send(r)
}

// The forms of old, and what the data tracker has: nothing.
func TestTracesOfATracker(t *testing.T) {
	w := newWorld(t)
	w.search = func(kms.TraceQuery) (kms.TracePage, error) {
		return kms.TracePage{Traces: []wire.Trace{{TraceName: "createKey"}}}, nil
	}
	f := func(path string, status int, want string) {
		t.Helper()
		a := w.get(t, path, "")
		if a.status != status || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	f("/v1.0/"+fsmtest.ProjectID+"/system/trace", 200, `"trace_name":"createKey"`)
	f("/v2.0/"+fsmtest.ProjectID+"/system/trace", 200, `"meta_data":{"count":1,"marker":null}`)
	f("/v2.0/"+fsmtest.ProjectID+"/other/trace", 200, `{"traces":[],"meta_data":{"count":0,"marker":null}}`)
	f("/v3/"+strings.Repeat("e", 32)+"/traces", 403, `CTS.0002`)
}

// Following is an extension: what it may be asked, and what it asks of the nodes.
func TestTracesThatAreFollowed(t *testing.T) {
	w := newWorld(t)
	var asked kms.TraceQuery
	w.search = func(q kms.TraceQuery) (kms.TracePage, error) {
		asked = q
		return kms.TracePage{Traces: []wire.Trace{{TraceName: "createKey"}}, Marker: "on", Missing: []string{"n2"}}, nil
	}
	path := "/v3/" + fsmtest.ProjectID + "/traces/follow"
	f := func(query string, status int, want string) {
		t.Helper()
		if a := w.get(t, path, query); a.status != status || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	f("", 200, `"meta_data":{"count":1,"marker":"on","missing_nodes":["n2"]}`)
	if want := (kms.TraceQuery{Query: audit.Query{ProjectID: fsmtest.ProjectID, Except: "followTraces", Limit: 10}}); cmp.Diff(asked, want) != "" {
		t.Errorf("asked %+v", asked)
	}
	if r := w.traces.last(t); r.TraceName != "followTraces" || r.Service != "CTS" || !r.ReadOnly {
		t.Errorf("traced as %s of %s", r.TraceName, r.Service)
	}
	f("next=m&wait=10&node_id=n1&scope=all&trace_name=followTraces&source_ip=192.0.2.1&code=403&user_id=u", 200, `"createKey"`)
	if want := (kms.TraceQuery{Marker: "m", Node: "n1", AllProjects: true, Wait: 10 * time.Second, Query: audit.Query{TraceName: "followTraces", SourceIP: "192.0.2.1", Code: "403", UserID: "u", Limit: 10}}); cmp.Diff(asked, want) != "" {
		t.Errorf("asked %+v", asked)
	}
	for _, query := range []string{"wait=11", "wait=-1", "wait=x", "limit=0", "limit=201", "scope=every", "from=1700000000000&to=1700000000001", "trace_id=x", "trace_type=system", "tracker_name=system", "trace_rating=bad"} {
		f(query, 400, `"CTS.0003"`)
	}
}
