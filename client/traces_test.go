package client_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/client"
)

func TestTraces(t *testing.T) {
	node := newFake(t, reply(`{"traces":[{"trace_id":"t1","trace_name":"createKey","trace_rating":"normal","node_id":"n1","user":{"id":"u","name":"ops"},"time":1700000000000}],
		"meta_data":{"count":1,"marker":"on","missing_nodes":["n3"],"damaged":["n2: x"]}}`))
	c := open(t, configure(node))
	want := client.TracePage{
		Traces: []client.Trace{{TraceID: "t1", TraceName: "createKey", TraceRating: "normal", NodeID: "n1", Time: 1700000000000}},
		Next:   "on", Missing: []string{"n3"}, Damaged: []string{"n2: x"},
	}
	f := func(sent string, ask func() (client.TracePage, error)) {
		t.Helper()
		node.mu.Lock()
		node.requests = nil
		node.mu.Unlock()
		got, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(node.seen(), []string{sent}); diff != "" {
			t.Error("sent: -got +want\n" + diff)
		}
		if user := got.Traces[0].User; user == nil || user.Name != "ops" {
			t.Errorf("user %+v", user)
		}
		got.Traces[0].User = nil
		if diff := cmp.Diff(got, want); diff != "" {
			t.Error("-got +want\n" + diff)
		}
	}
	all := client.TraceFilter{Name: "a", Rating: "b", Service: "c", ResourceType: "d", ResourceID: "e", ResourceName: "f", RequestID: "g", User: "h", UserID: "i",
		AccessKeyID: "j", Source: "k", Code: "l", Node: "m", AllProjects: true}
	const rest = "limit=7&next=n&node_id=m&request_id=g&resource_id=e&resource_name=f&resource_type=d&scope=all&service_type=c&source_ip=k"
	f("GET traces?access_key_id=j&code=l&from=1600000000123&"+rest+"&to=1700000000000&trace_name=a&trace_rating=b&user=h&user_id=i {}", func() (client.TracePage, error) {
		bounded := all
		bounded.After, bounded.Before = time.UnixMilli(1600000000123), time.UnixMilli(1700000000000)
		return c.SearchTraces(t.Context(), bounded, "n", 7)
	})
	f("GET traces?from=1000000000000&limit=200&to=9999999999999 {}", func() (client.TracePage, error) {
		return c.SearchTraces(t.Context(), client.TraceFilter{}, "", 200)
	})
	f("GET traces?limit=1&trace_id=t1 {}", func() (client.TracePage, error) {
		return c.SearchTraces(t.Context(), client.TraceFilter{TraceID: "t1"}, "", 1)
	})
	f("GET traces/follow?access_key_id=j&code=l&"+rest+"&trace_name=a&trace_rating=b&user=h&user_id=i&wait=4 {}", func() (client.TracePage, error) {
		return c.FollowTraces(t.Context(), all, "n", 7, time.Minute)
	})
}
