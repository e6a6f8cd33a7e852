package transport

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/raftkms/raftkms/cluster/pki"
)

// Bounds of joining. Anyone who reaches the port can ask, so asking is cheap
// for us and slow for them.
const (
	maxJoinBody     = 64 << 10         // bytes, request and reply each
	joinReadTimeout = 5 * time.Second  // to send the request, once connected
	joinTimeout     = 30 * time.Second // from the handshake to the end of the reply
	maxJoiners      = 4                // served at the same time
	joinBurst       = 20               // requests that may come at once ...
	joinInterval    = time.Second / 2  // ... and how often one more may
)

// JoinHandler answers a caller that has no certificate yet. remote is its
// network address, body what it sent (at most 64 KiB). Only a [RemoteError] is
// told to the caller in words.
type JoinHandler func(ctx context.Context, remote string, body []byte) ([]byte, error)

// joiners are the callers without a certificate, and what bounds them.
type joiners struct {
	slots chan struct{}

	mu      sync.Mutex
	handler JoinHandler
	tokens  float64
	filled  time.Time
}

func (j *joiners) init() {
	j.slots = make(chan struct{}, maxJoiners)
	j.tokens, j.filled = joinBurst, time.Now()
}

// HandleJoin says who answers callers without a certificate; until then they
// are refused.
func (p *Port) HandleJoin(h JoinHandler) {
	p.join.mu.Lock()
	defer p.join.mu.Unlock()
	p.join.handler = h
}

// admit takes a token of the bucket and a slot; release gives the slot back.
func (j *joiners) admit() (h JoinHandler, release func(), err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handler == nil {
		return nil, nil, &RemoteError{Code: CodeBusy, Message: "this node admits nobody at the moment"}
	}
	now := time.Now()
	j.tokens = min(joinBurst, j.tokens+now.Sub(j.filled).Seconds()/joinInterval.Seconds())
	j.filled = now
	if j.tokens < 1 {
		return nil, nil, &RemoteError{Code: CodeBusy, Message: "too many requests to join; try again in a minute"}
	}
	select {
	case j.slots <- struct{}{}:
	default:
		return nil, nil, &RemoteError{Code: CodeBusy, Message: "too many requests to join; try again in a minute"}
	}
	j.tokens--
	return j.handler, func() { <-j.slots }, nil
}

func (p *Port) serveJoin(conn *tls.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(p.ctx, joinTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { conn.NetConn().Close() })()
	reply, err := p.answerJoin(ctx, conn)
	status := byte(0)
	if err != nil {
		status, reply = 1, EncodeError(err, func(err error) {
			p.cfg.Logger.Error("answering a request to join", "remote", conn.RemoteAddr().String(), "err", err)
		})
	}
	conn.SetWriteDeadline(time.Now().Add(joinReadTimeout))
	if err := writeFrame(conn, append([]byte{status}, reply...)); err != nil {
		p.refused(conn.RemoteAddr().String(), err)
	}
}

func (p *Port) answerJoin(ctx context.Context, conn *tls.Conn) ([]byte, error) {
	handler, release, err := p.join.admit()
	if err != nil {
		return nil, err
	}
	defer release()
	conn.SetReadDeadline(time.Now().Add(joinReadTimeout))
	body, err := readFrame(conn, maxJoinBody)
	if err != nil {
		return nil, &RemoteError{Code: CodeInvalid, Message: "the request to join is malformed"}
	}
	return handler(ctx, conn.RemoteAddr().String(), body)
}

// Join asks to be admitted, at any of addresses (host:port of cluster ports),
// and returns the reply. The server must show a node's certificate signed by
// the CA whose public key has the fingerprint caPin: nothing is sent to anyone
// else. A [RemoteError] is the cluster's refusal; other errors tell what went
// wrong at each address.
func Join(ctx context.Context, addresses []string, caPin [32]byte, body []byte) ([]byte, error) {
	if len(body) > maxJoinBody {
		return nil, fmt.Errorf("the request to join has %d bytes, more than %d", len(body), maxJoinBody)
	}
	var failed error // one line, however many addresses there are
	for _, address := range addresses {
		reply, err := joinAt(ctx, address, caPin, body)
		var refusal *RemoteError
		switch {
		case err == nil:
			return reply, nil
		case errors.As(err, &refusal) && refusal.Code != CodeBusy:
			return nil, refusal
		}
		if err = fmt.Errorf("joining by way of %s: %w", address, err); failed != nil {
			err = fmt.Errorf("%w; %w", failed, err)
		}
		failed = err
	}
	if failed == nil {
		return nil, errors.New("joining: no address to ask")
	}
	return nil, failed
}

func joinAt(ctx context.Context, address string, caPin [32]byte, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: handshakeTimeout},
		Config: &tls.Config{
			MinVersion:         tls.VersionTLS13,
			NextProtos:         []string{protocolJoin},
			InsecureSkipVerify: true, // replaced, not dropped: the CA is pinned
			VerifyConnection:   func(state tls.ConnectionState) error { return checkPin(state, caPin) },
		},
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if err := writeFrame(conn, body); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	reply, err := readFrame(conn, 1+maxJoinBody)
	if err != nil {
		return nil, fmt.Errorf("reading the reply: %w", err)
	}
	switch {
	case len(reply) == 0 || reply[0] > 1:
		return nil, errors.New("the reply is malformed")
	case reply[0] == 1:
		return nil, DecodeError(reply[1:])
	}
	return reply[1:], nil
}

// checkPin accepts a node whose certificate is signed by the pinned CA, which
// the server must have sent along.
func checkPin(state tls.ConnectionState, caPin [32]byte) error {
	if state.NegotiatedProtocol != protocolJoin || len(state.PeerCertificates) == 0 {
		return errors.New("the server admits nobody: it is not the cluster port of a raftkms node")
	}
	for _, ca := range state.PeerCertificates[1:] {
		pin := pki.Fingerprint(ca.RawSubjectPublicKeyInfo)
		if !ca.IsCA || subtle.ConstantTimeCompare(pin[:], caPin[:]) != 1 {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		leaf := state.PeerCertificates[0]
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			return fmt.Errorf("checking the certificate of the member there: %w", timely(err))
		}
		_, _, err := pki.NodeName(leaf)
		return err
	}
	return ErrCAPin
}

// ErrCAPin means that the server belongs to another cluster than the one whose
// CA was pinned; asking it again changes nothing.
var ErrCAPin = errors.New("the server is not of the cluster that the join token names: its CA has another fingerprint (make a new token on a member of the cluster that is meant)")

// A frame is a length (4 bytes, big-endian) and that many bytes.

func writeFrame(w io.Writer, body []byte) error {
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	_, err := w.Write(append(frame, body...))
	return err
}

func readFrame(r io.Reader, limit uint32) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > limit {
		return nil, fmt.Errorf("a message of %d bytes, more than %d", n, limit)
	}
	body := make([]byte, n)
	_, err := io.ReadFull(r, body)
	return body, err
}
