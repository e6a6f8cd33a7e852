package client_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

// be has the nodes say that the cluster is made of members.
func be(t *testing.T, nodes []*fake, members ...*fake) {
	t.Helper()
	var reply wire.NodesReply
	for _, m := range members {
		reply.Nodes = append(reply.Nodes, wire.NodeAddress{ID: m.URL, URL: m.URL})
	}
	text, err := json.Marshal(reply)
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		node.mu.Lock()
		node.members = string(text)
		node.mu.Unlock()
	}
}

// A client that was told of one member finds the others, leaves who has left,
// and comes back by whom it was told of first when all the others are gone.
func TestMembershipIsFollowed(t *testing.T) {
	a, b, d := newFake(t, reply(dataKey)), newFake(t, reply(dataKey)), newFake(t, reply(dataKey))
	all := []*fake{a, b, d}
	cfg := configure(all...)
	cfg.Endpoints = cfg.Endpoints[:1]
	cfg.Refresh = 20 * time.Millisecond
	c := open(t, cfg)
	asked := func(f *fake) func() bool {
		n := len(f.seen())
		return func() bool { createOne(t, c); return len(f.seen()) > n }
	}
	be(t, all, a, b)
	await(t, "calls at b", asked(b))
	be(t, all, b, d)
	await(t, "calls at d", asked(d))
	a.mu.Lock()
	a.requests = nil
	a.mu.Unlock()
	for range 10 {
		createOne(t, c)
	}
	if n := len(a.seen()); n != 0 {
		t.Errorf("the node that has left got %d calls", n)
	}
	if nodes, err := c.Nodes(t.Context()); err != nil || !slices.Equal(nodes, []client.Node{{ID: b.URL, URL: b.URL}, {ID: d.URL, URL: d.URL}}) {
		t.Errorf("nodes are %v, %v", nodes, err)
	}

	be(t, all, a)
	for _, gone := range []*fake{b, d} {
		gone.CloseClientConnections()
		gone.Close()
	}
	await(t, "calls at a again", asked(a))
}

// What is no member's own address is a balancer, and stays what is called.
func TestABalancerIsNotPassedBy(t *testing.T) {
	balancer, node := newFake(t, reply(dataKey)), newFake(t, reply(dataKey))
	cfg := configure(balancer, node)
	cfg.Endpoints = cfg.Endpoints[:1]
	cfg.Refresh = time.Millisecond
	c := open(t, cfg)
	be(t, []*fake{balancer}, node)
	for range 20 {
		createOne(t, c)
		time.Sleep(2 * time.Millisecond)
	}
	if n := len(node.seen()); n != 0 {
		t.Errorf("the balancer was passed by with %d calls", n)
	}
}

// What a node answers that nobody could call is not taken.
func TestUselessMembersAreNotTaken(t *testing.T) {
	node := newFake(t, reply(dataKey))
	cfg := configure(node)
	cfg.Refresh = time.Millisecond
	c := open(t, cfg)
	for _, text := range []string{
		`{"nodes":[]}`, `[]`, `{`, `{"nodes":[{"id":"x","url":"http://127.0.0.1:1"},{"id":"y","url":"dns://h"},{"id":"z","url":"https://h/path"}]}`,
	} {
		node.mu.Lock()
		node.members = text
		node.mu.Unlock()
		for range 5 {
			createOne(t, c)
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// addresses is a resolver that says what it is told.
type addresses struct {
	mu  sync.Mutex
	now []string
	err error
}

func (a *addresses) LookupHost(_ context.Context, host string) ([]string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if host != "example.com" {
		return nil, errors.New("another name")
	}
	return a.now, a.err
}

func (a *addresses) set(err error, now ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now, a.err = now, err
}

// Each address of a name is a node of its own, of which the certificate is
// verified for the name; the name is looked up again.
func TestANameOfManyNodes(t *testing.T) {
	first := newFake(t, reply(dataKey))
	u, err := url.Parse(first.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The other node listens on the same port at another address.
	second := &fake{t: t, answer: reply(dataKey)}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", u.Port()))
	if err != nil {
		t.Fatal("listening at a second loopback address:", err)
	}
	second.Server = httptest.NewUnstartedServer(http.HandlerFunc(second.serve))
	second.Listener.Close()
	second.Listener = listener
	second.StartTLS()
	t.Cleanup(second.Close)

	resolver := new(addresses)
	cfg := configure(first) // the certificates of the tests are for example.com as well
	cfg.Endpoints, cfg.Resolver, cfg.Refresh = []string{"dns://example.com:" + u.Port()}, resolver, 10*time.Millisecond
	c := open(t, cfg)
	resolver.set(nil, "127.0.0.1", "127.0.0.2")
	await(t, "calls at both", func() bool { createOne(t, c); return len(first.seen()) > 2 && len(second.seen()) > 2 })
	// A name service that is out for a while changes nothing.
	resolver.set(errors.New("no answer"))
	for range 10 {
		createOne(t, c)
		time.Sleep(2 * time.Millisecond)
	}
	resolver.set(nil, "127.0.0.2")
	await(t, "calls at one alone", func() bool {
		before := len(first.seen())
		for range 6 {
			createOne(t, c)
		}
		return len(first.seen()) == before
	})

	strange := cfg
	strange.CA = x509.NewCertPool()
	if _, err := open(t, strange).CreateDataKey(t.Context(), "k", client.DataKeyOptions{}); !errors.Is(err, client.ErrCertificate) {
		t.Errorf("of a CA that is not known: %v", err)
	}
}
