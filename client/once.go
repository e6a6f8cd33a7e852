package client

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/server/wire"
)

// A change of which nobody knows whether it was carried out is asked for again
// under its idempotency token, by which nodes know it again. But only where the
// node that was asked first and the one that is asked now have said that they
// heed tokens: to another one a repeat would be a new request.

// errNoTokens is why a change is not asked for again.
var errNoTokens = errors.New("it is not asked for again, since the node does not know repeats from new requests")

// newToken is an idempotency token: 128 random bits.
func newToken() string {
	var b [16]byte
	rand.Read(b[:]) // it does not fail
	return hex.EncodeToString(b[:])
}

// tokenHeader is what says the token, and in a repeat how old the first one is.
func (h *how) tokenHeader(now time.Time) string {
	if h.since.IsZero() {
		return h.idempotency
	}
	return h.idempotency + "; age=" + strconv.FormatInt(min(now.Sub(h.since).Milliseconds(), maxTokenAge)+1, 10)
}

// maxTokenAge is, in milliseconds, more than any node remembers.
const maxTokenAge = 24 * 60 * 60 * 1000

// takesTokens tells whether a node heeds tokens. It is asked once, and again
// after it has failed: another version may run in its place.
func (c *Client) takesTokens(ctx context.Context, n *node) (bool, error) {
	if known := n.tokens.Load(); known != tokensUnasked {
		return known == tokensTaken, nil
	}
	header, _, err := c.askAll(ctx, n, "/livez")
	if header == nil {
		return false, err
	}
	if err == nil && header.Get(wire.HeaderIdempotencyToken) == wire.TakesIdempotencyTokens {
		n.tokens.Store(tokensTaken)
		return true, nil
	}
	n.tokens.Store(tokensIgnored) // also where there is no such thing as /livez
	return false, nil
}

// What is known of a node and tokens.
const (
	tokensUnasked int32 = iota
	tokensTaken
	tokensIgnored
)

// inDoubt tells whether a refusal leaves open if the change was made: the node
// says so, or what is between does not know what became of the request.
func (e *Error) inDoubt() bool {
	return errors.Is(e, ErrOutcomeUnknown) || e.Status == http.StatusBadGateway || e.Status == http.StatusGatewayTimeout
}
