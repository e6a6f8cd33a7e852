package load

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/valyala/fasthttp"
)

// Kinds of errors that are not an answer. One of an answer is its status and
// the service's code for it, such as "403 KMS.0303".
const (
	KindRefused     = "connection refused" // nobody listens there
	KindReset       = "connection lost"    // closed or reset while a call was under way
	KindTimeout     = "timeout"
	KindCertificate = "certificate" // the server's does not verify
	KindNotTLS      = "no TLS"      // the server speaks something else, such as plain HTTP
	KindUnreachable = "unreachable" // no such host, no route
	KindOther       = "other"
)

// StatusError is an answer that is no success.
type StatusError struct {
	Node   string // host:port
	Status int
	Code   string // the service's, such as KMS.0207; empty if it gives none
	Body   string // the beginning of it
	// Again: it says when to come again (RFC 9110, Retry-After).
	Again bool
}

// Busy tells whether the service had too much to do, and did nothing of the call.
func (e *StatusError) Busy() bool { return e.Status == fasthttp.StatusServiceUnavailable && e.Again }

// Error says all of it.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered with status %d: %s", e.Node, e.Status, e.Body)
}

// kind is one word for such an answer. The code is the server's and bounded, so that it
// cannot grow a report without limit.
func (e *StatusError) kind() string {
	if e.Code == "" {
		return fmt.Sprintf("%d", e.Status)
	}
	return fmt.Sprintf("%d %.40s", e.Status, e.Code)
}

func newStatusError(node string, status int, body []byte) *StatusError {
	e := &StatusError{Node: node, Status: status, Body: fmt.Sprintf("%.200s", body)}
	var answer struct {
		Code string `json:"error_code"`
		Type string `json:"__type"` // of AWS
	}
	var nested struct { // on its own, since "error" is a text elsewhere
		Error struct {
			Code string `json:"error_code"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer) == nil {
		e.Code = cmp.Or(answer.Code, answer.Type[strings.LastIndexByte(answer.Type, '#')+1:])
	}
	if e.Code == "" && json.Unmarshal(body, &nested) == nil {
		e.Code = nested.Error.Code
	}
	return e
}

// KindOf is the kind of a call's error, for counting.
func KindOf(err error) string {
	var status *StatusError
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name *net.DNSError
	switch {
	case errors.As(err, &status):
		return status.kind()
	case errors.As(err, &record):
		return KindNotTLS
	case errors.As(err, &verification), errors.As(err, &authority):
		return KindCertificate
	case errors.As(err, &name), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return KindUnreachable
	case errors.Is(err, syscall.ECONNREFUSED):
		return KindRefused
	case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, fasthttp.ErrDialTimeout), errors.Is(err, fasthttp.ErrTLSHandshakeTimeout), isTimeout(err):
		return KindTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, fasthttp.ErrConnectionClosed):
		return KindReset
	}
	return KindOther
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
