package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/server/wire"
)

// Which nodes there are. A Config names some; from then on the cluster is asked
// (or the name, where a name was given), between calls and not before them.

const (
	defaultRefresh = 30 * time.Second
	// firstRefresh is when a new client asks for the first time: a program that
	// does one call and ends asks nobody.
	firstRefresh = 2 * time.Second
	// hurry is the least time between two looks when nodes fail.
	hurry = time.Second
	// askTimeout bounds a question about a node or the cluster.
	askTimeout = 3 * time.Second
	// maxAddresses bounds how many nodes are taken from an answer.
	maxAddresses = 64
	// maxPlainBytes bounds the answer to such a question.
	maxPlainBytes = 64 << 10
)

// Resolver finds the addresses of a name; a [net.Resolver] is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) (addresses []string, err error)
}

// Node is one node of the cluster.
type Node struct {
	ID  string `json:"id"`
	URL string `json:"url"` // https, without a path
}

// endpoint is an endpoint as it was given.
type endpoint struct {
	host string // host[:port]
	name bool   // each address of the host's name is a node
}

func parseEndpoints(given []string) ([]endpoint, error) {
	if len(given) == 0 {
		return nil, errors.New("at least one endpoint is needed")
	}
	var all []endpoint
	for _, text := range given {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "dns" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			return nil, fmt.Errorf("endpoint %q is no https:// or dns:// URL without a path", text)
		}
		e := endpoint{host: strings.ToLower(u.Host), name: u.Scheme == "dns"}
		if slices.ContainsFunc(all, func(other endpoint) bool { return other.host == e.host }) {
			return nil, fmt.Errorf("endpoint %q is given twice", text)
		}
		all = append(all, e)
	}
	return all, nil
}

// membership is what a client knows of its nodes.
type membership struct {
	endpoints []endpoint
	named     bool // one of them is a name: then the members' own addresses are not asked for
	resolver  Resolver
	refresh   time.Duration // less than 0: the nodes stay as they are

	nodes      atomic.Pointer[[]*node]
	looking    chan struct{} // has room for who replaces the nodes
	next       atomic.Int64  // when to look again, Unix nanoseconds
	last       atomic.Int64  // when somebody has looked
	refreshing atomic.Bool
	// following: an endpoint as given was found among the cluster's members, so
	// that the members are what is meant. Behind a balancer it never is.
	following atomic.Bool
}

// current returns the nodes, and has them looked for when it is time to.
func (c *Client) current(now time.Time) []*node {
	if m := &c.members; m.refresh > 0 && now.UnixNano() >= m.next.Load() {
		c.lookAgain(now)
	}
	return *c.members.nodes.Load()
}

// hurried has the nodes looked for soon: one of them has failed.
func (c *Client) hurried(now time.Time) {
	if m := &c.members; m.refresh > 0 && now.UnixNano()-m.last.Load() >= int64(hurry) {
		c.lookAgain(now)
	}
}

func (c *Client) lookAgain(now time.Time) {
	m := &c.members
	if !m.refreshing.CompareAndSwap(false, true) {
		return
	}
	m.last.Store(now.UnixNano())
	m.next.Store(now.Add(m.refresh).UnixNano())
	started := c.background(func() {
		defer m.refreshing.Store(false)
		c.look(c.life)
	})
	if !started {
		m.refreshing.Store(false)
	}
}

// look finds out which nodes there are now. What cannot be found out stays as
// it was.
func (c *Client) look(ctx context.Context) {
	m := &c.members
	if !m.claim(ctx) {
		return
	}
	defer m.giveBack()
	if m.named {
		if nodes, err := c.resolve(ctx); err == nil {
			c.adopt(nodes)
		}
		return
	}
	found, err := c.Nodes(ctx)
	if err != nil {
		return
	}
	var nodes []*node
	for _, one := range found {
		parsed, err := parseEndpoints([]string{one.URL})
		if err != nil || parsed[0].name {
			continue
		}
		if slices.ContainsFunc(m.endpoints, func(e endpoint) bool { return e.host == parsed[0].host }) {
			m.following.Store(true)
		}
		nodes = append(nodes, c.nodeAt(parsed[0].host, ""))
	}
	if m.following.Load() && len(nodes) > 0 {
		c.adopt(nodes)
	}
}

// Nodes asks the cluster which nodes it has. It needs no permission: nodes say
// that to whoever reaches them, as they do who leads.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	var failures []error
	asked := make(map[string]bool)
	try := func(n *node) ([]Node, bool) {
		if asked[n.host+" "+n.address] || len(failures) > maxAddresses {
			return nil, false
		}
		asked[n.host+" "+n.address] = true
		text, err := c.ask(ctx, n, "/nodes")
		var reply wire.NodesReply
		if err == nil {
			err = json.Unmarshal(text, &reply)
		}
		if err != nil {
			failures = append(failures, err)
			return nil, false
		}
		nodes := make([]Node, 0, len(reply.Nodes))
		for _, one := range reply.Nodes[:min(len(reply.Nodes), maxAddresses)] {
			nodes = append(nodes, Node(one))
		}
		return nodes, true
	}
	nodes, err := c.nodesOrLook(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking for the nodes: %w: %w", ErrUnavailable, err)
	}
	order := slices.Clone(nodes)
	slices.SortStableFunc(order, func(a, b *node) int { return int(min(a.down.Load(), 1) - min(b.down.Load(), 1)) })
	for _, n := range order {
		if found, ok := try(n); ok {
			return found, nil
		}
	}
	// Nobody of them answers: perhaps all were replaced, and who was named at
	// first is there again.
	for _, e := range c.members.endpoints {
		if !e.name {
			n := c.nodeAt(e.host, "")
			found, ok := try(n)
			if !slices.Contains(nodes, n) {
				n.http.CloseIdleConnections()
			}
			if ok {
				return found, nil
			}
		}
	}
	return nil, fmt.Errorf("asking for the nodes: %w: %w", ErrUnavailable, errors.Join(failures...))
}

// nodesOrLook returns the nodes. A name's addresses are looked for before the
// first call, which has nobody to ask without them.
func (c *Client) nodesOrLook(ctx context.Context) ([]*node, error) {
	if nodes := c.current(time.Now()); len(nodes) > 0 {
		return nodes, nil
	}
	m := &c.members
	if !m.claim(ctx) {
		return nil, context.Cause(ctx)
	}
	defer m.giveBack()
	if nodes := *m.nodes.Load(); len(nodes) > 0 { // somebody else has looked
		return nodes, nil
	}
	nodes, err := c.resolve(ctx)
	if err != nil {
		return nil, err
	}
	c.adopt(nodes)
	return nodes, nil
}

// claim waits until nobody else replaces the nodes.
func (m *membership) claim(ctx context.Context) bool {
	select {
	case m.looking <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (m *membership) giveBack() { <-m.looking }

// resolve returns a node for each address of each name, and for each endpoint
// that is none.
func (c *Client) resolve(ctx context.Context) ([]*node, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var nodes []*node
	for _, e := range c.members.endpoints {
		if !e.name {
			nodes = append(nodes, c.nodeAt(e.host, ""))
			continue
		}
		host, port, err := net.SplitHostPort(e.host)
		if err != nil {
			host, port = strings.Trim(e.host, "[]"), "443"
		}
		addresses, err := c.members.resolver.LookupHost(ctx, host)
		if err == nil && len(addresses) == 0 {
			err = errors.New("it has none")
		}
		if err != nil {
			return nil, fmt.Errorf("looking up the addresses of %s: %w", host, err)
		}
		for _, address := range addresses[:min(len(addresses), maxAddresses)] {
			nodes = append(nodes, c.nodeAt(e.host, net.JoinHostPort(address, port)))
		}
	}
	return nodes, nil
}

// adopt makes these the nodes. Calls that are under way on others go on.
func (c *Client) adopt(nodes []*node) {
	before := c.members.nodes.Swap(&nodes)
	for _, old := range *before {
		if !slices.Contains(nodes, old) {
			old.retired.Store(true)
			old.http.CloseIdleConnections()
		}
	}
}

// nodeAt returns the node at a place: the one that is known, with its health
// and its connections, or a new one.
func (c *Client) nodeAt(host, address string) *node {
	if known := c.members.nodes.Load(); known != nil {
		for _, n := range *known {
			if n.host == host && n.address == address {
				return n
			}
		}
	}
	return &node{url: "https://" + host, host: host, address: address, http: c.connect(address)}
}

// ask gets what a node tells without credentials.
func (c *Client) ask(ctx context.Context, n *node, path string) ([]byte, error) {
	_, text, err := c.askAll(ctx, n, path)
	return text, err
}

// askAll is ask with the headers of the answer; nil: there is none.
func (c *Client) askAll(ctx context.Context, n *node, path string) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, min(askTimeout, c.attemptTimeout))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url+path, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("preparing the request: %w", err)
	}
	answer, err := n.http.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxPlainBytes))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s with status %d", n.url, path, answer.StatusCode)
	}
	return answer.Header, text, err
}
