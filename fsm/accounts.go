package fsm

import (
	"slices"
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// Accounts, projects, policies, and where policies hold.

func createAccount(c *call, b command.CreateAccount) (any, *Refusal) {
	switch {
	case !isHex(b.DomainID, 32) || !isHex(b.ProjectID, 32) || !isHex(b.UserID, 32):
		return nil, refuse(CodeInvalid, "an id is not 32 digits of lower-case hex")
	case !isLabel(b.Name) || !isLabel(b.UserName):
		return nil, refuse(CodeInvalid, "the account's or the user's name is not a name")
	case len(b.Description) > maxText || !isPasswordHash(b.PasswordHash) || !isBlob(b.SealedSecret):
		return nil, refuse(CodeInvalid, "a text is too large, or the sealed secret is missing")
	case !isAccessKeyID(b.AccessKeyID):
		return nil, refuse(CodeInvalid, "the access key is not 20 characters of A-Z and 0-9")
	}
	_, usedDomain := c.Domain(b.DomainID)
	_, usedProject := c.Project(b.ProjectID)
	_, usedUser := c.User(b.UserID)
	_, usedKey := c.AccessKey(b.AccessKeyID)
	if usedDomain || usedProject || usedUser || usedKey {
		return nil, refuse(CodeInvalid, "an id was given out before")
	}
	if _, taken := c.DomainByName(b.Name); taken {
		return nil, refuse(CodeAlreadyExists, "an account of that name exists")
	}
	now := c.Now()
	c.PutDomain(&state.Domain{ID: b.DomainID, Name: b.Name, Description: b.Description, Enabled: true, Created: now})
	c.PutProject(&state.Project{
		ID: b.ProjectID, Name: c.Cluster().Region, DomainID: b.DomainID, Enabled: true, KeyQuota: state.DefaultKeyQuota, Created: now,
	})
	c.PutUser(&state.User{
		ID: b.UserID, Name: b.UserName, DomainID: b.DomainID, Enabled: true, PasswordHash: b.PasswordHash,
		Roles: accountRoles(), Created: now,
	})
	c.PutAccessKey(&state.AccessKey{ID: b.AccessKeyID, UserID: b.UserID, SealedSecret: b.SealedSecret, Enabled: true, Created: now})
	return IdentityResult{b.DomainID}, nil
}

func updateAccount(c *call, b command.UpdateAccount) (any, *Refusal) {
	old, ok := c.Domain(b.DomainID)
	if ok {
		keep(b.KeepEnabled, &b.Enabled, old.Enabled)
		keep(b.KeepName, &b.Name, old.Name)
		keep(b.KeepDescription, &b.Description, old.Description)
	}
	switch {
	case !ok:
		return nil, refuse(CodeNotFound, "there is no such account")
	case !isLabel(b.Name) || len(b.Description) > maxText:
		return nil, refuse(CodeInvalid, "the name is not a name, or the description is too large")
	case old.System && !b.Enabled:
		return nil, refuse(CodeInvalid, "the account that runs the cluster cannot be disabled")
	}
	if other, taken := c.DomainByName(b.Name); taken && other.ID != b.DomainID {
		return nil, refuse(CodeAlreadyExists, "an account of that name exists")
	}
	domain := *old
	domain.Name, domain.Description, domain.Enabled, domain.Fence = b.Name, b.Description, b.Enabled, c.index
	c.PutDomain(&domain)
	return IdentityResult{b.DomainID}, nil
}

// deleteAccount removes an account and all that is in it, once it has no keys.
func deleteAccount(c *call, b command.DeleteAccount) (any, *Refusal) {
	const all = int(^uint(0) >> 1)
	domain, ok := c.Domain(b.DomainID)
	switch {
	case !ok:
		return nil, refuse(CodeNotFound, "there is no such account")
	case domain.System:
		return nil, refuse(CodeInvalid, "the account that runs the cluster cannot be deleted")
	}
	projects := c.Projects(b.DomainID, "", all)
	for _, p := range projects {
		if len(c.Keys(p.ID, 0, 1, nil)) > 0 {
			return nil, refuse(CodeInUse, "the project %s of the account has keys: delete them first", p.Name)
		}
	}
	for _, p := range projects {
		c.DeleteProject(p)
	}
	for _, u := range c.Users(b.DomainID, "", all) {
		c.endGrants(c.GrantsToUser(u.ID))
		c.DeleteUser(u)
	}
	for _, g := range c.Groups(b.DomainID, "", all) {
		c.DeleteGroup(g)
	}
	for _, p := range c.Policies(b.DomainID, "", all) {
		c.DeletePolicy(p)
	}
	c.endGrants(c.GrantsToAccount(domain.ID))
	c.DeleteDomain(domain)
	cluster := *c.Cluster()
	cluster.Fence = c.index
	c.PutCluster(&cluster)
	return IdentityResult{b.DomainID}, nil
}

func createProject(c *call, b command.CreateProject) (any, *Refusal) {
	domainID := c.domain().ID
	switch {
	case !isHex(b.ID, 32):
		return nil, refuse(CodeInvalid, "an id is not 32 digits of lower-case hex")
	case !isLabel(b.Name) || len(b.Description) > maxText:
		return nil, refuse(CodeInvalid, "the name is not a name, or the description is too large")
	}
	if _, used := c.Project(b.ID); used {
		return nil, refuse(CodeInvalid, "the id was given out before")
	}
	if _, taken := c.ProjectByName(domainID, b.Name); taken {
		return nil, refuse(CodeAlreadyExists, "a project of that name exists in the account")
	}
	c.PutProject(&state.Project{
		ID: b.ID, Name: b.Name, DomainID: domainID, Description: b.Description, Enabled: true,
		KeyQuota: state.DefaultKeyQuota, Created: c.Now(),
	})
	return IdentityResult{b.ID}, nil
}

func updateProject(c *call, b command.UpdateProject) (any, *Refusal) {
	old, refusal := c.findProject(b.ID)
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
	project := *old
	project.Description, project.Enabled, project.Fence = b.Description, b.Enabled, c.index
	c.PutProject(&project)
	return IdentityResult{b.ID}, nil
}

func deleteProject(c *call, b command.DeleteProject) (any, *Refusal) {
	project, refusal := c.findProject(b.ID)
	switch {
	case refusal != nil:
		return nil, refusal
	case len(c.Keys(b.ID, 0, 1, nil)) > 0:
		return nil, refuse(CodeInUse, "the project has keys: delete them first")
	}
	c.DeleteProject(project)
	c.fenceDomain(project.DomainID)
	return IdentityResult{b.ID}, nil
}

func (c *call) findProject(id string) (*state.Project, *Refusal) {
	project, ok := c.Project(id)
	if !ok || project.DomainID != c.domain().ID {
		return nil, refuse(CodeNotFound, "the account has no such project")
	}
	return project, nil
}

func createPolicy(c *call, b command.CreatePolicy) (any, *Refusal) {
	domainID := c.domain().ID
	if !isHex(b.ID, 32) {
		return nil, refuse(CodeInvalid, "an id is not 32 digits of lower-case hex")
	}
	if refusal := c.checkPolicy(domainID, b.ID, b.Name, b.Description, &b.Document); refusal != nil {
		return nil, refusal
	}
	if _, used := c.Policy(b.ID); used {
		return nil, refuse(CodeInvalid, "the id was given out before")
	}
	c.PutPolicy(&state.Policy{
		ID: b.ID, Name: b.Name, DomainID: domainID, Description: b.Description, Document: b.Document, Created: c.Now(), Updated: c.Now(),
	})
	return IdentityResult{b.ID}, nil
}

func updatePolicy(c *call, b command.UpdatePolicy) (any, *Refusal) {
	old, refusal := c.findPolicy(b.ID)
	if refusal != nil {
		return nil, refusal
	}
	if refusal := c.checkPolicy(old.DomainID, b.ID, b.Name, b.Description, &b.Document); refusal != nil {
		return nil, refusal
	}
	p := *old
	p.Name, p.Description, p.Document, p.Updated, p.Fence = b.Name, b.Description, b.Document, c.Now(), c.index
	c.PutPolicy(&p)
	return IdentityResult{b.ID}, nil
}

// deletePolicy removes a policy that is bound nowhere: who deletes one that is
// should know from whom it takes what.
func deletePolicy(c *call, b command.DeletePolicy) (any, *Refusal) {
	const all = int(^uint(0) >> 1)
	p, refusal := c.findPolicy(b.ID)
	if refusal != nil {
		return nil, refusal
	}
	for _, u := range c.Users(p.DomainID, "", all) {
		if binds(u.Roles, p.ID) {
			return nil, refuse(CodeInUse, "the policy holds for the user %s: detach it first", u.Name)
		}
	}
	for _, g := range c.Groups(p.DomainID, "", all) {
		if binds(g.Roles, p.ID) {
			return nil, refuse(CodeInUse, "the policy holds for the group %s: detach it first", g.Name)
		}
	}
	c.DeletePolicy(p)
	c.fenceDomain(p.DomainID)
	return IdentityResult{b.ID}, nil
}

func binds(roles []state.RoleBinding, policyID string) bool {
	return slices.ContainsFunc(roles, func(r state.RoleBinding) bool { return r.Role == policyID })
}

func (c *call) findPolicy(id string) (*state.Policy, *Refusal) {
	p, ok := c.Policy(id)
	if !ok || p.DomainID != c.domain().ID {
		return nil, refuse(CodeNotFound, "the account has no such policy")
	}
	return p, nil
}

func (c *call) checkPolicy(domainID, id, name, description string, d *policy.Document) *Refusal {
	_, system := policy.System(name)
	switch {
	case !isPolicyName(name) || len(description) > maxText:
		return refuse(CodeInvalid, "a policy's name has 1 to 128 letters, digits, spaces and any of . _ - @, a description at most %d bytes", maxText)
	case system:
		return refuse(CodeAlreadyExists, "a system policy has that name")
	}
	if other, taken := c.PolicyByName(domainID, name); taken && other.ID != id {
		return refuse(CodeAlreadyExists, "a policy of that name exists in the account")
	}
	if err := d.Check(); err != nil {
		return refuse(CodeInvalid, "%s", err)
	}
	return nil
}

func attachPolicy(c *call, b command.AttachPolicy) (any, *Refusal) {
	roles, write, refusal := c.findHolder(b.Binding)
	if refusal != nil {
		return nil, refusal
	}
	if _, system := policy.System(b.Binding.Policy); !system {
		if _, refusal := c.findPolicy(b.Binding.Policy); refusal != nil {
			return nil, refusal
		}
	}
	if b.Binding.ProjectID != "" {
		if _, refusal := c.findProject(b.Binding.ProjectID); refusal != nil {
			return nil, refusal
		}
	}
	binding := state.RoleBinding{Role: b.Binding.Policy, ProjectID: b.Binding.ProjectID}
	at, is := slices.BinarySearchFunc(roles, binding, compareBindings)
	switch {
	case is:
		return IdentityResult{b.Binding.Policy}, nil
	case len(roles) >= maxRolesOfHolder:
		return nil, refuse(CodeLimit, "%d policies hold already, and no more may", maxRolesOfHolder)
	}
	write(slices.Insert(slices.Clone(roles), at, binding))
	return IdentityResult{b.Binding.Policy}, nil
}

func detachPolicy(c *call, b command.DetachPolicy) (any, *Refusal) {
	roles, write, refusal := c.findHolder(b.Binding)
	if refusal != nil {
		return nil, refusal
	}
	at, is := slices.BinarySearchFunc(roles, state.RoleBinding{Role: b.Binding.Policy, ProjectID: b.Binding.ProjectID}, compareBindings)
	if !is {
		return nil, refuse(CodeNotFound, "the policy does not hold there")
	}
	if own := (command.Binding{UserID: c.caller.UserID, Policy: policy.RoleSecurityAdministrator}); b.Binding == own {
		return nil, refuse(CodeInvalid, "nobody takes the administration of the account from themselves: there might be nobody left to give it back")
	}
	write(slices.Delete(slices.Clone(roles), at, at+1))
	return IdentityResult{b.Binding.Policy}, nil
}

// findHolder returns the bindings of a user or a group, and how they are replaced.
func (c *call) findHolder(b command.Binding) (roles []state.RoleBinding, write func([]state.RoleBinding), refusal *Refusal) {
	switch {
	case (b.UserID == "") == (b.GroupID == ""):
		return nil, nil, refuse(CodeInvalid, "a policy holds for a user or for a group")
	case b.UserID != "":
		old, refusal := c.findUser(b.UserID)
		if refusal != nil {
			return nil, nil, refusal
		}
		return old.Roles, func(roles []state.RoleBinding) {
			user := *old
			user.Roles, user.Fence = roles, c.index
			c.PutUser(&user)
		}, nil
	default:
		old, refusal := c.findGroup(b.GroupID)
		if refusal != nil {
			return nil, nil, refusal
		}
		return old.Roles, func(roles []state.RoleBinding) {
			group := *old
			group.Roles, group.Fence = roles, c.index
			c.PutGroup(&group)
		}, nil
	}
}

func compareBindings(a, b state.RoleBinding) int {
	if by := strings.Compare(a.Role, b.Role); by != 0 {
		return by
	}
	return strings.Compare(a.ProjectID, b.ProjectID)
}

// isPolicyName tells whether a policy may be called that.
func isPolicyName(s string) bool {
	return len(s) >= 1 && len(s) <= 128 && strings.TrimSpace(s) == s && only(s, func(b byte) bool {
		return isLetter(b) || isDigit(b) || b == ' ' || b == '.' || b == '_' || b == '-' || b == '@'
	})
}
