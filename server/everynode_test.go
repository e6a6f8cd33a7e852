package server

import (
	"strings"
	"testing"

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
	roles := map[string]*Server{"standby": standby}
	for _, s := range c.nodes[:3] {
		if s.member.Load().node.IsLeader() {
			roles["leader"] = s
		} else {
			roles["follower"] = s
		}
	}
	if len(roles) != 3 {
		t.Fatalf("there are %d kinds of nodes", len(roles))
	}
	routes := standby.routes(standby.member.Load())
	table := newRouteTable(routes)
	for role, s := range roles {
		t.Run(role, func(t *testing.T) {
			document := huaweitest.NewDocument(t)
			huaweitest.Run(t, huaweitest.Target{
				Nodes: []huaweitest.Node{{Name: role, URL: s.cfg.APIURL, Client: c.client}}, Name: role,
				AccessKey: c.founded.AccessKey, SecretKey: c.founded.SecretKey, Project: c.founded.ProjectID, Domain: c.founded.DomainID,
				User: c.founded.UserID, Region: c.founded.Region, Watch: document.Check,
			})
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
			if leads := s.member.Load().node.IsLeader(); leads != (role == "leader") {
				t.Errorf("meanwhile it has become another kind of node: it leads: %v", leads)
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
