package server

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

// A client that was told of one node calls a node that has joined, and none
// that was removed; the nodes say so without credentials, and only while they
// are ready.
func TestGoClientFollowsTheCluster(t *testing.T) {
	c := newTrio(t)
	cfg := c.goConfig()
	cfg.Endpoints, cfg.Refresh = cfg.Endpoints[:1], 50*time.Millisecond
	k, err := client.New(cfg)
	must(t, err)
	defer k.Close()
	names := func() (ids []string) {
		nodes, err := k.Nodes(t.Context())
		must(t, err)
		for _, n := range nodes {
			ids = append(ids, n.ID)
			if !slices.ContainsFunc(c.nodes, func(s *Server) bool { return s.cfg.NodeID == n.ID && s.cfg.APIURL == n.URL }) {
				t.Errorf("%s is said to be at %s", n.ID, n.URL)
			}
		}
		slices.Sort(ids)
		return ids
	}
	made, err := k.CreateKey(t.Context(), client.NewKey{Name: "followed"})
	must(t, err)
	create := func() {
		_, err := k.CreateDataKey(t.Context(), made, client.DataKeyOptions{})
		must(t, err)
	}
	asked := func(s *Server) bool {
		create()
		var text strings.Builder
		s.metrics.write(&text)
		return strings.Contains(text.String(), `kmsd_requests_total{operation="createDataKey",status="200"}`)
	}
	await(t, "calls at every node", func() bool { return asked(c.nodes[0]) && asked(c.nodes[1]) && asked(c.nodes[2]) })

	// A node that waits for the root keys serves nobody yet.
	c.add("n4")
	token, err := c.nodes[0].createJoinToken(t.Context(), wire.JoinTokenRequest{})
	must(t, err)
	must(t, c.nodes[3].join(t.Context(), token.Token))
	n4 := c.nodes[3].member.Load()
	await(t, "the joiner's fingerprint", func() bool { return n4.roots.fingerprint() != "" })
	if got := names(); !slices.Equal(got, []string{"n1", "n2", "n3"}) {
		t.Errorf("nodes that may serve: %v", got)
	}
	rc := asking(c.nodes[3], net.IPv4(192, 0, 2, 1), "GET", "/nodes", "", "")
	if rc.Response.StatusCode() != http.StatusServiceUnavailable || len(rc.Response.Header.Peek("Retry-After")) == 0 {
		t.Errorf("a node that is not ready answers %d %s", rc.Response.StatusCode(), rc.Response.Body())
	}
	must(t, c.nodes[0].approveRoots(t.Context(), "r", wire.ApproveRootsRequest{NodeID: "n4", Fingerprint: n4.roots.fingerprint()}))
	await(t, "calls at the node that has joined", func() bool { return asked(c.nodes[3]) })
	if got := names(); !slices.Equal(got, []string{"n1", "n2", "n3", "n4"}) {
		t.Errorf("nodes: %v", got)
	}

	// The very node that the client was told of is removed.
	c.removed = "n1"
	_, err = c.nodes[1].removeNode(t.Context(), wire.NodeRequest{NodeID: "n1"})
	must(t, err)
	create()
	await(t, "three nodes", func() bool { return slices.Equal(names(), []string{"n2", "n3", "n4"}) })
	_ = c.ends[0]()
	for range 12 {
		create()
	}
}
