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

func (s *actionSet) add(i int) { s[i/64] |= 1 << (i % 64) }
func (s *actionSet) join(o *actionSet) {
	for i := range s {
		s[i] |= o[i]
	}
}
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

// resource is a compiled pattern of resources, in its five segments.
type resource struct {
	service, region, account segment
	key, alias, other        bool // whether the type is that of keys, of aliases, or any
	path                     segment
}

// segment is one segment of a pattern of resources.
type segment struct {
	text string
	is   form
}

// form says how a segment is compared: most are open or exact.
type form uint8

const (
	open form = iota // matches everything
	exact
	wild
)

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
	for _, part := range strings.SplitN(pattern, ":", segments) {
		if part == "" {
			return fmt.Errorf("a segment of the resource %q is empty: write * for any", pattern)
		}
	}
	return nil
}

// The types of resources of the service kms.
const (
	kindKey   = "keyid"
	kindAlias = "alias"
)

func compileResource(pattern string) resource {
	if pattern == "*" {
		pattern = "*:*:*:*:*"
	}
	parts := strings.SplitN(pattern, ":", segments) // an alias may hold colons
	kind := strings.ToLower(parts[3])
	return resource{
		service: compileSegment(strings.ToLower(parts[0])), region: compileSegment(parts[1]), account: compileSegment(parts[2]),
		key: match(kind, kindKey), alias: match(kind, kindAlias), other: strings.Trim(kind, "*") == "",
		path: compileSegment(parts[4]),
	}
}

func compileSegment(text string) segment {
	switch {
	case strings.Trim(text, "*") == "":
		return segment{is: open}
	case strings.Contains(text, "*"):
		return segment{text, wild}
	default:
		return segment{text, exact}
	}
}

func (s *segment) matches(text string) bool {
	switch s.is {
	case open:
		return true
	case exact:
		return s.text == text
	default:
		return match(s.text, text)
	}
}

// covers tells whether the statement is about the resource of the request. A
// request about no key is covered by patterns that leave type and path open.
func (s *statement) covers(r *Request, service string) bool {
	if len(s.resources) == 0 {
		return true
	}
	for i := range s.resources {
		if p := &s.resources[i]; p.names(r) && p.service.matches(service) && p.region.matches(r.Region) && p.account.matches(r.DomainID) {
			return true
		}
	}
	return false
}

// names tells whether type and path are those of the request's key.
func (p *resource) names(r *Request) bool {
	if !r.OnKey {
		return p.other && p.path.is == open
	}
	return p.key && p.path.matches(r.Key.ID) || p.alias && r.Key.Alias != "" && p.path.matches(r.Key.Alias)
}
