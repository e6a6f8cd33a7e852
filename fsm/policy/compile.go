package policy

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
	for i, action := range Actions() {
		for _, pattern := range s.Actions {
			if matchAction(pattern, action) {
				c.actions.add(i)
				break
			}
		}
	}
	for _, r := range s.Resources {
		c.resources = append(c.resources, compileResource(r))
	}
	for i := range s.Conditions {
		c.conditions = append(c.conditions, compileCondition(&s.Conditions[i]))
	}
	return c
}
