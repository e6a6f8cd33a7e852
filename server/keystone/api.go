package keystone

import (
	"context"
	"encoding/json"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

// Service is what the API needs of [kms.Service].
type Service interface {
	Run(ctx context.Context, in kms.Incoming, do func(ctx context.Context, c *kms.Call) error) error
	LockUser(ctx context.Context, userID, userName string, until int64) error
	RevokeToken(ctx context.Context, c *kms.Call, b command.RevokeToken) error
	ChangePassword(ctx context.Context, c *kms.Call, b command.ChangePassword) error
	ChangeFactor(ctx context.Context, c *kms.Call, body command.Body, meaning ...string) error
	SpendCode(ctx context.Context, c *kms.Call, b command.SpendCode) error
	Administer(ctx context.Context, c *kms.Call, body command.Body, resource, name string, meaning ...string) error
	ReadAccount(c *kms.Call) (domainID string, err error)
}

// Config is what an API is made of.
type Config struct {
	Service   Service
	Door      *iam.Door
	Tokens    *iam.Tokens
	Passwords *iam.Passwords
	// URL is where clients find the API, as the catalog says it: the
	// balancer's, or this node's. Without a slash at its end.
	URL   string
	Clock func() time.Time
	// MayTry tells whether a password from a source is looked at, and Failed is
	// told of one that was wrong; nil: always, and nobody.
	MayTry func(source string) bool
	Failed func(source string)
	// SealSecret seals the secret of a new access key.
	SealSecret func(ctx context.Context, root *state.Root, accessKeyID string, secret []byte) ([]byte, error)
	// SealFactor seals the secret of a second factor, and OpenFactor opens it;
	// the caller wipes it.
	SealFactor func(ctx context.Context, root *state.Root, factorID string, secret []byte) ([]byte, error)
	OpenFactor func(ctx context.Context, factorID string, sealed []byte) ([]byte, error)
}

// API answers requests. It is safe for concurrent use.
type API struct {
	Config
}

// New returns an API.
func New(cfg Config) *API { return &API{cfg} }

// Endpoint is one operation of the API.
type Endpoint struct {
	Operation kms.Operation
	status    int // of a success
	do        func(ctx context.Context, x *exchange) (reply any, err error)
}

// The operations.
var (
	CreateToken    = Endpoint{kms.OpCreateToken, fasthttp.StatusCreated, createToken}
	ValidateToken  = Endpoint{kms.OpValidateToken, fasthttp.StatusOK, validateToken}
	RevokeToken    = Endpoint{kms.OpRevokeToken, fasthttp.StatusNoContent, revokeToken}
	Catalog        = Endpoint{kms.OpShowCatalog, fasthttp.StatusOK, showCatalog}
	Projects       = Endpoint{kms.OpFindProjects, fasthttp.StatusOK, findProjects}
	Domains        = Endpoint{kms.OpFindDomains, fasthttp.StatusOK, findDomains}
	ChangePassword = Endpoint{kms.OpChangePassword, fasthttp.StatusNoContent, changePassword}
)

// exchange is one request under way.
type exchange struct {
	*API
	call      *kms.Call
	rc        *fasthttp.RequestCtx
	user      string // of the path
	requestID string
	path      func(name string) string // the values in the path
	account   string                   // of the caller, in the operations of admin.go
	// code is to be spent before there is a token; nil: none was shown.
	code *command.SpendCode
	// subject goes into the header X-Subject-Token.
	subject string
	// after is done once the call is over, whatever became of it.
	after func(ctx context.Context)
}

// Serve answers one request of the operation; path returns what stands in the
// path under a name, like user_id.
func (e Endpoint) Serve(ctx context.Context, a *API, rc *fasthttp.RequestCtx, requestID string, path func(name string) string) {
	defer clear(rc.Request.Body()) // it may hold a password
	x := &exchange{API: a, rc: rc, user: path("user_id"), path: path, requestID: requestID}
	in := kms.Incoming{
		Operation: e.Operation,
		RequestID: requestID,
		Source:    rc.RemoteIP().String(),
		UserAgent: string(rc.UserAgent()),
		URL:       string(rc.Path()),
		Status: func(err error) (int, string) {
			if err == nil {
				return e.status, ""
			}
			r := answerTo(err)
			return r.status, r.code
		},
	}
	var body []byte
	err := a.Service.Run(ctx, in, func(ctx context.Context, c *kms.Call) error {
		x.call = c
		reply, err := e.do(ctx, x)
		if err != nil || reply == nil {
			return err
		}
		body, err = json.Marshal(reply)
		return err
	})
	if x.after != nil {
		x.after(ctx)
	}
	if err != nil {
		writeError(rc, requestID, answerTo(err))
		return
	}
	if x.subject != "" {
		rc.Response.Header.Set("X-Subject-Token", x.subject)
	}
	write(rc, e.status, body)
}

// identify finds out who asks, by the credential of the request itself.
func (x *exchange) identify(ctx context.Context) (iam.Principal, error) {
	r := iam.Received(x.rc)
	defer r.Release()
	p, err := x.Door.Identify(ctx, x.call.Root, r)
	if err != nil {
		x.call.Claimed(iam.ClaimedKey(r))
		return iam.Principal{}, err
	}
	return p, x.call.Identify(ctx, p)
}

// decode reads the body.
func (x *exchange) decode(into any) error {
	if err := json.Unmarshal(x.rc.Request.Body(), into); err != nil {
		return errBody
	}
	return nil
}

// now is the later of replicated time and this node's clock, in Unix ms.
func (x *exchange) now() int64 { return max(x.call.Root.Now(), x.Clock().UnixMilli()) }

// write answers; the request's id is in the header since it came in.
func write(rc *fasthttp.RequestCtx, status int, body []byte) {
	rc.SetStatusCode(status)
	if len(body) > 0 {
		rc.SetContentType("application/json")
		rc.SetBody(body)
	}
}
