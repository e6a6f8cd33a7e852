package fsm

import (
	"slices"
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// Users, groups and access keys. All that is named is of the caller's account;
// what is another's is not found.

const (
	maxText          = 255 // bytes of a description
	maxGroupsOfUser  = 32
	maxRolesOfHolder = 64
	maxKeysOfUser    = 8
)

// IdentityResult is what the commands about identities answer: the id of what
// was made, changed or removed.
type IdentityResult struct {
	ID string `cbor:"1,keyasint"`
}

// Identity returns the body of a result of a command about identities.
func (r Result) Identity() (IdentityResult, error) { return decodeBody[IdentityResult](r) }

func createUser(c *call, b command.CreateUser) (any, *Refusal) {
	domainID := c.domain().ID
	switch {
	case !isHex(b.ID, 32):
		return nil, refuse(CodeInvalid, "an id is not 32 digits of lower-case hex")
	case !isLabel(b.Name):
		return nil, refuse(CodeInvalid, "a user's name has 1 to 64 letters, digits and any of . _ - @")
	case len(b.Description) > maxText || !isPasswordHash(b.PasswordHash):
		return nil, refuse(CodeInvalid, "the description or the password hash is too large, or the hash of another kind")
	case b.Service != "" && !isService(b.Service):
		return nil, refuse(CodeInvalid, "a service's name has 1 to 32 of a-z, 0-9 and hyphen")
	}
	if _, used := c.User(b.ID); used {
		return nil, refuse(CodeInvalid, "the id was given out before")
	}
	if _, taken := c.UserByName(domainID, b.Name); taken {
		return nil, refuse(CodeAlreadyExists, "a user of that name exists in the account")
	}
	c.PutUser(&state.User{
		ID: b.ID, Name: b.Name, DomainID: domainID, Enabled: !b.Disabled, PasswordHash: b.PasswordHash,
		Description: b.Description, Service: b.Service, Created: c.Now(),
	})
	return IdentityResult{b.ID}, nil
}

func updateUser(c *call, b command.UpdateUser) (any, *Refusal) {
	old, refusal := c.findUser(b.ID)
	if refusal == nil {
		keep(b.KeepEnabled, &b.Enabled, old.Enabled)
		keep(b.KeepName, &b.Name, old.Name)
		keep(b.KeepDescription, &b.Description, old.Description)
	}
	switch {
	case refusal != nil:
		return nil, refusal
	case !isLabel(b.Name) || len(b.Description) > maxText:
		return nil, refuse(CodeInvalid, "the name is not a name, or the description is too large")
	case !b.Enabled && b.ID == c.caller.UserID:
		return nil, refuse(CodeInvalid, "nobody disables themselves")
	}
	if other, taken := c.UserByName(old.DomainID, b.Name); taken && other.ID != b.ID {
		return nil, refuse(CodeAlreadyExists, "a user of that name exists in the account")
	}
	user := *old
	user.Name, user.Description, user.Enabled, user.Fence = b.Name, b.Description, b.Enabled, c.index
	if !b.Enabled {
		endSessions(&user, c.index) // what it had proved does not count again when it is enabled again
	}
	c.PutUser(&user)
	return IdentityResult{b.ID}, nil
}

func deleteUser(c *call, b command.DeleteUser) (any, *Refusal) {
	user, refusal := c.findUser(b.ID)
	switch {
	case refusal != nil:
		return nil, refusal
	case b.ID == c.caller.UserID:
		return nil, refuse(CodeInvalid, "nobody deletes themselves")
	}
	c.endGrants(c.GrantsToUser(user.ID))
	c.DeleteUser(user)
	c.fenceDomain(user.DomainID)
	return IdentityResult{b.ID}, nil
}

func setPassword(c *call, b command.SetPassword) (any, *Refusal) {
	old, refusal := c.findUser(b.UserID)
	switch {
	case refusal != nil:
		return nil, refusal
	case !isPasswordHash(b.Hash):
		return nil, refuse(CodeInvalid, "the password hash is too large or of another kind")
	}
	user := *old
	user.PasswordHash = b.Hash
	endLock(&user, c.index)
	endSessions(&user, c.index)
	c.PutUser(&user)
	return IdentityResult{b.UserID}, nil
}

func createGroup(c *call, b command.CreateGroup) (any, *Refusal) {
	domainID := c.domain().ID
	switch {
	case !isHex(b.ID, 32):
		return nil, refuse(CodeInvalid, "an id is not 32 digits of lower-case hex")
	case !isLabel(b.Name) || len(b.Description) > maxText:
		return nil, refuse(CodeInvalid, "a group's name has 1 to 64 letters, digits and any of . _ - @, a description at most %d bytes", maxText)
	}
	if _, used := c.Group(b.ID); used {
		return nil, refuse(CodeInvalid, "the id was given out before")
	}
	if _, taken := c.GroupByName(domainID, b.Name); taken {
		return nil, refuse(CodeAlreadyExists, "a group of that name exists in the account")
	}
	c.PutGroup(&state.Group{ID: b.ID, Name: b.Name, DomainID: domainID, Description: b.Description, Created: c.Now()})
	return IdentityResult{b.ID}, nil
}

func updateGroup(c *call, b command.UpdateGroup) (any, *Refusal) {
	old, refusal := c.findGroup(b.ID)
	if refusal == nil {
		keep(b.KeepName, &b.Name, old.Name)
		keep(b.KeepDescription, &b.Description, old.Description)
	}
	switch {
	case refusal != nil:
		return nil, refusal
	case !isLabel(b.Name) || len(b.Description) > maxText:
		return nil, refuse(CodeInvalid, "the name is not a name, or the description is too large")
	}
	if other, taken := c.GroupByName(old.DomainID, b.Name); taken && other.ID != b.ID {
		return nil, refuse(CodeAlreadyExists, "a group of that name exists in the account")
	}
	group := *old
	group.Name, group.Description = b.Name, b.Description
	c.PutGroup(&group)
	return IdentityResult{b.ID}, nil
}

func deleteGroup(c *call, b command.DeleteGroup) (any, *Refusal) {
	group, refusal := c.findGroup(b.ID)
	if refusal != nil {
		return nil, refusal
	}
	for _, member := range c.Members(b.ID, "", int(^uint(0)>>1)) {
		c.leave(member, b.ID)
	}
	c.DeleteGroup(group)
	c.fenceDomain(group.DomainID)
	return IdentityResult{b.ID}, nil
}

func addMember(c *call, b command.AddMember) (any, *Refusal) {
	group, refusal := c.findGroup(b.GroupID)
	if refusal != nil {
		return nil, refusal
	}
	old, refusal := c.findUser(b.UserID)
	if refusal != nil {
		return nil, refusal
	}
	at, is := slices.BinarySearch(old.Groups, group.ID)
	switch {
	case is:
		return IdentityResult{b.UserID}, nil
	case len(old.Groups) >= maxGroupsOfUser:
		return nil, refuse(CodeLimit, "the user is in all %d groups that it may be in", maxGroupsOfUser)
	}
	user := *old
	user.Groups = slices.Insert(slices.Clone(old.Groups), at, group.ID)
	user.Fence = c.index
	c.PutUser(&user)
	return IdentityResult{b.UserID}, nil
}

func removeMember(c *call, b command.RemoveMember) (any, *Refusal) {
	if _, refusal := c.findGroup(b.GroupID); refusal != nil {
		return nil, refusal
	}
	user, refusal := c.findUser(b.UserID)
	if refusal != nil {
		return nil, refusal
	}
	if !c.leave(user, b.GroupID) {
		return nil, refuse(CodeNotFound, "the user is not in the group")
	}
	return IdentityResult{b.UserID}, nil
}

// leave takes a user out of a group.
func (c *call) leave(old *state.User, groupID string) bool {
	at, is := slices.BinarySearch(old.Groups, groupID)
	if !is {
		return false
	}
	user := *old
	user.Groups = slices.Delete(slices.Clone(old.Groups), at, at+1)
	user.Fence = c.index
	c.PutUser(&user)
	return true
}

func createAccessKey(c *call, b command.CreateAccessKey) (any, *Refusal) {
	user, refusal := c.findUser(b.UserID)
	switch {
	case refusal != nil:
		return nil, refusal
	case !isAccessKeyID(b.ID):
		return nil, refuse(CodeInvalid, "the access key is not 20 characters of A-Z and 0-9")
	case !isBlob(b.SealedSecret) || len(b.Description) > maxText:
		return nil, refuse(CodeInvalid, "the sealed secret is missing, or a text is too large")
	}
	if _, used := c.AccessKey(b.ID); used {
		return nil, refuse(CodeInvalid, "the access key was given out before")
	}
	if len(c.AccessKeysOf(user.ID)) >= maxKeysOfUser {
		return nil, refuse(CodeLimit, "the user has all %d access keys that it may have", maxKeysOfUser)
	}
	c.PutAccessKey(&state.AccessKey{
		ID: b.ID, UserID: user.ID, SealedSecret: b.SealedSecret, Enabled: true, Description: b.Description, Created: c.Now(),
	})
	return IdentityResult{b.ID}, nil
}

func updateAccessKey(c *call, b command.UpdateAccessKey) (any, *Refusal) {
	old, refusal := c.findAccessKey(b.ID)
	if refusal == nil {
		keep(b.KeepEnabled, &b.Enabled, old.Enabled)
		keep(b.KeepDescription, &b.Description, old.Description)
	}
	switch {
	case refusal != nil:
		return nil, refusal
	case len(b.Description) > maxText:
		return nil, refuse(CodeInvalid, "the description is too large")
	}
	key := *old
	key.Description, key.Enabled, key.Fence = b.Description, b.Enabled, c.index
	c.PutAccessKey(&key)
	return IdentityResult{b.ID}, nil
}

func deleteAccessKey(c *call, b command.DeleteAccessKey) (any, *Refusal) {
	key, refusal := c.findAccessKey(b.ID)
	if refusal != nil {
		return nil, refusal
	}
	owner, _ := c.User(key.UserID)
	user := *owner
	user.Fence = c.index
	c.DeleteAccessKey(key)
	c.PutUser(&user)
	return IdentityResult{b.ID}, nil
}

// keep has a change leave something as it is.
func keep[T any](stays bool, to *T, as T) {
	if stays {
		*to = as
	}
}

// domain is the account of the caller, whom authorisation has found.
func (c *call) domain() *state.Domain {
	user, _ := c.User(c.caller.UserID)
	domain, _ := c.Domain(user.DomainID)
	return domain
}

func (c *call) findUser(id string) (*state.User, *Refusal) {
	user, ok := c.User(id)
	if !ok || user.DomainID != c.domain().ID {
		return nil, refuse(CodeNotFound, "the account has no such user")
	}
	return user, nil
}

func (c *call) findGroup(id string) (*state.Group, *Refusal) {
	group, ok := c.Group(id)
	if !ok || group.DomainID != c.domain().ID {
		return nil, refuse(CodeNotFound, "the account has no such group")
	}
	return group, nil
}

func (c *call) findAccessKey(id string) (*state.AccessKey, *Refusal) {
	key, ok := c.AccessKey(id)
	if ok {
		if _, refusal := c.findUser(key.UserID); refusal == nil {
			return key, nil
		}
	}
	return nil, refuse(CodeNotFound, "the account has no such access key")
}

// fenceDomain leaves the index of a removal on the account.
func (c *call) fenceDomain(id string) {
	old, _ := c.Domain(id)
	domain := *old
	domain.Fence = c.index
	c.PutDomain(&domain)
}

// isPasswordHash tells whether s is an Argon2id hash, or empty: no password.
func isPasswordHash(s string) bool {
	return s == "" || len(s) <= maxPasswordHash && strings.HasPrefix(s, "$argon2id$")
}

// isService tells whether s names a service: 1 to 32 of a-z, 0-9 and hyphen.
func isService(s string) bool {
	return len(s) >= 1 && len(s) <= 32 && only(s, func(b byte) bool { return b >= 'a' && b <= 'z' || isDigit(b) || b == '-' })
}

// accountRoles are what the first administrator of an account has.
func accountRoles() []state.RoleBinding {
	return []state.RoleBinding{
		{Role: policy.RoleAuditor},
		{Role: policy.RoleKMSAdministrator},
		{Role: policy.RoleSecurityAdministrator},
	}
}
