package policy

import "iter"

// Always are the actions that policies allow together whatever else a request
// says: a statement without a condition allows them on every resource, and no
// statement denies them, be it under conditions. For most requests of most users
// that is the whole answer, found without a look at the policies themselves.
// The zero value is none.
type Always struct{ actions actionSet }

// AlwaysAllowed are the actions that the policies always allow.
func AlwaysAllowed(policies iter.Seq[*Policy]) Always {
	var allowed, denied actionSet
	for p := range policies {
		for i := range p.statements {
			switch s := &p.statements[i]; {
			case s.verdict == Denied:
				denied.join(&s.actions)
			case s.unconditional():
				allowed.join(&s.actions)
			}
		}
	}
	for i := range allowed {
		allowed[i] &^= denied[i]
	}
	return Always{allowed}
}

// Allow tells whether the action of the request is one of them. It allocates nothing.
func (a *Always) Allow(r *Request) bool {
	seen := r.read()
	return seen.known && a.actions.has(seen.place)
}

// unconditional tells whether the statement matches by its actions alone.
func (s *statement) unconditional() bool {
	if len(s.conditions) > 0 {
		return false
	}
	if len(s.resources) == 0 {
		return true
	}
	for i := range s.resources {
		p := &s.resources[i]
		if p.other && p.key && p.service.is == open && p.region.is == open && p.account.is == open && p.path.is == open {
			return true
		}
	}
	return false
}
