package huawei

import (
	"crypto/sha256"
	"hash"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// What an idempotency token may be: long enough that nobody draws the same one
// twice, and text that stands in a header as it is.
const (
	leastToken = 16
	mostToken  = 64
	ageMark    = "; age="
	mostAge    = 9 // digits of milliseconds
)

// once reads what makes a request one with its repeats: an extension of a header,
//
//	X-Idempotency-Token: TOKEN           of the first request
//	X-Idempotency-Token: TOKEN; age=N    of a repeat: the first was N ms ago
//
// Requests that change nothing do not have it read.
func once(op kms.Operation, rc *fasthttp.RequestCtx) (kms.Once, error) {
	takes := op.TakesToken()
	if !takes && op != kms.OpGetParametersForImport {
		return kms.Once{}, nil
	}
	given := rc.Request.Header.PeekAll(wire.HeaderIdempotencyToken)
	switch {
	case len(given) == 0:
		return kms.Once{}, nil
	case len(given) > 1:
		return kms.Once{}, invalid(wire.HeaderIdempotencyToken, "is there more than once")
	case !takes:
		return kms.Once{}, invalid(wire.HeaderIdempotencyToken, "is not for this call: what it answers is kept nowhere, so that it cannot be repeated. Ask again without a token, which does no harm")
	}
	token, age, repeated := strings.Cut(string(given[0]), ageMark)
	o := kms.Once{Token: token}
	if !isToken(token) {
		return kms.Once{}, invalid(wire.HeaderIdempotencyToken, "must be 16 to 64 of A-Z, a-z, 0-9, '-', '_' and '.'")
	}
	if repeated {
		ms, err := strconv.ParseUint(age, 10, 63)
		if err != nil || len(age) > mostAge {
			return kms.Once{}, invalid(wire.HeaderIdempotencyToken, "must have an age of milliseconds, in up to 9 digits")
		}
		o.Age = time.Duration(ms) * time.Millisecond
	}
	o.Request = requestHash(rc)
	return o, nil
}

func isToken(text string) bool {
	if len(text) < leastToken || len(text) > mostToken {
		return false
	}
	for _, c := range []byte(text) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// requestHash is of all that a request asks for, as it was sent.
func requestHash(rc *fasthttp.RequestCtx) [sha256.Size]byte {
	h := sha256.New()
	part(h, rc.Method())
	part(h, rc.RequestURI())
	part(h, rc.Request.Body())
	return [sha256.Size]byte(h.Sum(nil))
}

func part(h hash.Hash, b []byte) {
	h.Write(strconv.AppendInt(nil, int64(len(b)), 10))
	h.Write([]byte{' '})
	h.Write(b)
}
