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
	for name, value := range rc.Request.Header.All() {
		r.Headers = append(r.Headers, Header{Name: name, Value: value})
	}
	// A certificate speaks for those who say nothing else; looking at the
	// connection's state copies the whole of it.
	if _, signed := r.header(headerAuthorization); signed == 0 {
		if state := rc.TLSConnectionState(); state != nil {
			r.Peer = state.PeerCertificates
		}
	}
	return r
}

// Release gives the request's memory back.
func (r *Request) Release() {
	clear(r.Headers)
	*r = Request{Headers: r.Headers[:0]}
	requests.Put(r)
}
