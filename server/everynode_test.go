package server

import (
	"strconv"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/huawei/huaweitest"
)

// A leader, a follower and a standby, which has no vote, answer the whole
// dialect alike: every endpoint that there is, each with a success.
func TestEveryCallOnEveryNode(t *testing.T) {
	c := newTrio(t)
	c.add("n4", func(cfg *Config) { cfg.Standby = true })
	standby := c.nodes[3]
	c.admit(standby)
	await(t, "a standby that is ready", func() bool { return standby.member.Load().ready.now() == nil })
	// nodeOf is a node of that kind, as of now: on a busy machine leadership moves.
	nodeOf := func(role string) (found *Server) {
		if role == "standby" {
			return standby
		}
		await(t, "a "+role, func() bool {
			for _, s := range c.nodes[:3] {
				if s.member.Load().node.IsLeader() == (role == "leader") {
					found = s
				}
			}
			return found != nil
		})
		return found
	}
	routes := standby.routes(standby.member.Load())
	table := newRouteTable(routes)
	ask := func(t *testing.T, role, name string) (stayed bool) {
		s := nodeOf(role)
		document := huaweitest.NewDocument(t)
		var answers []huaweitest.Exchange
		huaweitest.Run(t, huaweitest.Target{
			Nodes: []huaweitest.Node{{Name: role, URL: s.cfg.APIURL, Client: c.client}}, Name: name,
			AccessKey: c.founded.AccessKey, SecretKey: c.founded.SecretKey, Project: c.founded.ProjectID, Domain: c.founded.DomainID,
			User: c.founded.UserID, Region: c.founded.Region, Watch: func(e huaweitest.Exchange) {
				document.Check(e)
				answers = append(answers, e)
			},
		})
		wantOneTraceEach(t, s, table, answers)
		answered := map[string]bool{}
		for _, call := range document.Answered() {
			method, path, _ := strings.Cut(call, " ")
			if r, _ := table.find(method, path); r != nil {
				answered[r.method+" "+r.path] = true
			}
		}
		for _, r := range routes {
			if ofTheDialect(r.path) && !answered[r.method+" "+r.path] {
				t.Errorf("nobody asked for %s %s", r.method, r.path)
			}
		}
		return s.member.Load().node.IsLeader() == (role == "leader")
	}
	for _, role := range []string{"leader", "follower", "standby"} {
		t.Run(role, func(t *testing.T) {
			for try := 1; !ask(t, role, role+strconv.Itoa(try)); try++ {
				if try == 4 {
					t.Fatal("every time it has become another kind of node meanwhile")
				}
			}
		})
	}
	members, err := standby.member.Load().node.Members(t.Context())
	must(t, err)
	for _, m := range members {
		if m.ID == standby.cfg.NodeID && m.Voter {
			t.Error("the standby has a vote")
		}
	}
}

// wantOneTraceEach wants that every call that was answered, allowed or refused,
// has left one trace on the node that answered, of its operation and with its
// status.
func wantOneTraceEach(t *testing.T, s *Server, table routeTable, answers []huaweitest.Exchange) {
	t.Helper()
	allowed := map[string]bool{}
	for _, e := range answers {
		path := e.Request.URL.Path
		r, _ := table.find(e.Request.Method, path)
		if r == nil || operational(r.path) {
			continue
		}
		a, err := s.traces.Search(t.Context(), audit.Query{RequestID: e.Header.Get("X-Request-Id"), Limit: 10})
		if err != nil || len(a.Found) != 1 || len(a.Damaged) > 0 {
			t.Errorf("%s %s (%d): %d traces, %v, damaged %v", e.Request.Method, path, e.Status, len(a.Found), err, a.Damaged)
			continue
		}
		trace, err := a.Found[0].Show()
		must(t, err)
		rating := map[bool]string{true: "normal", false: "warning"}[e.Status < 400]
		if trace.Code != strconv.Itoa(e.Status) || trace.TraceRating != rating || trace.TraceType != "ApiCall" || trace.ResourceURL != path || trace.User.AccessKeyID == "" {
			t.Errorf("%s %s (%d) is traced as %+v", e.Request.Method, path, e.Status, trace)
		}
		if e.Status < 400 {
			allowed[trace.TraceName] = true
		}
	}
	if len(allowed) < 55 {
		t.Errorf("%d operations were allowed: %v", len(allowed), allowed)
	}
}
