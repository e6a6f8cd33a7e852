package server

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/server/gate"
	"github.com/raftkms/raftkms/server/wire"
)

// While every place of both lanes is taken, and nobody leaves, those who must be
// heard nevertheless are: balancers and monitoring, the operator, also for a
// change, and who follows the traces, who sees in them what is refused.
func TestWhoIsServedWhileTheLanesAreFull(t *testing.T) {
	s, founded := startFounderOf(t, func(c *Config) { c.Limits = gate.Config{Calls: 2} })
	here := net.IPv4(192, 0, 2, 1)
	keys := loginAt(t, s, here, founded, `{"project":{"id":"`+founded.ProjectID+`"}}`)
	for _, lane := range []*gate.Lane{s.lanes.Uses, s.lanes.Others} {
		for _, who := range []string{"somebody", "another"} {
			place, err := lane.Enter(t.Context(), who)
			if err != nil {
				t.Fatal(err)
			}
			defer place.Leave()
		}
	}
	follow := func(marker string) (shown []wire.Trace, next string) {
		t.Helper()
		rc := asking(s, here, "GET", "/v3/"+founded.ProjectID+"/traces/follow?wait=10&next="+url.QueryEscape(marker), "", keys)
		var reply wire.ListTracesReply
		if err := json.Unmarshal(rc.Response.Body(), &reply); err != nil || rc.Response.StatusCode() != http.StatusOK || reply.MetaData.Marker == nil {
			t.Fatalf("following traces: %d %s (%v)", rc.Response.StatusCode(), rc.Response.Body(), err)
		}
		return reply.Traces, *reply.MetaData.Marker
	}
	_, marker := follow("")
	f := func(path, body, operation string) {
		t.Helper()
		rc := asking(s, here, "POST", "/v1.0/"+founded.ProjectID+path, body, keys)
		if rc.Response.StatusCode() != http.StatusServiceUnavailable || len(rc.Response.Header.Peek("Retry-After")) == 0 {
			t.Fatalf("%s: %d %s", path, rc.Response.StatusCode(), rc.Response.Body())
		}
		shown, next := follow(marker)
		if marker = next; len(shown) != 1 || shown[0].TraceName != operation || shown[0].Code != "503" && shown[0].Code != "KMS.0104" {
			t.Errorf("who follows was shown %+v", shown)
		}
	}
	f("/kms/list-keys", "{}", "listKeys")
	f("/kms/gen-random", `{"random_data_length":"128"}`, "genRandom")
	for _, path := range []string{"/livez", "/readyz", "/leader", "/nodes", "/metrics"} {
		if rc := asking(s, here, "GET", path, "", ""); rc.Response.StatusCode() != http.StatusOK {
			t.Errorf("%s: %d %s", path, rc.Response.StatusCode(), rc.Response.Body())
		}
	}
	for _, asked := range [][3]string{
		{"GET", wire.AdminPathStatus},
		{"GET", wire.AdminPathConsistency},
		{"POST", wire.AdminPathConsistency, `{"mode":"strict"}`},
	} {
		status, answer := askAdmin(t, s, asked[0], asked[1], asked[2])
		if status != http.StatusOK {
			t.Errorf("%s on the admin socket: %d %s", strings.Join(asked[:], " "), status, answer)
		}
	}
}
