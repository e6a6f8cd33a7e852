package policy

import "slices"

// Compile makes a document ready to judge by, or refuses it with [ErrDocument].
func Compile(d *Document) (*Policy, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	p := &Policy{statements: make([]statement, len(d.Statements))}
	for i := range d.Statements {
		p.statements[i] = compileStatement(&d.Statements[i])
		p.actions.join(&p.statements[i].actions)
	}
	return p, nil
}

func compileStatement(s *Statement) statement {
	c := statement{verdict: Allowed}
	if s.Deny {
		c.verdict = Denied
	}
	c.actions = namedBy(s)
	for _, r := range s.Resources {
		c.resources = append(c.resources, compileResource(r))
	}
	for i := range s.Conditions {
		c.conditions = append(c.conditions, compileCondition(&s.Conditions[i]))
	}
	return c
}

// namedBy are the actions that the statement names: by themselves, by the whole
// that they are a half of, or, of a whole, by its halves.
func namedBy(s *Statement) (set actionSet) {
	named := func(action string) bool {
		return slices.ContainsFunc(s.Actions, func(pattern string) bool { return matchAction(pattern, action) })
	}
	halves := map[string]int{} // that are named, by their whole
	for i, action := range Actions() {
		whole := Whole(action)
		if !named(action) && (whole == "" || !named(whole)) {
			continue
		}
		if set.add(i); whole != "" {
			halves[whole]++
		}
	}
	for i, action := range Actions() {
		if n := halves[action]; n == 2 || n == 1 && s.Deny {
			set.add(i)
		}
	}
	return set
}
