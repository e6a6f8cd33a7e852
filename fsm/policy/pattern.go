package policy

import (
	"fmt"
	"strings"
)

// match tells whether a text is one that a pattern names. Each * in the pattern
// stands for any characters, none included. On a mismatch only the last *
// grows, so the work is bounded by the product of the two lengths.
func match(pattern, text string) bool {
	p, t := 0, 0
	star, grown := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, grown = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			grown++
			p, t = star+1, grown
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// checkAction refuses what cannot name an action: a service in lower case,
// then perhaps a type and an operation, with * anywhere.
func checkAction(pattern string) error {
	if len(pattern) < 1 || len(pattern) > maxPattern || strings.Count(pattern, "*") > MaxWildcards {
		return fmt.Errorf("an action has 1 to %d bytes and at most %d *", maxPattern, MaxWildcards)
	}
	if pattern == "*" {
		return nil
	}
	service, rest, _ := strings.Cut(pattern, ":")
	parts := strings.Split(rest, ":")
	if service == "" || len(parts) > 2 || rest == "" && !strings.HasSuffix(service, "*") {
		return fmt.Errorf("the action %q is not service:type:operation", pattern)
	}
	for i := range len(pattern) {
		c := pattern[i]
		upper := c >= 'A' && c <= 'Z'
		if !upper && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != ':' && c != '*' && c != '-' && c != '_' {
			return fmt.Errorf("the action %q holds a character that no action has", pattern)
		}
		if upper && i < len(service) {
			return fmt.Errorf("the service of the action %q is not in lower case", pattern)
		}
	}
	return nil
}

// matchAction tells whether a pattern that was checked names an action: the
// service as it stands, type and operation in any case of letters.
func matchAction(pattern, action string) bool {
	return match(strings.ToLower(pattern), strings.ToLower(action))
}

// actionSet holds the places of actions in [Actions].
type actionSet [4]uint64

func (s *actionSet) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s *actionSet) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// places is where each action stands in [Actions]. It is never changed.
var places = placesOf(Actions())

func placesOf(actions []string) map[string]int {
	if len(actions) > len(actionSet{})*64 {
		panic("policy: more actions than an actionSet holds")
	}
	m := make(map[string]int, len(actions))
	for i, a := range actions {
		m[a] = i
	}
	return m
}

func indexOf(action string) (int, bool) {
	i, ok := places[action]
	return i, ok
}

// resource is a compiled pattern of resources, in its five segments; an empty
// one matches everything.
type resource struct {
	service, region, account, kind, path string
}

const segments = 5

// checkResource refuses what is not five segments, or * alone.
func checkResource(pattern string) error {
	switch {
	case pattern == "*":
		return nil
	case len(pattern) > maxPattern || strings.Count(pattern, "*") > MaxWildcards:
		return fmt.Errorf("a resource has at most %d bytes and at most %d *", maxPattern, MaxWildcards)
	case strings.Count(pattern, ":") < segments-1:
		return fmt.Errorf("the resource %q is not service:region:account:type:path", pattern)
	}
	return nil
}

func compileResource(pattern string) resource {
	if pattern == "*" {
		return resource{}
	}
	parts := strings.SplitN(pattern, ":", segments) // an alias may hold colons
	for i, p := range parts {
		if p == "*" {
			parts[i] = ""
		}
	}
	return resource{strings.ToLower(parts[0]), parts[1], parts[2], strings.ToLower(parts[3]), parts[4]}
}

// The types of resources of the service kms.
const (
	kindKey   = "keyid"
	kindAlias = "alias"
)

// covers tells whether the statement is about the resource of the request. A
// request about no key is covered by patterns that leave the path open.
func (s *statement) covers(r *Request) bool {
	if len(s.resources) == 0 {
		return true
	}
	service, _, _ := strings.Cut(r.Action, ":")
	for i := range s.resources {
		p := &s.resources[i]
		if matchSegment(p.service, service) && matchSegment(p.region, r.Region) &&
			matchSegment(p.account, r.DomainID) && p.matchPath(r.Key) {
			return true
		}
	}
	return false
}

func (p *resource) matchPath(k *Key) bool {
	if p.path == "" {
		// Any path of a type: of every key when the type is a key's.
		return p.kind == "" || k != nil && (matchSegment(p.kind, kindKey) || k.Alias != "" && matchSegment(p.kind, kindAlias))
	}
	if k == nil {
		return false
	}
	return k.ID != "" && matchSegment(p.kind, kindKey) && match(p.path, k.ID) ||
		k.Alias != "" && matchSegment(p.kind, kindAlias) && match(p.path, k.Alias)
}

func matchSegment(pattern, text string) bool {
	return pattern == "" || pattern == text || match(pattern, text)
}
