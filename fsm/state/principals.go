package state

import (
	"iter"

	"github.com/raftkms/raftkms/fsm/policy"
)

// Principal is a user as one project sees them: with all that decides what they
// may do there, found once and not again at every call. It never changes.
type Principal struct {
	AccessKey *AccessKey // nil: it was asked for by the user's id
	User      *User
	Domain    *Domain  // nil: there is none
	Project   *Project // nil: none was asked for, or there is none
	Held      []Held   // the user's own first, then those of the groups, in their order

	// What every call asks of these, here: they lie far from one another, and
	// among ten thousand users reaching for them is most of what a call costs.
	UserID, UserName string
	Usable           bool // the access key, if there is one, the user and the account are enabled

	id, projectID string // by which it was asked for
	byKey         bool
	few           [2]Held // mostly room enough for Held
}

// Held is a policy that holds for a principal.
type Held struct {
	Policy  *policy.Policy
	Binding *RoleBinding
	Group   *Group // whose binding it is; nil: the user's own
}

// Principal returns a user as a project sees them (empty: none in particular);
// nil where there is no such user. Once it was made it allocates nothing.
func (v *View) Principal(userID, projectID string) *Principal {
	return v.principal(userID, projectID, false)
}

// PrincipalByKey is [View.Principal] of the user of an access key; nil where
// there is no such access key.
func (v *View) PrincipalByKey(accessKeyID, projectID string) *Principal {
	return v.principal(accessKeyID, projectID, true)
}

func (v *View) principal(id, projectID string, byKey bool) *Principal {
	hash := hashOf(id, projectID, byKey)
	if p := v.people.find(hash, id, projectID, byKey); p != nil {
		return p
	}
	p := &Principal{projectID: projectID, byKey: byKey}
	userID, ok := id, true
	if byKey {
		if p.AccessKey, ok = v.AccessKey(id); !ok {
			return nil
		}
		userID = p.AccessKey.UserID
	}
	if p.User, ok = v.User(userID); !ok {
		return nil // not kept: whoever makes up ids must not take the place of those who are there
	}
	if p.id = p.User.ID; byKey {
		p.id = p.AccessKey.ID
	}
	p.Domain, ok = v.Domain(p.User.DomainID)
	p.UserID, p.UserName = p.User.ID, p.User.Name
	p.Usable = p.User.Enabled && ok && p.Domain.Enabled && (!byKey || p.AccessKey.Enabled)
	p.Held = p.few[:0]
	if projectID != "" {
		if p.Project, ok = v.Project(projectID); !ok {
			return p // not kept either
		}
		p.projectID = p.Project.ID // the record's own text, not the request's
	}
	p.hold(v, p.User.Roles, nil)
	for _, id := range p.User.Groups {
		if group, ok := v.Group(id); ok {
			p.hold(v, group.Roles, group)
		}
	}
	v.people.keep(hash, p)
	return p
}

// hold takes the policies of bindings that hold in the project.
func (p *Principal) hold(v *View, bindings []RoleBinding, group *Group) {
	for compiled, b := range v.Holding(bindings, p.projectID) {
		p.Held = append(p.Held, Held{Policy: compiled, Binding: b, Group: group})
	}
}

// Holding are the policies of bindings that hold in a project, compiled. One
// that is no more is passed over.
func (v *View) Holding(bindings []RoleBinding, projectID string) iter.Seq2[*policy.Policy, *RoleBinding] {
	return func(yield func(*policy.Policy, *RoleBinding) bool) {
		for i := range bindings {
			b := &bindings[i]
			if b.ProjectID != "" && b.ProjectID != projectID {
				continue
			}
			compiled, ok := policy.System(b.Role)
			if !ok {
				compiled, ok = v.CompiledPolicy(b.Role)
			}
			if ok && !yield(compiled, b) {
				return
			}
		}
	}
}
