package keystone

import (
	"context"
	"slices"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/wire"
)

// createToken answers POST /v3/auth/tokens.
func createToken(ctx context.Context, x *exchange) (any, error) {
	var req wire.AuthRequest
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	t, user, domain, err := x.prove(ctx, &req.Auth.Identity)
	if err != nil {
		return nil, err
	}
	if err := x.scope(t, domain, req.Auth.Scope); err != nil {
		return nil, err
	}
	if err := x.spend(ctx); err != nil {
		return nil, err
	}
	if x.subject, err = x.Tokens.Make(ctx, x.call.Root, t); err != nil {
		return nil, err
	}
	return x.describe(t, user, domain), nil
}

// prove finds out who wants a token.
func (x *exchange) prove(ctx context.Context, id *wire.AuthIdentity) (*iam.Token, *state.User, *state.Domain, error) {
	now := x.now()
	t := &iam.Token{Issued: now, Expires: now + iam.TokenLife.Milliseconds()}
	switch {
	case methodsAre(id.Methods, "password") && id.Password != nil, methodsAre(id.Methods, "password", "totp") && id.Password != nil && id.TOTP != nil:
		var code *wire.AuthCode
		t.Methods = iam.MethodPassword
		if len(id.Methods) == 2 {
			code, t.MFA, t.Methods = &id.TOTP.User, true, t.Methods|iam.MethodTOTP
		}
		x.call.Asked().Texts("methods", methods(t.Methods))
		user, domain, err := x.byPassword(ctx, &id.Password.User, func(user *state.User) (bool, error) { return x.second(ctx, user, code) })
		if err != nil {
			return nil, nil, nil, err
		}
		t.UserID, t.Epoch = user.ID, user.Epoch
		return t, user, domain, nil
	case methodsAre(id.Methods, "token") && id.Token != nil:
		old, err := x.Tokens.Open(ctx, x.call.Root, []byte(id.Token.ID))
		if err != nil {
			return nil, nil, nil, err
		}
		user, domain, err := x.Door.Standing(x.call.Root, old)
		if err != nil {
			return nil, nil, nil, err
		}
		x.call.Proved(iam.Principal{UserID: user.ID, UserName: user.Name, DomainID: domain.ID})
		// It lives no longer than the one that it was got by.
		t.UserID, t.Epoch, t.MFA, t.Expires = user.ID, old.Epoch, old.MFA, old.Expires
		t.Methods, t.Scope, t.ScopeID = old.Methods|iam.MethodToken, old.Scope, old.ScopeID
		return t, user, domain, nil
	default:
		return nil, nil, nil, errMethod
	}
}

// methodsAre tells whether the methods are these, in any order.
func methodsAre(given []string, want ...string) bool {
	if len(given) != len(want) {
		return false
	}
	given = slices.Sorted(slices.Values(given))
	return slices.Equal(given, want) // which is sorted
}

// byPassword finds the user whose password it is; second says whether what they
// have to show besides is right, nil where there is no such user. Every reason
// not to is one error, after the same work.
func (x *exchange) byPassword(ctx context.Context, who *wire.AuthUser, second func(user *state.User) (bool, error)) (*state.User, *state.Domain, error) {
	user, domain := x.find(who)
	if user != nil {
		x.call.ClaimedUser(user.Name)
	}
	name := who.ID
	if name == "" && who.Domain != nil {
		name = who.Domain.ID + "\x00" + who.Domain.Name + "\x00" + who.Name
	}
	now, source := x.now(), x.rc.RemoteIP().String()
	if x.MayTry != nil && !x.MayTry(source) {
		return nil, nil, errTries
	}
	shown, err := second(user)
	if err != nil {
		return nil, nil, err
	}
	ok, lock, err := x.Passwords.Check(ctx, user, name, string(who.Password), shown, now)
	if err != nil {
		return nil, nil, err
	}
	if lock {
		x.lock(user, now)
	}
	if !ok || !domain.Enabled {
		if x.Failed != nil {
			x.Failed(source)
		}
		return nil, nil, errLogin
	}
	x.call.Proved(iam.Principal{UserID: user.ID, UserName: user.Name, DomainID: domain.ID})
	return user, domain, nil
}

// lock has a user locked on every node, once the call is over.
func (x *exchange) lock(user *state.User, now int64) {
	x.after = func(ctx context.Context) {
		// That it cannot be replicated now leaves it locked on this node.
		_ = x.Service.LockUser(ctx, user.ID, user.Name, x.Passwords.LockedUntil(now))
	}
}

// find returns the user and the account that are named, nil where there is none.
func (x *exchange) find(who *wire.AuthUser) (*state.User, *state.Domain) {
	root := x.call.Root
	if who.ID != "" {
		user, ok := root.User(who.ID)
		if !ok {
			return nil, nil
		}
		domain, _ := root.Domain(user.DomainID)
		return user, domain
	}
	if who.Domain == nil {
		return nil, nil
	}
	domain := x.domain(who.Domain)
	if domain == nil {
		return nil, nil
	}
	user, ok := root.UserByName(domain.ID, who.Name)
	if !ok {
		return nil, nil
	}
	return user, domain
}

func (x *exchange) domain(by *wire.NameOrID) *state.Domain {
	if by.ID != "" {
		domain, _ := x.call.Root.Domain(by.ID)
		return domain
	}
	domain, _ := x.call.Root.DomainByName(by.Name)
	return domain
}

// scope says what the token is good for: something of the user's own account,
// or nothing in particular. A project wins over a domain. What a token that is
// good for something gets is good for the same, so that whoever has come by a
// token for a project does not get to the account, nor to another project.
func (x *exchange) scope(t *iam.Token, domain *state.Domain, s *wire.AuthScope) error {
	before, id := t.Scope, t.ScopeID
	if err := x.scopeOf(t, domain, s); err != nil {
		return err
	}
	if before != iam.Unscoped && (t.Scope != before || t.ScopeID != id) {
		return errScope
	}
	return nil
}

func (x *exchange) scopeOf(t *iam.Token, domain *state.Domain, s *wire.AuthScope) error {
	root := x.call.Root
	switch {
	case s == nil || s.Project == nil && s.Domain == nil:
		return nil
	case s.Project != nil:
		var project *state.Project
		switch {
		case s.Project.ID != "":
			project, _ = root.Project(s.Project.ID)
		case s.Project.Domain == nil || x.domain(s.Project.Domain) == domain:
			project, _ = root.ProjectByName(domain.ID, s.Project.Name)
		}
		if project == nil || !project.Enabled || project.DomainID != domain.ID {
			return errLogin
		}
		t.Scope, t.ScopeID = iam.ScopeProject, project.ID
	default:
		if x.domain(s.Domain) != domain {
			return errLogin
		}
		t.Scope, t.ScopeID = iam.ScopeDomain, domain.ID
	}
	return nil
}

// validateToken answers GET and HEAD /v3/auth/tokens.
func validateToken(ctx context.Context, x *exchange) (any, error) {
	t, user, domain, err := x.subjectToken(ctx)
	if err != nil {
		return nil, err
	}
	x.subject = string(x.rc.Request.Header.Peek("X-Subject-Token"))
	return x.describe(t, user, domain), nil
}

// subjectToken is the token that a request is about. One may look at one's own
// tokens and, by permission, at those of one's account; others are not there.
func (x *exchange) subjectToken(ctx context.Context) (*iam.Token, *state.User, *state.Domain, error) {
	p, err := x.identify(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	subject := x.rc.Request.Header.PeekAll("X-Subject-Token")
	if len(subject) != 1 {
		return nil, nil, nil, errSubject // which of them is meant nobody knows
	}
	t, err := x.Tokens.Open(ctx, x.call.Root, subject[0])
	if iam.IsRefusal(err) {
		return nil, nil, nil, errSubject
	}
	if err != nil {
		return nil, nil, nil, err
	}
	user, domain, err := x.Door.Standing(x.call.Root, t)
	switch {
	case err != nil:
		return nil, nil, nil, errSubject
	case user.ID == p.UserID:
	case domain.ID != p.DomainID || x.call.Authorise() != nil:
		return nil, nil, nil, errSubject
	}
	return t, user, domain, nil
}

// revokeToken answers DELETE /v3/auth/tokens.
func revokeToken(ctx context.Context, x *exchange) (any, error) {
	t, _, _, err := x.subjectToken(ctx)
	if err != nil {
		return nil, err
	}
	return nil, x.Service.RevokeToken(ctx, x.call, command.RevokeToken{TokenID: t.TokenID(), UserID: t.UserID, Expires: t.Expires})
}

// changePassword answers POST /v3/users/{user_id}/password.
func changePassword(ctx context.Context, x *exchange) (any, error) {
	var req wire.PasswordRequest
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	p, err := x.identify(ctx)
	if err != nil {
		return nil, err
	}
	user, _, err := x.byPassword(ctx, &wire.AuthUser{ID: p.UserID, Password: req.User.Original}, func(user *state.User) (bool, error) {
		return user != nil && (p.MFA || x.factorOf(user) == nil), nil // a token that was got with a code stands for one
	})
	if err != nil {
		return nil, err
	}
	x.call.Proved(p)
	switch {
	case x.user != p.UserID:
		return nil, errLogin
	case iam.CheckNew(string(req.User.Password)) != nil:
		return nil, iam.ErrPasswordRule
	}
	hash, err := x.Passwords.Hash(ctx, string(req.User.Password))
	if err != nil {
		return nil, err
	}
	return nil, x.Service.ChangePassword(ctx, x.call, command.ChangePassword{UserID: user.ID, PasswordHash: hash, Epoch: user.Epoch})
}
