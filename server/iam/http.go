package iam

import (
	"sync"

	"github.com/valyala/fasthttp"
)

var requests = sync.Pool{New: func() any { return &Request{Headers: make([]Header, 0, 32)} }}

// Received is the request as the server got it, byte for byte. It is good
// until the handler returns, or until it is given back with [Request.Release].
func Received(rc *fasthttp.RequestCtx) *Request {
	r := requests.Get().(*Request)
	uri := rc.Request.URI()
	r.Method = rc.Method()
	r.Path = uri.PathOriginal()
	r.Query = uri.QueryString()
	r.Body = rc.Request.Body()
	if state := rc.TLSConnectionState(); state != nil {
		r.Peer = state.PeerCertificates
	}
	for name, value := range rc.Request.Header.All() {
		r.Headers = append(r.Headers, Header{Name: name, Value: value})
	}
	return r
}

// Release gives the request's memory back.
func (r *Request) Release() {
	clear(r.Headers)
	*r = Request{Headers: r.Headers[:0]}
	requests.Put(r)
}
