package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// Request is what a caller wants to do.
type Request struct {
	Action    string // one of [policy.Actions]
	Operation string // as traces name it, createDataKey …: what grants are about
	ProjectID string // empty: the caller's account itself, or the cluster

	// Key is the key that it is about: an existing one, [Absent], or, for one
	// that is to be made, what it will be: in the project, without an id. Nil:
	// about no key.
	Key *state.Key

	// Grant is the grant that is to be revoked or retired. Nil: none is, or
	// there is no such grant.
	Grant *state.Grant

	// Now is the time that conditions compare with, Unix ms: where a command is
	// applied the replicated time, on a node the later of that and its own
	// clock, since replicated time stands still while nothing is written.
	Now int64
}

// Absent stands for a key to which a reference does not lead; id is the
// reference where it is an id, else empty.
func Absent(id string) *state.Key { return &state.Key{ID: id} }

// Authorize decides whether the user behind a caller may do what the request
// says, from one state. The server asks it before a call, apply asks it again
// before a write: one function, so that they cannot differ.
//
// It returns nil for yes, and a yes allocates nothing. "unauthenticated" means
// that no valid user stands behind the credential; "forbidden" that the user
// may not, or that there is no such project to be allowed in (which is not told
// apart). "not-found" means that the user may, but there is no such key: a key
// of another project, without a grant on it, is judged as an absent one is, by
// what the request itself names, so that the two cannot be told apart.
//
// A key of another project is used, and its grants are made and ended, by a
// grant. The request is in a project of the caller all the same, and what the
// caller's policies deny there no grant allows.
func Authorize(root *state.Root, caller command.Caller, r Request) *Refusal {
	_, refusal := authorize(&root.View, caller, r)
	return refusal
}

// AuthorizedBy is [Authorize] with the grant that a yes rests on; nil where
// policies say yes, or the answer is no.
func AuthorizedBy(root *state.Root, caller command.Caller, r Request) (*state.Grant, *Refusal) {
	return authorize(&root.View, caller, r)
}

func authorize(v *state.View, caller command.Caller, r Request) (by *state.Grant, refusal *Refusal) {
	p, refusal := principal(v, caller, r.ProjectID, r.Now)
	if refusal != nil {
		return nil, refusal
	}
	groups := ""
	if caller.Via == command.ViaProvider {
		groups = caller.Groups
	}
	refusal, rests := decide(v, p, groups, caller.Source, caller.MFA, r)
	return rests.grant, refusal
}

// decide is authorize for a user who is known, as the request's project sees
// them, in further groups (see [command.Caller]), from an address, with a second
// factor or without. It says besides what the answer rests on; by which policy a
// principal may who always may, it does not.
func decide(v *state.View, p *state.Principal, groups, source string, mfa bool, r Request) (*Refusal, ground) {
	user, domain := p.User, p.Domain
	ask := policy.Request{
		Action: r.Action, UserID: p.UserID, UserName: p.UserName, DomainID: domain.ID, DomainName: domain.Name,
		Region: v.Cluster().Region, Source: source, MFA: mfa, Now: r.Now,
	}
	if r.ProjectID != "" {
		project := p.Project
		if project == nil || !project.Enabled || project.DomainID != domain.ID {
			return refuse(CodeForbidden, "the account has no such project"), ground{}
		}
		ask.ProjectID, ask.ProjectName = project.ID, project.Name
	}
	if policy.ClusterWide(r.Action) && !domain.System {
		return refuse(CodeForbidden, "no policy of this account can allow %s", r.Action), ground{}
	}

	own := r.Key == nil || r.Key.ProjectID != "" && r.Key.ProjectID == r.ProjectID
	var grant *state.Grant
	known := own // whether the user may know of the key
	if !own {
		grant, known = grantAllowing(v, user, r)
	}
	switch {
	case r.Key == nil:
	case known:
		ask.OnKey = true
		ask.Key = policy.Key{ID: r.Key.ID, Alias: r.Key.Name, Spec: r.Key.Spec, Usage: r.Key.Usage, Origin: r.Key.Origin, Tags: r.Key}
	default:
		ask.OnKey, ask.Key.ID = true, r.Key.ID
	}
	if own && groups == "" && p.Always.Allow(&ask) {
		return nil, ground{verdict: policy.Allowed}
	}
	by := judge(v, p, groups, &ask)
	if own && by.verdict == policy.Silent {
		grant, _ = grantAllowing(v, user, r)
	}
	switch {
	case by.verdict == policy.Denied:
		return refuse(CodeForbidden, "the policy %s denies %s", policyName(v, by.binding.Role), r.Action), by
	case grant != nil:
		return nil, ground{grant: grant}
	case own && (by.verdict == policy.Allowed || mayRevoke(user, r)):
		return nil, by
	case known && !own:
		return refuse(CodeForbidden, "no grant on the key allows %s", r.Action), by
	case by.verdict == policy.Silent:
		return refuse(CodeForbidden, "no policy allows %s", r.Action), by
	default:
		return refuse(CodeNotFound, "the key does not exist"), by
	}
}

// ground is what an answer rests on: a grant, or the strongest of what the
// policies say, and where that policy holds.
type ground struct {
	grant     *state.Grant
	verdict   policy.Verdict
	binding   *state.RoleBinding // of the policy that says so
	statement int                // of it, counted from 0
	group     *state.Group       // whose binding it is; nil: the user's own
}

// judge asks every policy that holds for the user in the request's project, by
// the user's own bindings and those of the user's groups, until one denies.
func judge(v *state.View, p *state.Principal, groups string, ask *policy.Request) ground {
	var by ground
	for i := range p.Held {
		held := &p.Held[i]
		if by.judge(held.Policy, held.Binding, held.Group, ask) == policy.Denied {
			return by
		}
	}
	for ; len(groups) >= groupID; groups = groups[groupID:] {
		if group, ok := v.Group(groups[:groupID]); ok && group.DomainID == ask.DomainID && by.judgeGroup(v, group, ask) == policy.Denied {
			return by
		}
	}
	return by
}

// groupID is how long the id of a group is.
const groupID = 32

// judgeGroup takes what the policies of a group say, where that is stronger.
func (by *ground) judgeGroup(v *state.View, group *state.Group, ask *policy.Request) policy.Verdict {
	for p, b := range v.Holding(group.Roles, ask.ProjectID) {
		if by.judge(p, b, group, ask) == policy.Denied {
			break
		}
	}
	return by.verdict
}

// judge takes what a policy says, where that is stronger, and returns what is
// said by now.
func (by *ground) judge(p *policy.Policy, b *state.RoleBinding, group *state.Group, ask *policy.Request) policy.Verdict {
	if says, statement := p.Judge(ask); says > by.verdict {
		*by = ground{verdict: says, binding: b, statement: statement, group: group}
	}
	return by.verdict
}

// policyName is a policy as people know it.
func policyName(v *state.View, bound string) string {
	if custom, ok := v.Policy(bound); ok {
		return custom.Name
	}
	return bound
}

// authorizeWrite holds a command to the door of its kind of write, and a user
// to what the policies allow. Where the operator comes in, so does a user who
// may: the action says the same through either door.
func authorizeWrite(v *state.View, w write, cmd command.Command, key *state.Key, grant *state.Grant) *Refusal {
	user := cmd.Caller.Kind == command.CallerUser
	if cmd.Caller.Kind != w.door && !(user && w.door == command.CallerOperator && w.action != "") {
		return refuse(CodeForbidden, "this write does not come through that door")
	}
	if !user {
		return nil
	}
	if w.action == "" { // whoever it is: the write itself asks whether it is theirs
		_, _, refusal := authenticate(v, cmd.Caller, v.Now())
		return refusal
	}
	_, refusal := authorize(v, cmd.Caller, Request{
		Action: w.action, ProjectID: cmd.Caller.ProjectID, Key: key, Grant: grant, Now: v.Now(),
	})
	return refusal
}
