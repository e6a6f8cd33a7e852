package huawei

import (
	"errors"
	"io"
	"net"
	"sync"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// retryAfter is how many seconds a client waits after a 503: about an election.
const retryAfter = "1"

// HeaderRequestID is the header of every response that names the request. Whoever
// calls this package sets it, before a request is looked into.
const HeaderRequestID = "X-Request-Id"

// WriteNotFound answers a request for a path that does not exist.
func WriteNotFound(rc *fasthttp.RequestCtx, requestID string) {
	writeAnswer(rc, requestID, answer{404, "KMS.0201", "There is nothing at this URL."})
}

// WriteMethodNotAllowed answers a request with a method that its path does not take.
func WriteMethodNotAllowed(rc *fasthttp.RequestCtx, requestID string) {
	writeAnswer(rc, requestID, answer{405, "KMS.0215", "The method is not allowed at this URL."})
}

// WriteTooLarge answers a request with a body above its route's limit.
func WriteTooLarge(rc *fasthttp.RequestCtx, requestID string) {
	writeAnswer(rc, requestID, answer{400, "KMS.0203", "The request is too long."})
}

// WriteThrottled answers a request of an address that asks more often than it may.
func WriteThrottled(rc *fasthttp.RequestCtx, requestID string) {
	writeAnswer(rc, requestID, answer{503, "KMS.0104", "The address asks more often than this node answers one address. Try again."})
}

// WriteInternal answers a request whose handling failed in a way nobody foresaw.
func WriteInternal(rc *fasthttp.RequestCtx, requestID string) {
	writeAnswer(rc, requestID, answers[kms.KindInternal])
}

// WriteProtocolError answers what is no HTTP request that the server takes; it
// is the ErrorHandler of a [fasthttp.Server]. It makes a request id of its own.
func WriteProtocolError(rc *fasthttp.RequestCtx, err error) {
	requestID := uuid.NewString()
	rc.Response.Header.Set(HeaderRequestID, requestID)
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		WriteTooLarge(rc, requestID)
	case errors.As(err, &small):
		writeAnswer(rc, requestID, answer{431, "KMS.0203", "The request's headers are too long."})
	case errors.As(err, &network) && network.Timeout():
		writeAnswer(rc, requestID, answer{408, "KMS.0214", "The request did not arrive in time."})
	default:
		writeAnswer(rc, requestID, answer{400, "KMS.0214", "The request is malformed."})
	}
}

func writeAnswer(rc *fasthttp.RequestCtx, requestID string, a answer) {
	writeHead(rc, a.status)
	if a.status == fasthttp.StatusServiceUnavailable {
		rc.Response.Header.Set("Retry-After", retryAfter)
	}
	rc.SetBody(wire.NewError(a.code, a.message, requestID).AppendJSON(nil))
}

func writeHead(rc *fasthttp.RequestCtx, status int) {
	rc.SetStatusCode(status)
	rc.SetContentType("application/json")
}

// writeBody answers with a reply, which is wiped once it has been written.
func writeBody(rc *fasthttp.RequestCtx, status int, body *wipedBody) {
	writeHead(rc, status)
	if status == fasthttp.StatusNoContent {
		body.Close()
		return
	}
	rc.SetBodyStream(body, len(body.bytes))
}

// maxKept is the largest buffer that is used again, in bytes.
const maxKept = 64 << 10

// buffers keeps buffers for replies, all of them wiped.
type buffers struct {
	pool sync.Pool // of *[]byte
}

func (b *buffers) get() *wipedBody {
	kept, ok := b.pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 0, 1024)
		kept = &fresh
	}
	return &wipedBody{owner: b, kept: kept, bytes: (*kept)[:0]}
}

// wipedBody is a reply on its way out. fasthttp takes it for a stream, which it
// closes after the last byte, or when it gives up: the moment to wipe it.
type wipedBody struct {
	owner *buffers
	kept  *[]byte // where bytes came from; nil once it is closed
	bytes []byte
	at    int
}

// Read implements [io.Reader].
func (b *wipedBody) Read(p []byte) (int, error) {
	if b.at == len(b.bytes) {
		return 0, io.EOF
	}
	n := copy(p, b.bytes[b.at:])
	b.at += n
	return n, nil
}

// WriteTo implements [io.WriterTo], so that no buffer in between gets a copy.
func (b *wipedBody) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.bytes[b.at:])
	b.at += n
	return int64(n), err
}

// Close implements [io.Closer]: it wipes. A second Close does nothing.
func (b *wipedBody) Close() error {
	clear(b.bytes)
	if b.kept != nil && cap(b.bytes) <= maxKept {
		*b.kept = b.bytes
		b.owner.pool.Put(b.kept)
	}
	b.kept, b.bytes, b.at = nil, nil, 0
	return nil
}
