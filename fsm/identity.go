package fsm

import (
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

const (
	// maxRevoked bounds the revocations that are kept. Beyond it a revocation
	// ends all tokens of its user instead.
	maxRevoked = 65_536
	// maxForgotten bounds the work of one command that forgets what is over.
	maxForgotten       = 64
	maxForgottenAtOnce = 1024
	// maxTokenLife bounds, in ms, how far ahead the end of a revoked token may lie.
	maxTokenLife = 7 * 24 * 3_600_000
	// maxLock bounds a lock, in ms.
	maxLock = 24 * 3_600_000
	// maxProviders bounds what a request may have to be compared with.
	maxProviders   = 64
	maxBoundName   = 512
	maxKeySet      = 32 << 10
	maxAccessBatch = 10_000
)

// lockUser has the password of a user refused for a while.
func lockUser(c *call, b command.LockUser) (any, *Refusal) {
	old, known := c.User(b.UserID)
	switch {
	case !known:
		return nil, refuse(CodeNotFound, "there is no such user")
	case b.Until <= c.Now() || b.Until > c.Now()+maxLock:
		return nil, refuse(CodeInvalid, "a lock lasts up to a day")
	}
	user := *old
	user.LockedUntil, user.Fence = max(user.LockedUntil, b.Until), c.index
	c.PutUser(&user)
	return UserResult{UserID: user.ID}, nil
}

// unlockUser ends a lock.
func unlockUser(c *call, b command.UnlockUser) (any, *Refusal) {
	old, refusal := userOfAccount(c, b.UserID)
	if refusal != nil {
		return nil, refusal
	}
	user := *old
	endLock(&user, c.index)
	c.PutUser(&user)
	return UserResult{UserID: user.ID}, nil
}

// userOfAccount finds a user whom the caller may be told of: a user's caller
// sees their own account, the operator every one.
func userOfAccount(c *call, id string) (*state.User, *Refusal) {
	user, known := c.User(id)
	if known && c.caller.Kind == command.CallerUser {
		self, _ := c.User(c.caller.UserID)
		known = self.DomainID == user.DomainID
	}
	if !known {
		return nil, refuse(CodeNotFound, "there is no such user")
	}
	return user, nil
}

// changePassword gives the caller another password. Their tokens end with the old one.
func changePassword(c *call, b command.ChangePassword) (any, *Refusal) {
	old, _ := c.User(c.caller.UserID)
	switch {
	case b.UserID != old.ID:
		return nil, refuse(CodeForbidden, "the password is another user's")
	case b.Epoch != old.Epoch:
		return nil, refuse(CodeStale, "the password has been changed meanwhile")
	case b.PasswordHash == "" || len(b.PasswordHash) > maxPasswordHash || !strings.HasPrefix(b.PasswordHash, "$argon2id$"):
		return nil, refuse(CodeInvalid, "the password hash is missing, too large or of another kind")
	}
	user := *old
	user.PasswordHash = b.PasswordHash
	endLock(&user, c.index)
	endSessions(&user, c.index)
	c.PutUser(&user)
	return UserResult{UserID: user.ID}, nil
}

// endLock ends a lock, and the failures that nodes have counted towards one.
func endLock(user *state.User, index uint64) { user.LockedUntil, user.Unlocked = 0, index }

// endSessions ends every token that was given to the user before.
func endSessions(user *state.User, index uint64) { user.Epoch, user.Fence = index, index }

// revokeToken ends one token, of the caller or, by permission, of a user of
// the caller's account.
func revokeToken(c *call, b command.RevokeToken) (any, *Refusal) {
	if b.UserID != c.caller.UserID {
		_, refusal := authorize(&c.View, c.caller, Request{Action: policy.ActionRevokeTokens, Now: c.Now()})
		if refusal != nil {
			return nil, refusal
		}
	}
	owner, refusal := userOfAccount(c, b.UserID)
	switch {
	case refusal != nil:
		return nil, refusal
	case !isHex(b.TokenID, 32):
		return nil, refuse(CodeInvalid, "the token id is not 32 digits of lower-case hex")
	case b.Expires > c.Now()+maxTokenLife:
		return nil, refuse(CodeInvalid, "no token lives that long")
	}
	forgetRevoked(c, c.Now(), maxForgotten)
	_, already := c.RevokedToken(b.TokenID)
	switch {
	case already || b.Expires <= c.Now():
	case c.RevokedCount() >= maxRevoked:
		user := *owner
		endSessions(&user, c.index)
		c.PutUser(&user)
	default:
		c.PutRevokedToken(&state.RevokedToken{ID: b.TokenID, UserID: b.UserID, Expires: b.Expires, Fence: c.index})
	}
	return UserResult{UserID: b.UserID}, nil
}

// forgetEnded drops what revokeToken has not dropped in passing.
func forgetEnded(c *call, b command.ForgetRevoked) (any, *Refusal) {
	forgetRevoked(c, b.Through, maxForgottenAtOnce)
	return struct{}{}, nil
}

// forgetRevoked drops revocations of tokens that had ended by themselves at an
// instant, which is no later than replicated time: every node that has applied
// this refuses those tokens as expired, whatever its own clock says.
func forgetRevoked(c *call, through int64, most int) {
	for range most {
		oldest, ok := c.OldestRevoked()
		if !ok || oldest.Expires > min(through, c.Now()) {
			return
		}
		c.DeleteRevokedToken(oldest)
	}
}

// addProvider has a client CA or an OIDC issuer believed. Whether the
// certificate or the key set is one is asked by the node, before.
func addProvider(c *call, b command.AddProvider) (any, *Refusal) {
	if refusal := checkProvider(c, b); refusal != nil {
		return nil, refusal
	}
	p := &state.Provider{
		ID: b.ID, Kind: b.Kind, DomainID: b.DomainID, ByName: b.ByName, Certificate: b.Certificate,
		Issuer: b.Issuer, Audience: b.Audience, UserClaim: b.UserClaim, KeySet: b.KeySet, GroupsClaim: b.GroupsClaim, Created: c.Now(), Fence: c.index,
	}
	c.PutProvider(p)
	return ProviderResult{ID: p.ID}, nil
}

func checkProvider(c *call, b command.AddProvider) *Refusal {
	if _, taken := c.Provider(b.ID); taken {
		return refuse(CodeAlreadyExists, "a client CA or OIDC issuer has that name")
	}
	if _, known := c.Domain(b.DomainID); !known {
		return refuse(CodeNotFound, "there is no such account")
	}
	issuer := b.Issuer != "" || b.Audience != "" || b.UserClaim != "" || b.GroupsClaim != "" || len(b.KeySet) > 0
	switch {
	case !isLabel(b.ID):
		return refuse(CodeInvalid, "the name is not 1 to 64 letters, digits and . _ - @")
	case len(c.Providers()) >= maxProviders:
		return refuse(CodeQuotaExceeded, "there are %d client CAs and OIDC issuers already", maxProviders)
	case b.Kind == state.ProviderCA && isBlob(b.Certificate) && !issuer:
		return nil
	case b.Kind == state.ProviderOIDC && (len(b.Certificate) == 0 || isBlob(b.Certificate)) && isAddress(b.Issuer) && isAddress(b.Audience) &&
		isAddress(b.UserClaim) && (b.GroupsClaim == "" || isAddress(b.GroupsClaim)) && len(b.KeySet) <= maxKeySet:
		return nil
	default:
		return refuse(CodeInvalid, "a client CA has a certificate; an OIDC issuer has an issuer, an audience and a user claim")
	}
}

// removeProvider has one believed no longer. Whoever holds its record finds
// out by the record being gone; its bindings go with it.
func removeProvider(c *call, b command.RemoveProvider) (any, *Refusal) {
	p, known := c.Provider(b.ID)
	if !known {
		return nil, refuse(CodeNotFound, "there is no such client CA or OIDC issuer")
	}
	for _, binding := range c.Bindings(p.ID) {
		c.DeleteBinding(binding)
	}
	c.DeleteProvider(p)
	cluster := *c.Cluster()
	cluster.Fence = c.index
	c.PutCluster(&cluster)
	return ProviderResult{ID: p.ID}, nil
}

// bindIdentity says which user of the provider's account a name is.
func bindIdentity(c *call, b command.BindIdentity) (any, *Refusal) {
	p, known := c.Provider(b.ProviderID)
	if !known {
		return nil, refuse(CodeNotFound, "there is no such client CA or OIDC issuer")
	}
	user, known := c.User(b.UserID)
	switch {
	case !known || user.DomainID != p.DomainID:
		return nil, refuse(CodeNotFound, "the account has no such user")
	case len(b.Name) < 1 || len(b.Name) > maxBoundName || !only(b.Name, func(c byte) bool { return c >= ' ' && c != 0x7f }):
		return nil, refuse(CodeInvalid, "a name has 1 to %d bytes and no control characters", maxBoundName)
	}
	c.PutBinding(&state.Binding{ProviderID: p.ID, Name: b.Name, UserID: user.ID, Fence: c.index})
	return ProviderResult{ID: p.ID}, nil
}

// unbindIdentity takes that back.
func unbindIdentity(c *call, b command.UnbindIdentity) (any, *Refusal) {
	binding, known := c.Binding(b.ProviderID, b.Name)
	if !known {
		return nil, refuse(CodeNotFound, "there is no such name")
	}
	c.DeleteBinding(binding)
	p, _ := c.Provider(b.ProviderID)
	changed := *p
	changed.Fence = c.index
	c.PutProvider(&changed)
	return ProviderResult{ID: p.ID}, nil
}

// recordAccess keeps when access keys were used last. Of a key that is gone
// nothing is kept, nor what is older than what is known.
func recordAccess(c *call, b command.RecordAccess) (any, *Refusal) {
	if len(b.Uses) > maxAccessBatch {
		return nil, refuse(CodeInvalid, "more than %d uses", maxAccessBatch)
	}
	for _, use := range b.Uses {
		if _, known := c.AccessKey(use.AccessKeyID); !known || use.Last <= 0 {
			continue
		}
		if old, seen := c.Access(use.AccessKeyID); seen && old.Last >= use.Last {
			continue
		}
		c.PutAccess(&state.Access{AccessKeyID: use.AccessKeyID, Last: min(use.Last, c.Now())})
	}
	return struct{}{}, nil
}
