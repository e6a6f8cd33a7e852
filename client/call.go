package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/server/wire"
)

// maxReplyBytes bounds what is read of a reply; the largest is a page of 1,000 keys.
const maxReplyBytes = 8 << 20

// repeatable says whether an operation may be done twice without harm.
type repeatable bool

// The two kinds of operation.
const (
	once  repeatable = false
	again repeatable = true
)

// call does one operation of the key service, on as many nodes as it takes.
func (c *Client) call(ctx context.Context, verb string, kind repeatable, request, reply any) error {
	return c.callBy(ctx, how{method: http.MethodPost, verb: verb}, kind, request, reply)
}

// decrypt is call for what may be asked of two nodes at once.
func (c *Client) decrypt(ctx context.Context, verb string, request, reply any) error {
	return c.callBy(ctx, how{method: http.MethodPost, verb: verb, hedge: true}, again, request, reply)
}

// how an operation is asked for.
type how struct {
	method string
	verb   string // behind the project in the path
	v3     bool   // of the services under /v3, not of the key service
	path   string // decoded; of what is about no project, instead of the two
	query  url.Values
	// longest bounds one try; 0: the client's AttemptTimeout.
	longest time.Duration
	// hedge: a second node may be asked while the first one is slow.
	hedge bool
	// seen is given the headers of a success; nil: nobody looks at them.
	seen func(http.Header)
	// idempotency is the token under which a change may be asked for again; since
	// is when the first request under it was sent, in a repeat of one.
	idempotency string
	since       time.Time
	known       bool // the node that is asked knows repeats, so it need not be waited for to the end
}

// callBy is call for what is not asked with POST.
func (c *Client) callBy(ctx context.Context, h how, kind repeatable, request, reply any) error {
	verb := h.verb
	if verb == "" {
		verb = h.method + " " + h.path
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	message := newMessage(body)
	defer message.done()
	if kind == once && h.path == "" && !h.v3 {
		h.idempotency = newToken()
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()

	begin := time.Now()
	var last error
	var unknown error // of an earlier try, which may have been carried out
	// ended says how a call ends that no node has answered.
	ended := func(cause error) error {
		if unknown != nil {
			return fmt.Errorf("%s: %w: %w: %w", verb, ErrOutcomeUnknown, unknown, cause)
		}
		return fmt.Errorf("%s: %w: %w", verb, ErrUnavailable, cause)
	}
	var apart *failedTry              // of a node whose clock is not the caller's
	var except *node                  // it, which is not asked again
	strangers := make(map[*node]bool) // whose certificates do not verify
	for try := 0; ; try++ {
		if try > 0 && !sleep(ctx, backoff(try)) {
			return ended(last)
		}
		nodes, n, err := c.choose(ctx, except)
		if err != nil {
			switch {
			case apart != nil && unknown == nil:
				return fmt.Errorf("%s: %w", verb, apart.cause)
			case errors.Is(err, errPatience) && last != nil:
				// What a node said says more than that it is to be left alone.
				return ended(last)
			case errors.Is(err, errPatience) || ctx.Err() != nil:
				return ended(err)
			}
			last = err
			continue
		}
		safe := false
		if h.idempotency != "" {
			safe, err = c.takesTokens(ctx, n)
		}
		switch {
		case unknown == nil && (len(nodes) == 1 || !errors.Is(err, context.DeadlineExceeded)):
		case err != nil: // nobody is there to be asked, or it hangs
			n.fail(time.Now(), 0)
			last = err
			continue
		case !safe: // it would take the repeat for a new request
			return ended(errNoTokens)
		default:
			h.since = begin
		}
		h.known = safe
		answer, err := c.hedged(ctx, nodes, n, h, kind, message)
		if err == nil {
			if len(answer) == 0 && reply == nil { // 204
				return nil
			}
			err = json.Unmarshal(answer, reply)
			clear(answer)
			if err != nil {
				return fmt.Errorf("%s: reading the answer of %s: %w", verb, n.url, err)
			}
			return nil
		}
		failed, tryAnother := errors.AsType[*failedTry](err)
		if refused, ok := errors.AsType[*Error](err); ok && safe && refused.inDoubt() {
			failed, tryAnother = &failedTry{cause: refused, mayHaveArrived: true}, true
			n.fail(time.Now(), 0) // another one may know more
		}
		if !tryAnother && unknown != nil {
			// This is what the repeat met, not what became of the first.
			return ended(err)
		}
		if !tryAnother {
			return fmt.Errorf("%s: %w", verb, err)
		}
		if errors.Is(failed.cause, ErrCertificate) {
			strangers[n] = true
			if !slices.ContainsFunc(nodes, func(n *node) bool { return !strangers[n] }) {
				if unknown != nil {
					return ended(failed.cause)
				}
				return fmt.Errorf("%s: %w", verb, failed.cause) // trying again does not make them trusted
			}
		}
		switch {
		case failed.mayHaveArrived && safe && ctx.Err() == nil:
			unknown = failed.cause
		case failed.mayHaveArrived && kind == once:
			return fmt.Errorf("%s: %w: %w", verb, ErrOutcomeUnknown, failed.cause)
		case unknown != nil && ctx.Err() != nil:
			return ended(failed.cause)
		case unknown != nil:
		case apart != nil: // two were asked
			return fmt.Errorf("%s: %w", verb, apart.cause)
		case failed.clocks && len(nodes) == 1:
			return fmt.Errorf("%s: %w", verb, failed.cause)
		case failed.clocks:
			// The clock that is off may be the node's: one other is asked.
			apart, except = failed, n
		case ctx.Err() != nil && last != nil:
			// What a node said before says more than that the time is up.
			return fmt.Errorf("%s: %w: %w: %w", verb, ErrUnavailable, last, failed.cause)
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w: %w", verb, ErrUnavailable, failed.cause)
		}
		last = failed.cause
	}
}

// failedTry is an error after which another node may be asked.
type failedTry struct {
	cause          error
	mayHaveArrived bool // the node may have done what was asked
	// patience is how long the node asks not to be asked again; 0: it did not say.
	patience time.Duration
	// clocks: the node refused the call because the time that it was signed at is
	// far from the node's own. Another node's clock may be right.
	clocks bool
}

// farApart is how the refusal ends of a node whose clock is far from the caller's.
const farApart = "is more than 15 minutes from the server's time"

// Error returns the cause's text.
func (f *failedTry) Error() string { return f.cause.Error() }

// Unwrap returns the cause.
func (f *failedTry) Unwrap() error { return f.cause }

// attempt has one node do what is asked, and remembers how it fared.
func (c *Client) attempt(ctx context.Context, n *node, h how, kind repeatable, body *message) ([]byte, error) {
	n.pending.Add(1)
	answer, err := c.send(ctx, n, h, kind, body)
	n.pending.Add(-1)
	if n.retired.Load() {
		n.http.CloseIdleConnections()
	}
	failed, ok := errors.AsType[*failedTry](err)
	if !ok {
		n.succeed() // a refusal is an answer, too
	} else if ctx.Err() == nil { // else it was the caller who had no more time
		now := time.Now()
		n.fail(now, failed.patience)
		c.hurried(now)
	}
	return answer, err
}

// limit is how long one try may last: as long as the call where it is the only
// one, since nobody knows what became of a change that was given up.
func (c *Client) limit(ctx context.Context, h how, kind repeatable) (limit time.Duration, limited bool) {
	if kind == again {
		return max(c.attemptTimeout, h.longest), true
	}
	end, _ := ctx.Deadline() // there always is one, see patience
	return max(c.attemptTimeout, time.Until(end)/2), h.known
}

// send sends the request to one node and returns the body of a success.
func (c *Client) send(ctx context.Context, n *node, h how, kind repeatable, body *message) ([]byte, error) {
	if limit, limited := c.limit(ctx, h, kind); limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	// Until there is a connection, nothing of the request can have been sent.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	path := "/v1.0/" + c.project + "/kms/" + h.verb
	if h.v3 {
		path = "/v3/" + c.project + "/" + h.verb
	}
	if h.path != "" {
		path = h.path
	}
	address := n.url + (&url.URL{Path: path}).EscapedPath()
	if len(h.query) > 0 {
		address += "?" + h.query.Encode()
	}
	reader := body.open()
	r, err := http.NewRequestWithContext(ctx, h.method, address, reader)
	if err != nil {
		reader.Close()
		return nil, fmt.Errorf("preparing the request: %w", err)
	}
	r.ContentLength = int64(len(body.text))
	r.GetBody = func() (io.ReadCloser, error) { return body.open(), nil }
	r.Header.Set("Content-Type", "application/json")
	if h.idempotency != "" {
		r.Header.Set(wire.HeaderIdempotencyToken, h.tokenHeader(time.Now()))
	}
	if err := c.proof(ctx, r, path, h.query, body.text); err != nil {
		reader.Close()
		return nil, err
	}
	answer, err := n.http.Do(r)
	if err != nil {
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			return nil, &failedTry{cause: fmt.Errorf("%w: %w", ErrCertificate, err)} // it was shown nothing
		}
		return nil, &failedTry{cause: err, mayHaveArrived: connected.Load()}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxReplyBytes))
	if err != nil {
		return nil, &failedTry{cause: fmt.Errorf("reading the answer of %s: %w", n.url, err), mayHaveArrived: true}
	}
	switch answer.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
		if h.seen != nil {
			h.seen(answer.Header)
		}
		return text, nil
	}
	refused := refusal(n.url, answer.Header, answer.StatusCode, text)
	switch {
	case answer.StatusCode == http.StatusUnauthorized && strings.HasSuffix(refused.Message, farApart):
		return nil, &failedTry{cause: refused, clocks: true}
	case refused.Is(ErrUnavailable):
		return nil, &failedTry{cause: refused, patience: retryAfter(answer.Header, time.Now())}
	}
	return nil, refused
}

// errPatience is why a call ends that asks nobody any more.
var errPatience = errors.New("all nodes ask not to be asked again for longer than the call has")

// choose returns the nodes and the one of them to ask now. Where all ask not to
// be asked again for a while, it waits for the first that may be, unless the
// call ends before that. except is not asked unless it is the only one.
func (c *Client) choose(ctx context.Context, except *node) ([]*node, *node, error) {
	for {
		nodes, err := c.nodesOrLook(ctx)
		if err != nil {
			return nil, nil, err
		}
		n := c.pick(nodes, time.Now(), except)
		asked := n.patience(time.Now())
		if asked == 0 {
			return nodes, n, nil
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= asked {
			return nil, nil, errPatience
		}
		// Another one may serve before that; and those who wait do not come back
		// in step.
		if !sleep(ctx, min(asked, lookUp)+rand.N(minWait)) {
			return nil, nil, errPatience
		}
	}
}

// retryAfter is for how long a node asks not to be asked again (RFC 9110,
// 10.2.3): seconds, or a date. What is neither counts as not said.
func retryAfter(header http.Header, now time.Time) time.Duration {
	text := header.Get("Retry-After")
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(seconds)*time.Second, maxPatience)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	// By the node's own clock, where it shows that.
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), maxPatience)
}

// sleep waits for d and says whether the context let it.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
