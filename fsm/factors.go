package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// maxCodeAhead is how many time steps a code may be ahead of the command that
// spends it: a far later one would have every code until then refused.
const maxCodeAhead = 20

// enrolAuthenticator hands the caller a second factor. Who has one that counts
// must have shown it: else a password that was stolen would replace it.
func enrolAuthenticator(c *call, b command.EnrolAuthenticator) (any, *Refusal) {
	old, has := c.Authenticator(b.UserID)
	switch {
	case b.UserID != c.caller.UserID:
		return nil, refuse(CodeForbidden, "a second factor is for oneself alone")
	case c.caller.Via != command.ViaToken:
		return nil, refuse(CodeForbidden, "a second factor is given to who has shown their password: it takes a token")
	case has && old.ID != "" && !c.caller.MFA:
		return nil, refuse(CodeForbidden, "the second factor is replaced by who has shown it: it takes a token that was got with a code")
	case !isHex(b.ID, 32):
		return nil, refuse(CodeInvalid, "an id is not 32 digits of lower-case hex")
	case !isBlob(b.Sealed):
		return nil, refuse(CodeInvalid, "the sealed secret is missing or too large")
	}
	a := &state.Authenticator{UserID: b.UserID}
	if has {
		*a = *old
	}
	a.NextID, a.NextSealed = b.ID, b.Sealed
	c.PutAuthenticator(a)
	return UserResult{UserID: b.UserID}, nil
}

// confirmAuthenticator has the second factor that was handed out count.
func confirmAuthenticator(c *call, b command.ConfirmAuthenticator) (any, *Refusal) {
	old, has := c.Authenticator(b.UserID)
	switch {
	case b.UserID != c.caller.UserID || c.caller.Via != command.ViaToken:
		return nil, refuse(CodeForbidden, "a second factor is for oneself alone, and takes a token")
	case !has || old.NextID == "" || old.NextID != b.ID:
		return nil, refuse(CodeNotFound, "there is no such second factor to confirm")
	case !c.mayBeStep(b.Step):
		return nil, refuse(CodeInvalid, "the time step is no time")
	}
	c.PutAuthenticator(&state.Authenticator{
		UserID: b.UserID, ID: old.NextID, Sealed: old.NextSealed, Step: b.Step, Confirmed: c.Now(), Fence: c.index,
	})
	return UserResult{UserID: b.UserID}, nil
}

// spendCode takes a code, once.
func spendCode(c *call, b command.SpendCode) (any, *Refusal) {
	if refusal := c.spend(b.UserID, b.ID, b.Step); refusal != nil {
		return nil, refusal
	}
	return UserResult{UserID: b.UserID}, nil
}

// spend is the one place that takes codes.
func (c *call) spend(userID, id string, step int64) *Refusal {
	old, has := c.Authenticator(userID)
	switch {
	case !has || old.ID == "" || old.ID != id:
		return refuse(CodeStale, "the second factor is another one by now")
	case step <= old.Step:
		return refuse(CodeStale, "the code was taken before")
	case !c.mayBeStep(step):
		return refuse(CodeInvalid, "the time step is no time")
	}
	a := *old
	a.Step = step
	c.PutAuthenticator(&a)
	return nil
}

// mayBeStep tells whether a time step is one that a node can have seen.
func (c *call) mayBeStep(step int64) bool {
	return step > 0 && step <= c.Now()/command.CodeStep+maxCodeAhead
}

// removeAuthenticator takes a second factor away: the caller's own by a code of
// it, or by permission that of a user of the account. Tokens that say that it
// was shown end with it.
func removeAuthenticator(c *call, b command.RemoveAuthenticator) (any, *Refusal) {
	if b.ID != "" {
		if b.UserID != c.caller.UserID {
			return nil, refuse(CodeForbidden, "the second factor is another user's")
		}
		if refusal := c.spend(b.UserID, b.ID, b.Step); refusal != nil {
			return nil, refusal
		}
	} else if _, refusal := authorize(&c.View, c.caller, Request{Action: policy.ActionResetMFA, Now: c.Now()}); refusal != nil {
		return nil, refusal
	}
	owner, refusal := userOfAccount(c, b.UserID)
	if refusal != nil {
		return nil, refusal
	}
	a, has := c.Authenticator(b.UserID)
	if !has {
		return nil, refuse(CodeNotFound, "the user has no second factor")
	}
	c.DeleteAuthenticator(a)
	user := *owner
	endSessions(&user, c.index)
	c.PutUser(&user)
	return UserResult{UserID: b.UserID}, nil
}
