package policy

import (
	"net/netip"
	"strings"
)

// holds tells whether the condition holds for the request; unjudged is the
// answer of one that cannot be judged. It allocates nothing.
//
// Where the request has nothing to compare (no key, no such tag) a negated
// condition holds and another does not, unless it says IfExists.
func (c *condition) holds(r *Request, unjudged bool) bool {
	if c.kind == kindUnknown {
		return unjudged
	}
	if c.kind == kindNull {
		return c.anyFlag(!c.exists(r))
	}
	if !c.exists(r) {
		return c.ifExists || c.negated
	}
	return c.matches(r) != c.negated
}

// exists tells whether the request has what is compared.
func (c *condition) exists(r *Request) bool {
	switch c.subject {
	case subjectTime, subjectMFA, subjectService:
		return true
	case subjectMFAAge:
		return false // no credential says how old its second factor is
	default:
		text, ok := c.text(r)
		return ok && text != ""
	}
}

// text is what is compared, where that is text.
func (c *condition) text(r *Request) (string, bool) {
	switch c.subject {
	case subjectUserID:
		return r.UserID, true
	case subjectUserName:
		return r.UserName, true
	case subjectDomainID:
		return r.DomainID, true
	case subjectDomainName:
		return r.DomainName, true
	case subjectProjectID:
		return r.ProjectID, true
	case subjectProjectName:
		return r.ProjectName, true
	case subjectRegion:
		return r.Region, true
	case subjectSource:
		return r.Source, true
	case subjectService:
		return r.read().service, true
	}
	if !r.OnKey {
		return "", false
	}
	switch c.subject {
	case subjectKeyID:
		return r.Key.ID, true
	case subjectKeySpec:
		return r.Key.Spec, true
	case subjectKeyUsage:
		return r.Key.Usage, true
	case subjectKeyOrigin:
		return r.Key.Origin, true
	case subjectKeyAlias:
		return r.Key.Alias, true
	case subjectTag:
		if r.Key.Tags != nil {
			return r.Key.Tags.Tag(c.tag)
		}
	}
	return "", false
}

// matches tells whether one of the values matches what is there.
func (c *condition) matches(r *Request) bool {
	switch c.kind {
	case kindNumber:
		text, _ := c.text(r)
		n, ok := parseNumber(text)
		return ok && c.anyNumber(n)
	case kindDate:
		return c.anyNumber(r.Now)
	case kindBool:
		flag, ok := r.MFA, true
		if c.subject == subjectTag {
			text, _ := c.text(r)
			flag, ok = parseBool(text)
		}
		return ok && c.anyFlag(flag)
	case kindAddress:
		address, ok := r.address()
		return ok && c.anyNetwork(address)
	default:
		text, _ := c.text(r)
		return c.anyText(text)
	}
}

func (c *condition) anyText(text string) bool {
	for _, value := range c.texts {
		switch c.kind {
		case kindPattern:
			if match(value, text) {
				return true
			}
		case kindPrefix:
			if strings.HasPrefix(text, value) {
				return true
			}
		case kindSuffix:
			if strings.HasSuffix(text, value) {
				return true
			}
		default:
			if text == value || c.fold && strings.EqualFold(text, value) {
				return true
			}
		}
	}
	return false
}

func (c *condition) anyNumber(n int64) bool {
	for _, value := range c.numbers {
		is := equal
		if n < value {
			is = less
		} else if n > value {
			is = greater
		}
		if c.sign&is != 0 {
			return true
		}
	}
	return false
}

func (c *condition) anyFlag(flag bool) bool {
	for _, value := range c.flags {
		if value == flag {
			return true
		}
	}
	return false
}

func (c *condition) anyNetwork(address netip.Addr) bool {
	for _, network := range c.networks {
		if network.Contains(address) {
			return true
		}
	}
	return false
}
