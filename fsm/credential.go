package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Authenticate finds the user who stands behind a caller's credential, in one
// state and at an instant (Unix ms), and the user's account. The server asks
// it when a credential comes in, and apply before a write.
func Authenticate(root *state.Root, caller command.Caller, now int64) (*state.User, *state.Domain, *Refusal) {
	return authenticate(&root.View, caller, now)
}

func authenticate(v *state.View, caller command.Caller, now int64) (*state.User, *state.Domain, *Refusal) {
	p, refusal := principal(v, caller, "", now)
	if refusal != nil {
		return nil, nil, refusal
	}
	return p.User, p.Domain, nil
}

// principal is authenticate for who wants something of a project.
func principal(v *state.View, caller command.Caller, projectID string, now int64) (*state.Principal, *Refusal) {
	if caller.Expires != 0 && caller.Expires <= now {
		return nil, refuse(CodeUnauthenticated, "the credential has expired")
	}
	if caller.Via == command.ViaAccessKey {
		p := v.PrincipalByKey(caller.CredentialID, projectID)
		if p == nil || p.UserID != caller.UserID || !p.Usable && !p.AccessKey.Enabled {
			return nil, refuse(CodeUnauthenticated, "the access key does not exist or is disabled")
		}
		return p, stands(p)
	}
	if refusal := checkCredential(v, caller); refusal != nil {
		return nil, refusal
	}
	p := v.Principal(caller.UserID, projectID)
	if refusal := stands(p); refusal != nil {
		return nil, refusal
	}
	if caller.Via == command.ViaToken && p.User.Epoch != caller.Epoch {
		return nil, noUser()
	}
	if caller.Via == command.ViaProvider {
		if provider, _ := v.Provider(caller.CredentialID); provider.DomainID != p.Domain.ID {
			return nil, refuse(CodeUnauthenticated, "the provider is not believed about this account")
		}
	}
	return p, nil
}

// noUser does not say which of it is so.
func noUser() *Refusal {
	return refuse(CodeUnauthenticated, "the user does not exist or is disabled, or the token has ended with a password")
}

// stands tells whether a user may do anything at all; nil: there is none.
func stands(p *state.Principal) *Refusal {
	switch {
	case p == nil:
		return noUser()
	case p.Usable:
		return nil
	case !p.User.Enabled:
		return noUser()
	case p.Domain == nil || !p.Domain.Enabled:
		return refuse(CodeUnauthenticated, "the account does not exist or is disabled")
	}
	return nil
}

// checkCredential asks whether a credential that is no access key still counts.
func checkCredential(v *state.View, caller command.Caller) *Refusal {
	switch caller.Via {
	case command.ViaToken:
		if _, revoked := v.RevokedToken(caller.CredentialID); revoked {
			return refuse(CodeUnauthenticated, "the token has been revoked")
		}
	case command.ViaProvider:
		if _, ok := v.Provider(caller.CredentialID); !ok {
			return refuse(CodeUnauthenticated, "the client CA or OIDC issuer is not believed any more")
		}
	default:
		return refuse(CodeUnauthenticated, "no such kind of credential")
	}
	return nil
}
