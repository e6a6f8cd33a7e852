package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/raftkms/raftkms/server/wire"
)

// The causes that a caller may want to tell apart; test with errors.Is.
var (
	// ErrNotFound: there is no such key in the project.
	ErrNotFound = errors.New("the key does not exist")
	// ErrKeyDisabled: the key is disabled, so it encrypts and decrypts nothing.
	ErrKeyDisabled = errors.New("the key is disabled")
	// ErrUnauthenticated: the access key or the signature was refused.
	ErrUnauthenticated = errors.New("the credentials were refused")
	// ErrForbidden: the caller lacks the permission.
	ErrForbidden = errors.New("the permission is missing")
	// ErrCiphertext: the ciphertext was altered, or belongs to another key or context.
	ErrCiphertext = errors.New("the ciphertext does not open")
	// ErrUsage: the key's spec or usage is for something else.
	ErrUsage = errors.New("the key is not for this")
	// ErrAlgorithm: the algorithm is not one of the key's spec, or the digest not
	// as long as the algorithm's hash.
	ErrAlgorithm = errors.New("the algorithm does not fit")
	// ErrImportToken: the parameters of an import have expired, were used up by
	// failures, or are another key's. New ones help.
	ErrImportToken = errors.New("the import's parameters are not good any more")
	// ErrMaterial: imported material does not open, is none of the key's spec, or
	// differs from what the key had.
	ErrMaterial = errors.New("the material is not what the key takes")
	// ErrCertificate: no node's certificate is one of the CA for its name; nothing
	// was sent.
	ErrCertificate = errors.New("the certificate does not verify")
	// ErrUnavailable: no node could serve the call before time ran out.
	ErrUnavailable = errors.New("no node could serve the call")
	// ErrOutcomeUnknown: the call may or may not have taken effect.
	ErrOutcomeUnknown = errors.New("the outcome of the call is unknown")
)

// Error is a refusal by the service.
type Error struct {
	Status    int    // HTTP status
	Code      string // e.g. KMS.0207
	Message   string
	RequestID string // names the call in the service's traces
	Endpoint  string // URL of the node that answered
}

// Error returns code, message and request id.
func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (status %d, request %s)", e.Code, e.Message, e.Status, e.RequestID)
}

// Is reports whether the refusal has one of this package's causes.
func (e *Error) Is(cause error) bool {
	switch cause {
	case ErrNotFound:
		return e.Code == "KMS.0207"
	case ErrKeyDisabled:
		return e.Code == "KMS.0209"
	case ErrCiphertext:
		return e.Code == "KMS.2201"
	case ErrUsage:
		return slices.Contains([]string{"KMS.0325", "KMS.0331", "KMS.0334", "KMS.0335", "KMS.0341", "KMS.1114", "KMS.1115"}, e.Code)
	case ErrAlgorithm:
		return slices.Contains([]string{"KMS.0329", "KMS.0332", "KMS.2105", "KMS.2106"}, e.Code)
	case ErrImportToken:
		return slices.Contains([]string{"KMS.2601", "KMS.2603", "KMS.2605"}, e.Code)
	case ErrMaterial:
		return slices.Contains([]string{"KMS.0311", "KMS.2604", "KMS.2606", "KMS.2608", "KMS.2609", "KMS.2610"}, e.Code)
	case ErrOutcomeUnknown:
		return e.Code == "KMS.0103"
	case ErrUnauthenticated:
		return e.Status == http.StatusUnauthorized
	case ErrForbidden:
		return e.Status == http.StatusForbidden
	case ErrUnavailable:
		// 408: not all of the request has arrived.
		return e.Status == http.StatusServiceUnavailable || e.Status == http.StatusRequestTimeout
	default:
		return false
	}
}

// refusal reads the dialect's error body, nested or flat.
func refusal(endpoint string, header http.Header, status int, body []byte) *Error {
	var answer wire.ErrorReply
	e := &Error{Status: status, RequestID: header.Get("X-Request-Id"), Endpoint: endpoint}
	if err := json.Unmarshal(body, &answer); err == nil {
		e.Code, e.Message = answer.ErrorCode, answer.ErrorMsg
		if answer.Error.ErrorCode != "" {
			e.Code, e.Message = answer.Error.ErrorCode, answer.Error.ErrorMsg
		}
	}
	if e.Code == "" {
		e.Code, e.Message = fmt.Sprintf("HTTP.%d", status), http.StatusText(status)
	}
	return e
}
