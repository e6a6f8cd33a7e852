package policy

import (
	"net/netip"
	"strings"
)

// condition is a compiled [Condition].
type condition struct {
	kind     kind
	negated  bool // holds when no value matches
	ifExists bool // holds when the request has nothing to compare
	fold     bool // in any case of letters
	sign     order
	subject  subject
	tag      string // of subjectTag

	texts    []string       // of kindText, kindPattern, kindPrefix, kindSuffix; folded where fold is set
	numbers  []int64        // of kindNumber, kindDate (Unix ms)
	flags    []bool         // of kindBool, kindNull
	networks []netip.Prefix // of kindAddress
}

// kind is what a condition compares. The zero kind cannot be judged.
type kind uint8

const (
	kindUnknown kind = iota
	kindText
	kindPattern
	kindPrefix
	kindSuffix
	kindNumber
	kindDate
	kindBool
	kindAddress
	kindNull
)

// order is how numbers and dates are compared: the bits of what may be.
type order uint8

const (
	less order = 1 << iota
	equal
	greater
)

// subject is what of the request is compared. The zero subject is none that
// this binary knows.
type subject uint8

const (
	subjectUnknown subject = iota
	subjectUserID
	subjectUserName
	subjectDomainID
	subjectDomainName
	subjectProjectID
	subjectProjectName
	subjectService
	subjectRegion
	subjectSource
	subjectTime
	subjectMFA
	subjectMFAAge
	subjectKeyID
	subjectKeySpec
	subjectKeyUsage
	subjectKeyOrigin
	subjectKeyAlias
	subjectTag
)

// tagPrefix begins the condition keys that name a tag of the key.
const tagPrefix = "g:resourcetag/"

// subjectOf finds a condition key, in any case of letters. What follows
// [tagPrefix] is the tag's name as it stands.
func subjectOf(key string) (s subject, tag string) {
	folded := strings.ToLower(key)
	if strings.HasPrefix(folded, tagPrefix) && len(key) > len(tagPrefix) {
		return subjectTag, key[len(tagPrefix):]
	}
	switch folded {
	case "g:userid":
		return subjectUserID, ""
	case "g:username":
		return subjectUserName, ""
	case "g:domainid":
		return subjectDomainID, ""
	case "g:domainname":
		return subjectDomainName, ""
	case "g:projectid":
		return subjectProjectID, ""
	case "g:projectname":
		return subjectProjectName, ""
	case "g:servicename":
		return subjectService, ""
	case "g:requestedregion":
		return subjectRegion, ""
	case "g:sourceip":
		return subjectSource, ""
	case "g:currenttime":
		return subjectTime, ""
	case "g:mfapresent":
		return subjectMFA, ""
	case "g:mfaage":
		return subjectMFAAge, ""
	case "kms:keyid":
		return subjectKeyID, ""
	case "kms:keyspec":
		return subjectKeySpec, ""
	case "kms:keyusage":
		return subjectKeyUsage, ""
	case "kms:keyorigin":
		return subjectKeyOrigin, ""
	case "kms:keyalias":
		return subjectKeyAlias, ""
	default:
		return subjectUnknown, ""
	}
}

// compileCondition reads operator, key and values. What it does not know stays
// of kindUnknown.
func compileCondition(given *Condition) condition {
	c := operator(given.Operator)
	c.subject, c.tag = subjectOf(given.Key)
	if c.subject == subjectUnknown || !c.fits() || !c.read(given.Values) {
		return condition{}
	}
	return c
}

// operator reads the name of an operator: what it compares, whether it is
// negated, and IfExists behind it.
func operator(name string) condition {
	name, ifExists := strings.CutSuffix(name, "IfExists")
	c := condition{ifExists: ifExists}
	switch name {
	case "StringEquals":
		c.kind = kindText
	case "StringNotEquals":
		c.kind, c.negated = kindText, true
	case "StringEqualsIgnoreCase":
		c.kind, c.fold = kindText, true
	case "StringNotEqualsIgnoreCase":
		c.kind, c.fold, c.negated = kindText, true, true
	case "StringLike", "StringMatch":
		c.kind = kindPattern
	case "StringNotLike", "StringNotMatch":
		c.kind, c.negated = kindPattern, true
	case "StringStartWith":
		c.kind = kindPrefix
	case "StringNotStartWith":
		c.kind, c.negated = kindPrefix, true
	case "StringEndWith":
		c.kind = kindSuffix
	case "StringNotEndWith":
		c.kind, c.negated = kindSuffix, true
	case "Bool":
		c.kind = kindBool
	case "Null", "IsNullOrEmpty":
		c.kind = kindNull
	case "IpAddress":
		c.kind = kindAddress
	case "NotIpAddress":
		c.kind, c.negated = kindAddress, true
	default:
		c.ordered(name)
	}
	return c
}

// ordered reads the operators on numbers and dates.
func (c *condition) ordered(name string) {
	rest, isDate := strings.CutPrefix(name, "Date")
	if !isDate {
		var isNumber bool
		if rest, isNumber = strings.CutPrefix(name, "Numeric"); !isNumber {
			rest, isNumber = strings.CutPrefix(name, "Number")
		}
		if !isNumber {
			return
		}
	}
	switch rest {
	case "Equals":
		c.sign = equal
	case "NotEquals":
		c.sign, c.negated = equal, true
	case "LessThan":
		c.sign = less
	case "LessThanEquals":
		c.sign = less | equal
	case "GreaterThan":
		c.sign = greater
	case "GreaterThanEquals":
		c.sign = greater | equal
	default:
		return
	}
	c.kind = kindNumber
	if isDate {
		c.kind = kindDate
	}
}

// fits tells whether the operator can compare the subject.
func (c *condition) fits() bool {
	switch c.kind {
	case kindUnknown:
		return false
	case kindNull:
		return true
	case kindText, kindPattern, kindPrefix, kindSuffix:
		return c.subject != subjectTime && c.subject != subjectMFA && c.subject != subjectMFAAge
	case kindNumber:
		return c.subject == subjectMFAAge || c.subject == subjectTag
	case kindDate:
		return c.subject == subjectTime
	case kindBool:
		return c.subject == subjectMFA || c.subject == subjectTag
	default: // kindAddress
		return c.subject == subjectSource
	}
}

// read reads the values; one that cannot be read spoils the condition.
func (c *condition) read(values []string) bool {
	for _, value := range values {
		switch c.kind {
		case kindText, kindPattern, kindPrefix, kindSuffix:
			if c.kind == kindPattern && strings.Count(value, "*") > MaxWildcards {
				return false
			}
			if c.fold {
				value = strings.ToLower(value)
			}
			c.texts = append(c.texts, value)
		case kindNumber:
			n, ok := parseNumber(value)
			if !ok {
				return false
			}
			c.numbers = append(c.numbers, n)
		case kindDate:
			at, ok := parseDate(value)
			if !ok {
				return false
			}
			c.numbers = append(c.numbers, at)
		case kindBool, kindNull:
			flag, ok := parseBool(value)
			if !ok {
				return false
			}
			c.flags = append(c.flags, flag)
		default: // kindAddress
			network, ok := parseNetwork(value)
			if !ok {
				return false
			}
			c.networks = append(c.networks, network)
		}
	}
	return len(values) > 0
}
