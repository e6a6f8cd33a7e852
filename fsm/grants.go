package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// maxPrincipal bounds the id of a grantee or a retiring principal, in bytes.
const maxPrincipal = 64

// createGrant gives somebody leave to use a key. Who may do so only by a grant
// gives no more than grants on the key allow themselves. It is not fenced: it
// only adds.
func createGrant(c *call, b command.CreateGrant) (any, *Refusal) {
	found, ok := c.Key(b.KeyID)
	switch {
	case !ok:
		return nil, refuse(CodeNotFound, "the key does not exist")
	case found.Default:
		return nil, refuse(CodeDefaultKey, "there are no grants on the default master key of a service")
	}
	if refusal := checkInUse(found); refusal != nil {
		return nil, refusal
	}
	if refusal := checkNewGrant(c, b); refusal != nil {
		return nil, refusal
	}
	user, _ := c.User(c.caller.UserID)
	if refusal := c.checkGranted(user, found, b.Operations); refusal != nil {
		return nil, refusal
	}
	if _, used := c.Grant(b.GrantID); used {
		return nil, refuse(CodeInvalid, "the grant id was given out before")
	}
	project, _ := c.Project(found.ProjectID)
	if most := grantQuota(project); int(found.Grants) >= most {
		return nil, refuse(CodeGrantLimit, "the key has all %d grants that it may have", most)
	}
	if most := totalGrantQuota(project); c.GrantCount(project.ID) >= most {
		return nil, refuse(CodeGrantTotal, "the keys of the project have all %d grants that they may have together", most)
	}
	key := *found
	key.Grants++
	c.PutKey(&key)
	c.PutGrant(&state.Grant{
		ID: b.GrantID, KeyID: key.ID, Grantee: b.Grantee, ToAccount: b.ToAccount, Operations: b.Operations,
		Issuer: user.ID, Retiring: b.Retiring, Name: b.Name, Created: c.Now(), Sequence: c.index,
	})
	return GrantResult{GrantID: b.GrantID}, nil
}

// checkNewGrant holds the fields of a new grant to their bounds.
func checkNewGrant(c *call, b command.CreateGrant) *Refusal {
	switch {
	case !isHex(b.GrantID, 64):
		return refuse(CodeInvalid, "the grant id is not 64 digits of lower-case hex")
	case b.Operations == 0 || b.Operations&^state.GrantAll != 0:
		return refuse(CodeInvalid, "a grant allows at least one operation, and only known ones")
	case b.Operations == state.GrantCreateGrant:
		return refuse(CodeGrantOnlyGrants, "a grant allows more than to create grants")
	case b.Name != "" && !isGrantName(b.Name):
		return refuse(CodeInvalid, "the name of a grant has 1 to %d of A-Z a-z 0-9 : / _ -", maxKeyName)
	case !isPrincipal(c, b.Grantee, !b.ToAccount, b.ToAccount):
		return refuse(CodeGrantPrincipal, "the grantee does not exist")
	case b.Retiring != "" && !isPrincipal(c, b.Retiring, true, true):
		return refuse(CodeGrantPrincipal, "the retiring principal does not exist")
	default:
		return nil
	}
}

// checkGranted makes sure that who creates a grant by a grant, and not by a
// policy, gives nothing that they do not have.
func (c *call) checkGranted(user *state.User, key *state.Key, ops state.GrantedOps) *Refusal {
	by, refusal := authorize(&c.View, c.caller, Request{
		Action: policy.ActionCreateGrant, ProjectID: c.caller.ProjectID, Key: key, Now: c.Now(),
	})
	switch {
	case refusal != nil:
		return refusal
	case by != nil && ops&^c.Granted(key, user.ID, user.DomainID) != 0:
		return refuse(CodeForbidden, "who may create grants by a grant gives no operation that their own grants do not allow")
	default:
		return nil
	}
}

// isPrincipal tells whether there is a user, or an account, of that id.
func isPrincipal(c *call, id string, user, account bool) bool {
	if len(id) > maxPrincipal {
		return false
	}
	_, isUser := c.User(id)
	_, isAccount := c.Domain(id)
	return user && isUser || account && isAccount
}

// isGrantName tells whether a grant may be called that.
func isGrantName(s string) bool {
	return len(s) >= 1 && len(s) <= maxKeyName && only(s, func(b byte) bool {
		return isLetter(b) || isDigit(b) || b == ':' || b == '/' || b == '_' || b == '-'
	})
}

// revokeGrant ends a grant. That the caller may, the door has seen to.
func revokeGrant(c *call, b command.RevokeGrant) (any, *Refusal) {
	grant, refusal := c.findGrant(b)
	if refusal != nil {
		return nil, refusal
	}
	c.endGrant(grant)
	return GrantResult{GrantID: grant.ID}, nil
}

// retireGrant ends a grant by who issued it, its retiring principal, or a
// grantee whom it lets. Where a policy opened the door, that is asked here.
func retireGrant(c *call, b command.RetireGrant) (any, *Refusal) {
	grant, refusal := c.findGrant(command.RevokeGrant(b))
	if refusal != nil {
		return nil, refusal
	}
	user, _ := c.User(c.caller.UserID)
	if !grant.RetirableBy(user.ID, user.DomainID) {
		return nil, refuse(CodeForbidden, "a grant is retired by who issued it, by its retiring principal, or by its grantee where it allows that")
	}
	c.endGrant(grant)
	return GrantResult{GrantID: grant.ID}, nil
}

// findGrant finds a grant by its id and its key's. The project is the key's:
// the command's fence goes by it.
func (c *call) findGrant(b command.RevokeGrant) (*state.Grant, *Refusal) {
	key, ok := c.Key(b.KeyID)
	switch {
	case !ok:
		return nil, refuse(CodeNotFound, "the key does not exist")
	case key.ProjectID != b.ProjectID:
		return nil, refuse(CodeInvalid, "the key is of another project than the write says")
	}
	grant, ok := c.Grant(b.GrantID)
	if !ok || grant.KeyID != key.ID {
		return nil, refuse(CodeGrantNotFound, "the key has no such grant")
	}
	return grant, nil
}

// endGrant removes a grant and leaves the fence on its key. Grants that the
// grantee has issued stay.
func (c *call) endGrant(grant *state.Grant) {
	old, _ := c.Key(grant.KeyID)
	key := *old
	key.Grants--
	key.Fence = c.index
	c.DeleteGrant(grant)
	c.PutKey(&key)
}

// endGrants ends the grants to a user or an account that is deleted.
func (c *call) endGrants(grants []*state.Grant) {
	for _, grant := range grants {
		c.endGrant(grant)
	}
}
