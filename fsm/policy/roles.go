package policy

import "strings"

// statement allows or denies every action that one of its patterns matches.
type statement struct {
	effect  effect
	actions []string
}

// kmsAdministrator may do everything in the service kms and nothing elsewhere.
var kmsAdministrator = []statement{{allow, []string{"kms:*"}}}

// systemRole returns the statements of a role; a role that nobody knows says nothing.
func systemRole(name string) []statement {
	switch name {
	case RoleKMSAdministrator:
		return kmsAdministrator
	default:
		return nil
	}
}

func (s statement) matches(action string) bool {
	for _, pattern := range s.actions {
		if matchAction(pattern, action) {
			return true
		}
	}
	return false
}

// matchAction tells whether an action is one that a pattern names. Each * in
// the pattern stands for any characters, none included. On a mismatch only the
// last * grows, so the work is bounded by the product of the two lengths.
func matchAction(pattern, action string) bool {
	p, a := 0, 0
	star, grown := -1, 0
	for a < len(action) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, grown = p, a
			p++
		case p < len(pattern) && pattern[p] == action[a]:
			p++
			a++
		case star >= 0:
			grown++
			p, a = star+1, grown
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
