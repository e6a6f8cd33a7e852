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
	if caller.Expires != 0 && caller.Expires <= now {
		return nil, nil, refuse(CodeUnauthenticated, "the credential has expired")
	}
	if refusal := checkCredential(v, caller); refusal != nil {
		return nil, nil, refusal
	}
	user, domain, refusal := standing(v, caller.UserID)
	if refusal != nil {
		return nil, nil, refusal
	}
	if caller.Via == command.ViaToken && user.Epoch != caller.Epoch {
		return nil, nil, noUser()
	}
	if caller.Via == command.ViaProvider {
		if p, _ := v.Provider(caller.CredentialID); p.DomainID != domain.ID {
			return nil, nil, refuse(CodeUnauthenticated, "the provider is not believed about this account")
		}
	}
	return user, domain, nil
}

// noUser does not say which of it is so.
func noUser() *Refusal {
	return refuse(CodeUnauthenticated, "the user does not exist or is disabled, or the token has ended with a password")
}

// standing finds a user, and the user's account, who may do anything at all.
func standing(v *state.View, userID string) (*state.User, *state.Domain, *Refusal) {
	user, ok := v.User(userID)
	if !ok || !user.Enabled {
		return nil, nil, noUser()
	}
	domain, ok := v.Domain(user.DomainID)
	if !ok || !domain.Enabled {
		return nil, nil, refuse(CodeUnauthenticated, "the account does not exist or is disabled")
	}
	return user, domain, nil
}

// checkCredential asks whether the credential itself still counts.
func checkCredential(v *state.View, caller command.Caller) *Refusal {
	switch caller.Via {
	case command.ViaAccessKey:
		credential, ok := v.AccessKey(caller.CredentialID)
		if !ok || !credential.Enabled || credential.UserID != caller.UserID {
			return refuse(CodeUnauthenticated, "the access key does not exist or is disabled")
		}
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
