package wire

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// Problems that a [MemberError] tells.
const (
	notString  = "must be a string"
	notUnicode = "is not valid Unicode text"
	notBool    = "must be true or false"
	notInteger = "must be a whole number"
	notHex     = "must be hexadecimal, two digits a byte"
	notBase64  = "must be standard base64 without line breaks"
	notObject  = "must be an object as the reference describes it"
	notList    = "must be a list of at most 1024 elements"
	notContext = "must be a string, or an object of at most 64 strings"
)

func isNull(raw []byte) bool { return raw[0] == 'n' }

// isAbsent tells whether a value that is no string says that there is none.
func isAbsent(raw []byte) bool { return isNull(raw) || string(raw) == `""` }

// setText takes a string.
func setText(into *string, name, raw []byte) error {
	if raw[0] == '"' && !slices.Contains(raw, '\\') {
		*into = string(raw[1 : len(raw)-1])
		return nil
	}
	var t Text
	if err := t.set(name, raw); err != nil {
		return err
	}
	*into = string(t)
	return nil
}

// fromJSON lets encoding/json, on the side of a client, read a value with the
// code that the server reads it with.
func fromJSON(raw []byte, set func(name, raw []byte) error) error {
	return set([]byte("the value"), raw)
}

// FlexInt is an integer that clients send as a number or as a string. The
// empty string means that it is absent. It is encoded as a string, which is
// what the reference documents.
type FlexInt struct {
	Value int64
	Set   bool
}

// Int returns n as a FlexInt.
func Int(n int64) FlexInt { return FlexInt{Value: n, Set: true} }

func (n *FlexInt) set(name, raw []byte) error {
	if isNull(raw) {
		return nil
	}
	digits := raw
	if raw[0] == '"' {
		if digits = raw[1 : len(raw)-1]; len(digits) == 0 {
			return nil
		}
	}
	value, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || digits[0] == '+' {
		return &MemberError{string(name), notInteger}
	}
	*n = Int(value)
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (n FlexInt) MarshalJSON() ([]byte, error) {
	if !n.Set {
		return []byte(`""`), nil
	}
	return append(strconv.AppendInt([]byte{'"'}, n.Value, 10), '"'), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *FlexInt) UnmarshalJSON(raw []byte) error { return fromJSON(raw, n.set) }

// FlexBool is a truth value that clients send as one or as a string.
type FlexBool bool

func (b *FlexBool) set(name, raw []byte) error {
	switch string(raw) {
	case "true", `"true"`:
		*b = true
	case "false", `"false"`, `""`, "null":
		*b = false
	default:
		return &MemberError{string(name), notBool}
	}
	return nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (b *FlexBool) UnmarshalJSON(raw []byte) error { return fromJSON(raw, b.set) }

// FlexString is a string that some clients send as a number.
type FlexString string

func (s *FlexString) set(name, raw []byte) error {
	if raw[0] == '-' || isDigit(raw[0]) {
		*s = FlexString(raw)
		return nil
	}
	return setText((*string)(s), name, raw)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *FlexString) UnmarshalJSON(raw []byte) error { return fromJSON(raw, s.set) }

// Text is a string kept as bytes, so that who holds it can wipe it.
type Text []byte

func (t *Text) set(name, raw []byte) error {
	if isNull(raw) {
		return nil
	}
	if raw[0] != '"' {
		return &MemberError{string(name), notString}
	}
	text, ok := appendUnquoted(make([]byte, 0, len(raw)), raw)
	if !ok {
		clear(text)
		return &MemberError{string(name), notUnicode}
	}
	*t = text
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (t Text) MarshalJSON() ([]byte, error) { return AppendString(nil, t), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (t *Text) UnmarshalJSON(raw []byte) error { return fromJSON(raw, t.set) }

// Hex is bytes that the wire carries as hexadecimal: upper case out, either in.
type Hex []byte

func (h *Hex) set(name, raw []byte) error {
	if isNull(raw) {
		return nil
	}
	if raw[0] != '"' {
		return &MemberError{string(name), notString}
	}
	digits := raw[1 : len(raw)-1]
	if len(digits)%2 != 0 {
		return &MemberError{string(name), notHex}
	}
	value := make([]byte, len(digits)/2)
	for i := range value {
		high, ok1 := hexValue(digits[2*i])
		low, ok2 := hexValue(digits[2*i+1])
		if !ok1 || !ok2 {
			clear(value)
			return &MemberError{string(name), notHex}
		}
		value[i] = high<<4 | low
	}
	*h = value
	return nil
}

func (h Hex) appendTo(dst []byte) []byte {
	const upper = "0123456789ABCDEF"
	dst = append(slices.Grow(dst, 2*len(h)+2), '"')
	digits := dst[len(dst) : len(dst)+2*len(h)]
	for i, b := range h {
		digits[2*i], digits[2*i+1] = upper[b>>4], upper[b&15]
	}
	return append(dst[:len(dst)+len(digits)], '"')
}

// MarshalJSON implements [json.Marshaler].
func (h Hex) MarshalJSON() ([]byte, error) { return h.appendTo(nil), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (h *Hex) UnmarshalJSON(raw []byte) error { return fromJSON(raw, h.set) }

// LowerHex is Hex for a reply whose hex is in lower case.
type LowerHex []byte

func (h LowerHex) appendTo(dst []byte) []byte {
	return append(hex.AppendEncode(append(dst, '"'), h), '"')
}

// MarshalJSON implements [json.Marshaler].
func (h LowerHex) MarshalJSON() ([]byte, error) { return h.appendTo(nil), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (h *LowerHex) UnmarshalJSON(raw []byte) error { return fromJSON(raw, (*Hex)(h).set) }

// Base64 is bytes that the wire carries as standard base64 with padding
// (RFC 4648 §4). Other spellings of the same bytes are refused.
type Base64 []byte

func (b *Base64) set(name, raw []byte) error {
	if isNull(raw) {
		return nil
	}
	if raw[0] != '"' {
		return &MemberError{string(name), notString}
	}
	digits := raw[1 : len(raw)-1]
	if slices.Contains(digits, '\\') {
		// JSON lets a slash be escaped, and some encoders do so.
		text, ok := appendUnquoted(make([]byte, 0, len(raw)), raw)
		if digits = text; !ok {
			return &MemberError{string(name), notBase64}
		}
	}
	if slices.Contains(digits, '\n') || slices.Contains(digits, '\r') { // which the decoder skips
		return &MemberError{string(name), notBase64}
	}
	value, err := base64.StdEncoding.Strict().AppendDecode(make([]byte, 0, base64.StdEncoding.DecodedLen(len(digits))), digits)
	if err != nil {
		clear(value)
		return &MemberError{string(name), notBase64}
	}
	*b = value
	return nil
}

func (b Base64) appendTo(dst []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"')
}

// MarshalJSON implements [json.Marshaler].
func (b Base64) MarshalJSON() ([]byte, error) { return b.appendTo(nil), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (b *Base64) UnmarshalJSON(raw []byte) error { return fromJSON(raw, b.set) }

// Context is an encryption context: nothing (the zero value), a string, or an
// object of strings. The reference documents the object; half of the clients
// send a string. The two never mean the same.
type Context struct {
	String string
	Map    map[string]string // given, String is empty
}

func (c *Context) set(name, raw []byte) error {
	switch {
	case isNull(raw):
		return nil
	case raw[0] == '"':
		return setText(&c.String, name, raw)
	case raw[0] == '{':
		entries := make(contextEntries)
		s := scanner{data: raw}
		if err := s.object(1, entries); err != nil {
			return &MemberError{string(name), notContext}
		}
		c.Map = entries
		return nil
	}
	return &MemberError{string(name), notContext}
}

// contextEntries are the members of a context that is an object.
type contextEntries map[string]string

func (e contextEntries) member(name, raw []byte) error {
	if raw[0] != '"' {
		return fmt.Errorf("%w: a context holds strings", ErrSyntax)
	}
	var value string
	if err := setText(&value, name, raw); err != nil {
		return err
	}
	e[string(name)] = value
	return nil
}

// MarshalJSON implements [json.Marshaler].
func (c Context) MarshalJSON() ([]byte, error) {
	if c.Map != nil {
		return json.Marshal(c.Map)
	}
	return AppendString(nil, c.String), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *Context) UnmarshalJSON(raw []byte) error { return fromJSON(raw, c.set) }
