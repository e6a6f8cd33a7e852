package fsm

import (
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// Explanation is an answer of [Authorize], and what it rests on.
type Explanation struct {
	Refusal *Refusal // nil: the user may
	Granted bool     // by a grant on the key

	// What the policies say, and the statement that says so, counted from 0. Of
	// [policy.Silent] there is no statement, and nothing below is set.
	Verdict    policy.Verdict
	Statement  int
	Policy     string // name of a system policy or id of one of the account
	PolicyName string
	GroupID    string // of the group for which the policy holds; empty: the user's own
	GroupName  string
	ProjectID  string // in which the policy holds; empty: in all of the account
}

// Explain says what [Authorize] would answer a user, whatever credential they
// come with, from a source with a second factor or without.
func Explain(root *state.Root, userID, source string, mfa bool, r Request) Explanation {
	v := &root.View
	p := v.Principal(userID, r.ProjectID)
	if refusal := stands(p); refusal != nil {
		return Explanation{Refusal: refusal}
	}
	refusal, by := decide(v, p.Explained(), "", source, mfa, r)
	e := Explanation{Refusal: refusal, Granted: by.grant != nil, Verdict: by.verdict}
	if by.binding == nil {
		return e
	}
	e.Statement, e.Policy, e.PolicyName, e.ProjectID = by.statement, by.binding.Role, policyName(v, by.binding.Role), by.binding.ProjectID
	if by.group != nil {
		e.GroupID, e.GroupName = by.group.ID, by.group.Name
	}
	return e
}
