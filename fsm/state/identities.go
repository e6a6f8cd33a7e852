package state

import (
	"fmt"

	"github.com/raftkms/raftkms/fsm/policy"
)

// Who may do what: groups, policies, and how accounts, projects, users and
// access keys are written, found and removed.

// Group is users who share bindings. Who is in it is in the users' records.
type Group struct {
	ID          string        `cbor:"1,keyasint"` // 32 lower-case hex digits
	Name        string        `cbor:"2,keyasint"` // unique in its domain
	DomainID    string        `cbor:"3,keyasint"`
	Description string        `cbor:"4,keyasint"`
	Roles       []RoleBinding `cbor:"5,keyasint"` // sorted by role, then project
	Created     int64         `cbor:"6,keyasint"`
	Fence       uint64        `cbor:"7,keyasint"`
}

// Policy is a custom policy of a domain. What it is compiled to is kept beside
// it and found by [View.CompiledPolicy].
type Policy struct {
	ID          string          `cbor:"1,keyasint"` // 32 lower-case hex digits
	Name        string          `cbor:"2,keyasint"` // unique in its domain
	DomainID    string          `cbor:"3,keyasint"`
	Description string          `cbor:"4,keyasint"`
	Document    policy.Document `cbor:"5,keyasint"`
	Created     int64           `cbor:"6,keyasint"`
	Updated     int64           `cbor:"7,keyasint"`
	Fence       uint64          `cbor:"8,keyasint"`
}

// PutDomain writes a domain and its name.
func (x *Txn) PutDomain(d *Domain) {
	old, had := put(x, TableDomain, &x.domains, []byte(d.ID), d)
	if had {
		x.domainNames.remove(appendNameKey(nil, "", old.Name))
	}
	x.domainNames.insert(appendNameKey(nil, "", d.Name), d.ID)
}

// DeleteDomain removes a domain. What is in it is for the caller to remove.
func (x *Txn) DeleteDomain(d *Domain) {
	remove(x, TableDomain, &x.domains, []byte(d.ID), d)
	x.domainNames.remove(appendNameKey(nil, "", d.Name))
}

// PutProject writes a project and its name. Its domain never changes.
func (x *Txn) PutProject(p *Project) {
	old, had := put(x, TableProject, &x.projects, []byte(p.ID), p)
	if had {
		x.projectNames.remove(appendNameKey(nil, old.DomainID, old.Name))
	}
	x.projectNames.insert(appendNameKey(nil, p.DomainID, p.Name), p.ID)
}

// DeleteProject removes a project. That it has no keys is for the caller to see to.
func (x *Txn) DeleteProject(p *Project) {
	remove(x, TableProject, &x.projects, []byte(p.ID), p)
	x.projectNames.remove(appendNameKey(nil, p.DomainID, p.Name))
}

// PutUser writes a user, its name and its places in groups. Its domain never changes.
func (x *Txn) PutUser(u *User) {
	old, had := put(x, TableUser, &x.users, []byte(u.ID), u)
	if had {
		x.unlistUser(old)
	}
	x.userNames.insert(appendNameKey(nil, u.DomainID, u.Name), u.ID)
	for _, g := range u.Groups {
		x.members.insert(appendNameKey(nil, g, u.ID), u.ID)
	}
}

// DeleteUser removes a user with its access keys and its second factor.
func (x *Txn) DeleteUser(u *User) {
	if a, ok := x.Authenticator(u.ID); ok {
		x.DeleteAuthenticator(a)
	}
	for _, a := range x.AccessKeysOf(u.ID) {
		x.DeleteAccessKey(a)
	}
	remove(x, TableUser, &x.users, []byte(u.ID), u)
	x.unlistUser(u)
}

func (x *Txn) unlistUser(u *User) {
	x.userNames.remove(appendNameKey(nil, u.DomainID, u.Name))
	for _, g := range u.Groups {
		x.members.remove(appendNameKey(nil, g, u.ID))
	}
}

// PutAccessKey writes an access key. Its user never changes.
func (x *Txn) PutAccessKey(a *AccessKey) {
	if _, had := put(x, TableAccessKey, &x.accessKeys, []byte(a.ID), a); !had {
		x.userKeys.insert(appendNameKey(nil, a.UserID, a.ID), a.ID)
	}
}

// DeleteAccessKey removes an access key and when it was last used.
func (x *Txn) DeleteAccessKey(a *AccessKey) {
	if used, ok := x.Access(a.ID); ok {
		remove(x, TableAccess, &x.accesses, []byte(a.ID), used)
	}
	remove(x, TableAccessKey, &x.accessKeys, []byte(a.ID), a)
	x.userKeys.remove(appendNameKey(nil, a.UserID, a.ID))
}

// PutGroup writes a group and its name. Its domain never changes.
func (x *Txn) PutGroup(g *Group) {
	old, had := put(x, TableGroup, &x.groups, []byte(g.ID), g)
	if had {
		x.groupNames.remove(appendNameKey(nil, old.DomainID, old.Name))
	}
	x.groupNames.insert(appendNameKey(nil, g.DomainID, g.Name), g.ID)
}

// DeleteGroup removes a group. That nobody is in it is for the caller to see to.
func (x *Txn) DeleteGroup(g *Group) {
	remove(x, TableGroup, &x.groups, []byte(g.ID), g)
	x.groupNames.remove(appendNameKey(nil, g.DomainID, g.Name))
}

// PutPolicy writes a policy, its name and what it is compiled to. A document
// that was not checked ends the process: the state would hold what nobody can judge.
func (x *Txn) PutPolicy(p *Policy) {
	compiled, err := policy.Compile(&p.Document)
	if err != nil {
		panic(fmt.Sprintf("state: a policy that was not checked: %v", err))
	}
	old, had := put(x, TablePolicy, &x.policies, []byte(p.ID), p)
	if had {
		x.policyNames.remove(appendNameKey(nil, old.DomainID, old.Name))
	}
	x.policyNames.insert(appendNameKey(nil, p.DomainID, p.Name), p.ID)
	x.compiled.insert([]byte(p.ID), compiled)
}

// DeletePolicy removes a policy. That it is bound nowhere is for the caller to see to.
func (x *Txn) DeletePolicy(p *Policy) {
	remove(x, TablePolicy, &x.policies, []byte(p.ID), p)
	x.policyNames.remove(appendNameKey(nil, p.DomainID, p.Name))
	x.compiled.remove([]byte(p.ID))
}

// Domain returns the domain (account) of that id.
func (v *View) Domain(id string) (*Domain, bool) { return byID(&v.domains, id) }

// DomainByName returns the domain of that name.
func (v *View) DomainByName(name string) (*Domain, bool) {
	return byName(&v.domains, &v.domainNames, "", name)
}

// Project returns the project of that id.
func (v *View) Project(id string) (*Project, bool) { return byID(&v.projects, id) }

// ProjectByName returns the project of that name in that domain.
func (v *View) ProjectByName(domainID, name string) (*Project, bool) {
	return byName(&v.projects, &v.projectNames, domainID, name)
}

// User returns the user of that id.
func (v *View) User(id string) (*User, bool) { return byID(&v.users, id) }

// UserByName returns the user of that name in that domain.
func (v *View) UserByName(domainID, name string) (*User, bool) {
	return byName(&v.users, &v.userNames, domainID, name)
}

// AccessKey returns the access key of that id (AK).
func (v *View) AccessKey(id string) (*AccessKey, bool) { return byID(&v.accessKeys, id) }

// Group returns the group of that id.
func (v *View) Group(id string) (*Group, bool) { return byID(&v.groups, id) }

// GroupByName returns the group of that name in that domain.
func (v *View) GroupByName(domainID, name string) (*Group, bool) {
	return byName(&v.groups, &v.groupNames, domainID, name)
}

// Policy returns the custom policy of that id.
func (v *View) Policy(id string) (*Policy, bool) { return byID(&v.policies, id) }

// PolicyByName returns the custom policy of that name in that domain.
func (v *View) PolicyByName(domainID, name string) (*Policy, bool) {
	return byName(&v.policies, &v.policyNames, domainID, name)
}

// CompiledPolicy returns what the custom policy of that id is compiled to.
func (v *View) CompiledPolicy(id string) (*policy.Policy, bool) { return byID(&v.compiled, id) }

// The lists of identities are in the order of names, in a new slice of at most
// limit: those after the given name; empty: from the first.

// Domains lists the domains of the cluster.
func (v *View) Domains(after string, limit int) []*Domain {
	return named(&v.domains, &v.domainNames, "", after, limit)
}

// Projects lists the projects of a domain.
func (v *View) Projects(domainID, after string, limit int) []*Project {
	return named(&v.projects, &v.projectNames, domainID, after, limit)
}

// Users lists the users of a domain.
func (v *View) Users(domainID, after string, limit int) []*User {
	return named(&v.users, &v.userNames, domainID, after, limit)
}

// Groups lists the groups of a domain.
func (v *View) Groups(domainID, after string, limit int) []*Group {
	return named(&v.groups, &v.groupNames, domainID, after, limit)
}

// Policies lists the custom policies of a domain.
func (v *View) Policies(domainID, after string, limit int) []*Policy {
	return named(&v.policies, &v.policyNames, domainID, after, limit)
}

// AccessKeysOf returns the access keys of a user, by id, in a new slice.
func (v *View) AccessKeysOf(userID string) []*AccessKey {
	return named(&v.accessKeys, &v.userKeys, userID, "", int(^uint(0)>>1))
}

// Members lists the users in a group, in the order of their ids: those after
// the given id.
func (v *View) Members(groupID, after string, limit int) []*User {
	return named(&v.users, &v.members, groupID, after, limit)
}

func named[T any](records *table[T], names *table[string], parentID, after string, limit int) []T {
	ids := take(names, appendNameKey(nil, parentID, after), appendNameKey(nil, parentID, ""), after != "", limit)
	list := make([]T, 0, len(ids))
	for _, id := range ids {
		record, _ := byID(records, id)
		list = append(list, record)
	}
	return list
}
