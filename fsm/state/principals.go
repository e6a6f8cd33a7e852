package state

import (
	"iter"
	"sync/atomic"

	"github.com/raftkms/raftkms/fsm/policy"
)

// Principal is a user as one project sees them: with all that decides what they
// may do there, found once and not again at every call. It never changes.
type Principal struct {
	// By which it was asked for, and what every call asks of the records below,
	// here: they lie far from one another, and among ten thousand users reaching
	// for them is most of what a call costs.
	id, projectID    string
	byKey            bool
	Usable           bool // the access key, if there is one, the user and the account are enabled
	UserID, UserName string
	Always           policy.Always // allowed by Held whatever else is asked

	AccessKey *AccessKey // nil: it was asked for by the user's id
	User      *User
	Domain    *Domain  // nil: there is none
	Project   *Project // nil: none was asked for, or there is none
	Held      []Held   // the user's own first, then those of the groups, in their order

	// Of who was asked for in no project: the same user in one, mostly the only
	// one that they call for. It lies beside in memory, where no further reach
	// is needed for it; taken is set by who fills it.
	in    atomic.Pointer[Principal]
	room  *Principal
	taken atomic.Bool

	few [2]Held // mostly room enough for Held
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

// principal finds a user in no project first: whoever has proved a credential
// has just been found so, and leads to themselves in their project.
func (v *View) principal(id, projectID string, byKey bool) *Principal {
	hash := hashOf(id, byKey)
	p := v.people.find(hash, id, "", byKey)
	if p == nil {
		if p = v.newPrincipal(id, byKey); p == nil {
			return nil // not kept: whoever makes up ids must not take the place of those who are there
		}
		v.people.keep(hash, p)
	}
	if projectID == "" {
		return p
	}
	in := p.in.Load()
	if in != nil && in.projectID == projectID {
		return in
	}
	hash = mix(hash, projectID)
	if in != nil {
		if other := v.people.find(hash, id, projectID, byKey); other != nil {
			return other
		}
	}
	project, ok := v.Project(projectID)
	switch {
	case !ok:
		return &Principal{ // not kept either
			id: p.id, projectID: projectID, byKey: byKey, Usable: p.Usable, UserID: p.UserID, UserName: p.UserName,
			AccessKey: p.AccessKey, User: p.User, Domain: p.Domain,
		}
	case p.taken.CompareAndSwap(false, true):
		in = p.room
		in.become(p, v, project)
		p.in.Store(in)
	default:
		in = new(Principal)
		in.become(p, v, project)
		v.people.keep(hash, in)
	}
	return in
}

// newPrincipal makes a principal in no project; nil: there is no such user.
func (v *View) newPrincipal(id string, byKey bool) *Principal {
	pair := new([2]Principal)
	p := &pair[0]
	p.byKey, p.room = byKey, &pair[1]
	userID, ok := id, true
	if byKey {
		if p.AccessKey, ok = v.AccessKey(id); !ok {
			return nil
		}
		userID = p.AccessKey.UserID
	}
	if p.User, ok = v.User(userID); !ok {
		return nil
	}
	if p.id = p.User.ID; byKey {
		p.id = p.AccessKey.ID
	}
	p.Domain, ok = v.Domain(p.User.DomainID)
	p.UserID, p.UserName = p.User.ID, p.User.Name
	p.Usable = p.User.Enabled && ok && p.Domain.Enabled && (!byKey || p.AccessKey.Enabled)
	p.gather(v)
	return p
}

// become makes of an empty principal the same as another one, in a project.
func (p *Principal) become(alone *Principal, v *View, project *Project) {
	p.id, p.projectID, p.byKey = alone.id, project.ID, alone.byKey // the record's own text, not the request's
	p.Usable, p.UserID, p.UserName = alone.Usable, alone.UserID, alone.UserName
	p.AccessKey, p.User, p.Domain, p.Project = alone.AccessKey, alone.User, alone.Domain, project
	p.gather(v)
}

// gather takes the policies that hold for the user.
func (p *Principal) gather(v *View) {
	p.Held = p.few[:0]
	p.hold(v, p.User.Roles, nil)
	for _, id := range p.User.Groups {
		if group, ok := v.Group(id); ok {
			p.hold(v, group.Roles, group)
		}
	}
	p.Always = policy.AlwaysAllowed(func(yield func(*policy.Policy) bool) {
		for i := range p.Held {
			if !yield(p.Held[i].Policy) {
				return
			}
		}
	})
}

// Explained is the principal with nothing that is always allowed, so that every
// answer rests on a statement of a policy in Held.
func (p *Principal) Explained() *Principal {
	return &Principal{
		id: p.id, projectID: p.projectID, byKey: p.byKey, Usable: p.Usable, UserID: p.UserID, UserName: p.UserName,
		AccessKey: p.AccessKey, User: p.User, Domain: p.Domain, Project: p.Project, Held: p.Held,
	}
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
