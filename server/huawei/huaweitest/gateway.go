package huaweitest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
)

// Node is where calls can be sent.
type Node struct {
	Name   string
	URL    string // scheme and host
	Client *http.Client
}

// Exchange is one call as it went over the wire.
type Exchange struct {
	Node    string
	Request *http.Request // with the node's URL; its body is in Sent
	Sent    []byte
	Status  int
	Header  http.Header
	Reply   []byte
}

// Gateway passes calls on to its nodes in turn, byte for byte, and shows them.
// The SDK signs no host, so that its signatures hold behind it.
type Gateway struct {
	nodes []Node
	watch func(Exchange)
	calls atomic.Uint64
}

// NewGateway starts a gateway, which ends with the test, and returns its URL.
// watch may be nil.
func NewGateway(t *testing.T, nodes []Node, watch func(Exchange)) string {
	server := httptest.NewServer(&Gateway{nodes: nodes, watch: watch})
	t.Cleanup(server.Close)
	return server.URL
}

// ServeHTTP implements [http.Handler].
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	node := g.nodes[(g.calls.Add(1)-1)%uint64(len(g.nodes))]
	if err := g.pass(w, r, node); err != nil {
		http.Error(w, "the gateway could not pass the call on to "+node.Name+": "+err.Error(), http.StatusBadGateway)
	}
}

func (g *Gateway) pass(w http.ResponseWriter, r *http.Request, node Node) error {
	sent, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	target, err := url.Parse(node.URL + r.URL.RequestURI())
	if err != nil {
		return err
	}
	onward := r.Clone(r.Context())
	onward.URL, onward.Host, onward.RequestURI = target, target.Host, ""
	onward.Body, onward.ContentLength = io.NopCloser(bytes.NewReader(sent)), int64(len(sent))
	response, err := node.Client.Do(onward)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	reply, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if g.watch != nil {
		g.watch(Exchange{Node: node.Name, Request: onward, Sent: sent, Status: response.StatusCode, Header: response.Header, Reply: reply})
	}
	for name, values := range response.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(response.StatusCode)
	_, err = w.Write(reply)
	return err
}
