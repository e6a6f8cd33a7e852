package keystone

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// refusal is an error as the API says it.
type refusal struct {
	status  int
	code    string // flat
	message string
}

// Error returns the message.
func (r *refusal) Error() string { return r.message }

// The refusals of this package.
var (
	// errLogin is all that is told of why somebody gets no token.
	errLogin    = &refusal{401, "IAM.0007", "The account, the user, the password, the one-time code or the scope is wrong, or the user needs a code (methods password and totp)."}
	errBody     = &refusal{400, "IAM.0011", "The request's body is malformed."}
	errMethod   = &refusal{400, "IAM.0011", "The method of identity is not supported: there are password, password with totp, and token."}
	errScope    = &refusal{403, "IAM.0003", "A token with a scope gets none with another scope. Log in for that one, or use a token without a scope."}
	errCode     = &refusal{401, "IAM.0007", "The one-time code is wrong, was taken before, or is of another time."}
	errSelf     = &refusal{403, "IAM.0003", "A second factor is for oneself alone, and takes a token that was got by a password."}
	errBusy     = &refusal{503, "IAM.0006", "The node cannot answer now. Try again."}
	errTries    = &refusal{503, "IAM.0006", "Too many logins and credentials from this address were wrong. Try again in a minute."}
	errAddress  = &refusal{503, "IAM.0006", "The address asks more often than this node answers one address. Try again."}
	errSubject  = &refusal{404, "IAM.0004", "There is no such token."}
	errInternal = &refusal{500, "IAM.0006", "Internal error. The request id leads to what is in the log."}
)

// IsUntried tells whether an error says that a password was not looked at, since
// too many from its address were wrong.
func IsUntried(err error) bool { return errors.Is(err, errTries) }

// answerTo says an error in the API's words. What nobody has foreseen is an
// internal error without any detail.
func answerTo(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if unknown, ok := errors.AsType[*iam.Error](err); ok {
		return &refusal{401, "APIGW.0301", unknown.Error()}
	}
	if failed, ok := errors.AsType[*kms.Error](err); ok {
		switch failed.Kind {
		case kms.KindUnauthenticated:
			return &refusal{401, "IAM.0001", failed.Message}
		case kms.KindForbidden, kms.KindWrongProject:
			return &refusal{403, "IAM.0003", failed.Message}
		case kms.KindNotFound:
			return &refusal{404, "IAM.0004", failed.Message}
		case kms.KindInvalid:
			return &refusal{400, "IAM.0011", failed.Message}
		case kms.KindConflict, kms.KindStale, kms.KindNameTaken:
			return &refusal{409, "IAM.0005", failed.Message}
		case kms.KindUnavailable, kms.KindTraceFailed:
			return &refusal{503, "IAM.0006", failed.Message}
		case kms.KindOutcomeUnknown:
			return &refusal{500, "IAM.0006", failed.Message}
		}
		return errInternal
	}
	switch {
	case errors.Is(err, iam.ErrBusy), errors.Is(err, iam.ErrThrottled), errors.Is(err, hsm.ErrUnavailable), errors.Is(err, hsm.ErrNoRoots),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errBusy
	case errors.Is(err, iam.ErrPasswordRule):
		return &refusal{400, "IAM.0011", "The new password breaks the rule: " + iam.ErrPasswordRule.Error() + "."}
	}
	return errInternal
}

// WriteThrottled answers a request of an address that asks more often than it may.
func WriteThrottled(rc *fasthttp.RequestCtx, requestID string) { writeError(rc, requestID, errAddress) }

func writeError(rc *fasthttp.RequestCtx, requestID string, r *refusal) {
	var e wire.IdentityError
	e.Error.Code, e.Error.Title, e.Error.Message = r.status, fasthttp.StatusMessage(r.status), r.message
	e.ErrorCode, e.ErrorMsg, e.RequestID = r.code, r.message, requestID
	body, err := json.Marshal(e)
	if err != nil {
		body = nil // of a struct of texts: cannot be
	}
	if r.status == fasthttp.StatusServiceUnavailable {
		rc.Response.Header.Set("Retry-After", "1")
	}
	write(rc, r.status, body)
}
