package iam

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Principal is who asks, as proved by a credential.
type Principal struct {
	UserID      string
	UserName    string
	DomainID    string // the account
	AccessKeyID string // the credential; empty for others than AK/SK
	MFA         bool   // whether a second factor was shown; never with AK/SK

	// Of other credentials than access keys.
	Via          command.Via
	CredentialID string // see [command.Via]
	Epoch        uint64 // ViaToken: of the user's credentials when it was made
	Expires      int64  // Unix ms; 0: never by itself
	Confined     bool   // good for ProjectID or, with Account, for the account; for neither: says who it is, and no more
	ProjectID    string
	Account      bool
	Groups       string // ViaProvider: see [command.Caller]
}

// Identities is what a credential is looked up in: one state root, the same
// that the rest of the call is decided from.
type Identities interface {
	// PrincipalByKey is that of [state.View].
	PrincipalByKey(accessKeyID, projectID string) *state.Principal
}

// Error says why a request is not authenticated, in the words of the vendor's
// gateway. It holds nothing secret, and tells nothing of the state to whoever has
// not shown that they hold the secret: an access key that does not exist is
// refused as a wrong signature is, by that reason.
type Error struct {
	Reason string

	settled bool // see Settled; for reasons that may be told for either
}

// Error returns the gateway's message.
func (e *Error) Error() string { return "Incorrect IAM authentication information: " + e.Reason }

// The reasons.
const (
	reasonNoCredential = "x-auth-token not found"
	reasonToken        = "decrypt token fail"
	reasonCertificate  = "the client certificate is nobody's"
	reasonBearer       = "the bearer token is nobody's"
	reasonSignature    = "verify aksk signature fail"
	reasonMalformed    = "verify aksk signature fail, the Authorization header is malformed"
	reasonAlgorithm    = "verify aksk signature fail, the signature algorithm is not supported"
	reasonDate         = "verify aksk signature fail, X-Sdk-Date is missing or malformed"
	// The Go client knows this one by its end, and asks another node.
	reasonExpired = "verify aksk signature fail, X-Sdk-Date is more than 15 minutes from the server's time"
	reasonHeader  = "verify aksk signature fail, a signed header is missing or there more than once"
	reasonPayload = "verify aksk signature fail, X-Sdk-Content-Sha256 is not the hash of the body"
	reasonURL     = "verify aksk signature fail, the URL is malformed"
)

// Settled says whether the state has no part in the refusal: the request is not
// well formed, whoever is known. A signature that does not match is not settled:
// it may be by an access key that only a newer state knows, and to look there for
// unknown ones alone would tell them apart.
func (e *Error) Settled() bool {
	switch e.Reason {
	case reasonNoCredential, reasonMalformed, reasonAlgorithm, reasonDate, reasonExpired, reasonHeader, reasonPayload, reasonURL:
		return true
	default:
		return e.settled
	}
}

// refuseForgery refuses what no state of the cluster would take for a token.
func refuseForgery() error { return &Error{Reason: reasonToken, settled: true} }

func refuse(reason string) error { return &Error{Reason: reason} }

// refuseKey is a refusal that names the access key; the parser has made sure
// that it holds letters and digits only.
func refuseKey(accessKey, problem string) error {
	return &Error{Reason: "Get secretKey failed,ak:" + accessKey + ",err:" + problem}
}
