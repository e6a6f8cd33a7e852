package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/raftkms/raftkms/server/wire"
)

// Login is who asks for a token by a password, and by a one-time code where
// they have a second factor.
type Login struct {
	Account, User  string // names
	Password, Code string // Code: empty where there is no second factor
}

// RequestToken returns a token that is good for cfg's project, a day at most,
// and whose it is. What cfg says of who is calling is not used.
func RequestToken(ctx context.Context, cfg Config, l Login) (token, userID string, err error) {
	cfg.AccessKey, cfg.SecretKey, cfg.Bearer = "", "", nil
	cfg.Token = func(context.Context) (string, error) { return "", nil } // what follows shows none
	c, err := New(cfg)
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	c.proof = func(context.Context, *http.Request, string, url.Values, []byte) error { return nil }
	var r wire.AuthRequest
	id := &r.Auth.Identity
	id.Methods = []string{"password"}
	id.Password = &struct {
		User wire.AuthUser `json:"user"`
	}{wire.AuthUser{Name: l.User, Domain: &wire.NameOrID{Name: l.Account}, Password: wire.SecretString(l.Password)}}
	kind := again
	if l.Code != "" {
		kind = once // a code is taken once
		id.Methods = append(id.Methods, "totp")
		id.TOTP = &struct {
			User wire.AuthCode `json:"user"`
		}{wire.AuthCode{Passcode: wire.SecretString(l.Code)}}
	}
	r.Auth.Scope = &wire.AuthScope{Project: &struct {
		wire.NameOrID
		Domain *wire.NameOrID `json:"domain,omitempty"`
	}{NameOrID: wire.NameOrID{ID: cfg.ProjectID}}}
	h := how{
		method: http.MethodPost, path: at(identityRoot, "auth", "tokens"), query: url.Values{"nocatalog": {""}},
		seen: func(header http.Header) { token = header.Get("X-Subject-Token") },
	}
	var reply wire.TokenReply
	if err := c.callBy(ctx, h, kind, r, &reply); err != nil {
		return "", "", err
	}
	if token == "" {
		return "", "", errors.New("the answer has no token: something in between has taken the header X-Subject-Token away")
	}
	return token, reply.Token.User.ID, nil
}
