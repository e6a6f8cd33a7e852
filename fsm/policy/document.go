package policy

import (
	"errors"
	"fmt"
)

// The versions of documents: a role is a fixed set of actions, a policy may
// name resources and conditions.
const (
	VersionRole   = "1.0"
	VersionPolicy = "1.1"
)

// Bounds of a document. They bound what judging it costs, and its place in the state.
const (
	MaxDocument   = 6144 // bytes of all texts together
	MaxStatements = 32
	MaxPatterns   = 100 // actions, resources or values of one statement or condition
	MaxConditions = 16  // of a statement
	MaxWildcards  = 6   // * in one pattern
	maxPattern    = 256 // bytes
)

// ErrDocument is returned for a document that breaks a rule; its text says which.
var ErrDocument = errors.New("not a policy document")

// Document is a policy as it is written, stored and shown.
type Document struct {
	Version    string      `cbor:"1,keyasint"`
	Statements []Statement `cbor:"2,keyasint"`
}

// Statement allows or denies actions.
type Statement struct {
	Deny       bool        `cbor:"1,keyasint,omitempty"`
	Actions    []string    `cbor:"2,keyasint"`           // service:type:operation, with * for any characters
	Resources  []string    `cbor:"3,keyasint,omitempty"` // service:region:account:type:path, with *; none: every resource
	Conditions []Condition `cbor:"4,keyasint,omitempty"` // all must hold
}

// Condition compares a value of the request with given ones.
type Condition struct {
	Operator string   `cbor:"1,keyasint"` // StringEquals …
	Key      string   `cbor:"2,keyasint"` // g:UserName …
	Values   []string `cbor:"3,keyasint"` // one of them must match
}

// Check holds the document to its form and bounds. What it accepts, [Compile] compiles.
func (d *Document) Check() error {
	if d.Version != VersionRole && d.Version != VersionPolicy {
		return fmt.Errorf("%w: the version is neither %s nor %s", ErrDocument, VersionRole, VersionPolicy)
	}
	if n := len(d.Statements); n < 1 || n > MaxStatements {
		return fmt.Errorf("%w: %d statements where 1 to %d may be", ErrDocument, n, MaxStatements)
	}
	size := 0
	for i := range d.Statements {
		n, err := d.Statements[i].check()
		if err != nil {
			return fmt.Errorf("%w: statement %d: %w", ErrDocument, i+1, err)
		}
		size += n
	}
	if size > MaxDocument {
		return fmt.Errorf("%w: its texts have %d bytes where %d may be", ErrDocument, size, MaxDocument)
	}
	return nil
}

// check returns how many bytes of text the statement holds.
func (s *Statement) check() (size int, err error) {
	if n := len(s.Actions); n < 1 || n > MaxPatterns {
		return 0, fmt.Errorf("%d actions where 1 to %d may be", n, MaxPatterns)
	}
	for _, a := range s.Actions {
		if err := checkAction(a); err != nil {
			return 0, err
		}
		size += len(a)
	}
	if n := len(s.Resources); n > MaxPatterns {
		return 0, fmt.Errorf("%d resources where at most %d may be", n, MaxPatterns)
	}
	for _, r := range s.Resources {
		if err := checkResource(r); err != nil {
			return 0, err
		}
		size += len(r)
	}
	if n := len(s.Conditions); n > MaxConditions {
		return 0, fmt.Errorf("%d conditions where at most %d may be", n, MaxConditions)
	}
	for i := range s.Conditions {
		n, err := s.Conditions[i].check()
		if err != nil {
			return 0, err
		}
		size += n
	}
	return size, nil
}

func (c *Condition) check() (size int, err error) {
	if !isName(c.Operator) || !isText(c.Key) || c.Key == "" {
		return 0, errors.New("a condition without an operator or a key")
	}
	if n := len(c.Values); n < 1 || n > MaxPatterns {
		return 0, fmt.Errorf("%d values of the condition key %s where 1 to %d may be", n, c.Key, MaxPatterns)
	}
	size = len(c.Operator) + len(c.Key)
	for _, v := range c.Values {
		if !isText(v) {
			return 0, fmt.Errorf("a value of the condition key %s is longer than %d bytes", c.Key, maxPattern)
		}
		size += len(v)
	}
	return size, nil
}

// isName tells whether s is 1 to 64 letters and colons.
func isName(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; s[i] != ':' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= 64
}

func isText(s string) bool { return len(s) <= maxPattern }
