// Package policy judges requests by policies. It is pure: equal input, equal
// answer, on every node; it looks nothing up and keeps nothing. Whether the
// user, the credential and the project exist and are enabled, and which
// policies hold, is for fsm.Authorize to find out.
//
// # The model
//
// A policy is a list of statements; a statement allows or denies the actions
// that match one of its patterns, on the resources that match one of its
// patterns, while all of its conditions hold. A user's and their groups'
// bindings say which policies hold in which project. Of all statements that
// match, one that denies wins; else one that allows; else the answer is no.
//
// A condition that cannot be judged (an operator or a key that this binary
// does not know, a value that is none) makes an Allow not allow and a Deny deny.
//
// # Forms
//
// A [Document] is what is written, stored and shown. A [Policy] is what
// [Compile] makes of one to judge by: patterns of actions are looked up in a
// set of bits, and judging allocates nothing.
package policy

import (
	"net/netip"
	"strings"
)

// Request is what somebody wants to do, with all that conditions can ask about.
type Request struct {
	Action      string // one of [Actions]
	Region      string
	UserID      string
	UserName    string
	DomainID    string
	DomainName  string
	ProjectID   string // empty: the account itself, or the cluster
	ProjectName string
	Source      string // address of the client; empty when there is none
	MFA         bool
	Now         int64 // Unix ms
	OnKey       bool  // whether it is about a key
	Key         Key   // as far as one may know it

	// What judging has worked out of Action and Source, for the next policy. One
	// goroutine at a time may have a Request judged.
	seen reading
}

// reading is what two texts of a Request mean. It says of which texts, so that
// it is never used for others; the zero reading is that of empty ones.
type reading struct {
	action  string
	place   int // in [Actions]
	known   bool
	service string
	source  string
	address netip.Addr // the zero one: source is none
}

// read works out what the action means, unless that was done before.
func (r *Request) read() *reading {
	s := &r.seen
	if s.action != r.Action {
		s.action = r.Action
		s.place, s.known = indexOf(r.Action)
		s.service, _, _ = strings.Cut(r.Action, ":")
	}
	return s
}

// address is the source as an address; false where it is none.
func (r *Request) address() (netip.Addr, bool) {
	s := &r.seen
	if s.source != r.Source {
		s.source = r.Source
		address, err := netip.ParseAddr(r.Source)
		if s.address = address.Unmap(); err != nil {
			s.address = netip.Addr{}
		}
	}
	return s.address, s.address.IsValid()
}

// Key is what resources and conditions can say of a key. Of one that does not
// exist, or is another project's, only what the request names is known.
type Key struct {
	ID     string
	Alias  string
	Spec   string
	Usage  string
	Origin string
	Tags   Tags // nil: none
}

// Tags are the tags of a key.
type Tags interface {
	// Tag returns the value of the tag of that name.
	Tag(name string) (value string, ok bool)
}

// Verdict is what policies say of a request.
type Verdict uint8

// The verdicts, the stronger the larger.
const (
	Silent  Verdict = iota // nothing matches
	Allowed                // a statement allows it
	Denied                 // a statement denies it
)

// Policy is a compiled [Document].
type Policy struct {
	statements []statement
	actions    actionSet // of all statements
}

// statement is a compiled [Statement].
type statement struct {
	verdict    Verdict // Allowed or Denied
	actions    actionSet
	resources  []resource // none: every resource
	conditions []condition
}

// Judge returns what the policy says of the request, and which of its
// statements, counted from 0, says so; -1 when none does. It allocates nothing.
func (p *Policy) Judge(r *Request) (Verdict, int) {
	verdict, by := Silent, -1
	seen := r.read()
	if !seen.known || !p.actions.has(seen.place) {
		return verdict, by
	}
	for i := range p.statements {
		s := &p.statements[i]
		if s.verdict <= verdict || !s.actions.has(seen.place) || !s.covers(r, seen.service) || !s.holds(r) {
			continue
		}
		if verdict, by = s.verdict, i; verdict == Denied {
			break
		}
	}
	return verdict, by
}

// holds tells whether all conditions of the statement hold.
func (s *statement) holds(r *Request) bool {
	for i := range s.conditions {
		if !s.conditions[i].holds(r, s.verdict == Denied) {
			return false
		}
	}
	return true
}
