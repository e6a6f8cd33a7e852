package kms

import (
	"context"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
)

// ClaimedUser says which user a request claims to be of, before that is
// proved: the trace of a refusal names them. It is the name of a user that
// there is: who is asked for a name may have typed a password.
func (c *Call) ClaimedUser(name string) { c.record.User.Name = name }

// Proved says who has proved who they are in the call itself, by a password:
// the trace names them, and the call changes nothing in their name.
func (c *Call) Proved(p iam.Principal) { c.principal = p }

// LockUser has a user's password refused until an instant (Unix ms), on every
// node. The node does that by itself, after too many wrong passwords.
func (s *Service) LockUser(ctx context.Context, userID, userName string, until int64) error {
	return s.RunSystem(ctx, OpLockUser, "", command.CallerSystem, func(ctx context.Context, c *Call) error {
		c.AboutResource(userID, userName)
		_, err := s.propose(ctx, c, command.LockUser{UserID: userID, Until: until}, userID)
		return err
	})
}

// RevokeToken ends a token, the caller's own or, by permission, another
// user's of the account.
func (s *Service) RevokeToken(ctx context.Context, c *Call, b command.RevokeToken) error {
	c.AboutResource(b.UserID, "")
	_, err := s.propose(ctx, c, b, b.TokenID)
	return err
}

// ChangePassword gives the caller another password and ends every token of theirs.
func (s *Service) ChangePassword(ctx context.Context, c *Call, b command.ChangePassword) error {
	_, err := s.propose(ctx, c, b, b.UserID)
	return err
}

// ChangeFactor changes the caller's own second factor.
func (s *Service) ChangeFactor(ctx context.Context, c *Call, body command.Body, meaning ...string) error {
	_, err := s.propose(ctx, c, body, meaning...)
	return err
}

// SpendCode has a one-time code of a user who logs in count as taken, on every
// node: the command that takes it is the one place where it is good. The node
// does that, in nobody's name; KindStale says that it was taken before.
func (s *Service) SpendCode(ctx context.Context, c *Call, b command.SpendCode) error {
	defer func(was command.Caller) { c.caller = was }(c.caller)
	c.caller = command.Caller{Kind: command.CallerSystem, Source: c.in.Source, RequestID: c.in.RequestID}
	_, err := s.propose(ctx, c, b, b.UserID, b.ID, c.in.RequestID)
	return err
}

// Authorise asks whether the caller may do this call's operation, which is
// about no key.
func (c *Call) Authorise() error { return c.authorise() }

// ChangeProviders changes which client CAs and OIDC issuers are believed, and
// about whom, as the node's operator asks. The change is made of current state.
func (s *Service) ChangeProviders(ctx context.Context, requestID string, body func(root *state.Root) (command.Body, error)) error {
	in := Incoming{Operation: OpUpdateProviders, RequestID: requestID, Source: "admin socket"}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.Operator()
		b, err := body(c.Root)
		if err != nil {
			return Refuse(KindInvalid, "%v", err)
		}
		c.Asked().Text("change", b.Type().String())
		_, err = s.propose(ctx, c, b, requestID)
		return err
	})
}
