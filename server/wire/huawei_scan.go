package wire

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"
)

const (
	maxMembers = 64 // of one object whose members are looked at
	maxDepth   = 16 // of arrays and objects inside one another
)

// ErrSyntax: the body is not one JSON object (RFC 8259), is not UTF-8, names a
// member twice, or is nested deeper or wider than any request is.
var ErrSyntax = errors.New("malformed JSON")

// ErrQuery: the arguments in a request's URL are not UTF-8, name one twice, or
// are more than any request has.
var ErrQuery = errors.New("malformed query")

// MemberError says that a member of a request has a value of a type or form
// that it cannot have. It never quotes the value.
type MemberError struct {
	Member  string
	Problem string // completes the sentence that starts with the member's name
}

// Error returns the sentence.
func (e *MemberError) Error() string { return e.Member + " " + e.Problem }

// Decode reads the body of a request. White space around the object is
// allowed and nothing else; an empty body is the empty object. Members with
// unknown names are checked for syntax and ignored; a name given twice is
// refused, since which one counts would be anybody's guess. Errors are
// [ErrSyntax] and [*MemberError].
func Decode(body []byte, into Request) error {
	if !utf8.Valid(body) {
		return fmt.Errorf("%w: not UTF-8", ErrSyntax)
	}
	s := scanner{data: body}
	if s.space(); s.at == len(body) {
		return nil
	}
	if err := s.object(1, into); err != nil {
		return err
	}
	if s.space(); s.at != len(body) {
		return s.fail("something follows the object")
	}
	return nil
}

// DecodeArguments gives a request the arguments of a query, as if its body had
// members of those names with the values as strings. As in a body, a name given
// twice is refused: an answer to the one or the other would be a wrong one
// without a word. Errors are [ErrQuery] and [*MemberError].
func DecodeArguments(arguments iter.Seq2[[]byte, []byte], into Request) error {
	var space [maxMembers][]byte
	seen := space[:0]
	for name, value := range arguments {
		if !utf8.Valid(name) || !utf8.Valid(value) {
			return fmt.Errorf("%w: not UTF-8", ErrQuery)
		}
		var err error
		if seen, err = remember(seen, name); err != nil {
			return fmt.Errorf("%w: an argument is named twice, or there are more than %d", ErrQuery, maxMembers)
		}
		if err := into.member(name, AppendString(nil, value)); err != nil {
			return err
		}
	}
	return nil
}

// members takes the members of an object one after another.
type members interface {
	member(name, raw []byte) error
}

// scanner walks over JSON text and checks its syntax. It copies nothing: raw
// values are slices of data.
type scanner struct {
	data []byte
	at   int
}

func (s *scanner) fail(why string) error {
	return fmt.Errorf("%w at byte %d: %s", ErrSyntax, s.at, why)
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// take steps over c if it comes next.
func (s *scanner) take(c byte) bool {
	if s.at < len(s.data) && s.data[s.at] == c {
		s.at++
		return true
	}
	return false
}

// object reads an object. With a taker it must have at most maxMembers members
// of different names; without one only its syntax counts.
func (s *scanner) object(depth int, taker members) error {
	if depth > maxDepth {
		return s.fail("nested too deep")
	}
	if !s.take('{') {
		return s.fail("an object is expected")
	}
	var space [maxMembers][]byte
	seen := space[:0]
	if s.space(); s.take('}') {
		return nil
	}
	for {
		s.space()
		name, err := s.name()
		if err != nil {
			return err
		}
		s.space()
		if !s.take(':') {
			return s.fail("a colon is expected")
		}
		s.space()
		start := s.at
		if err := s.value(depth + 1); err != nil {
			return err
		}
		if taker != nil {
			if seen, err = remember(seen, name); err != nil {
				return err
			}
			if err := taker.member(name, s.data[start:s.at]); err != nil {
				return err
			}
		}
		s.space()
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return s.fail("a comma or the end of the object is expected")
		}
	}
}

func remember(seen [][]byte, name []byte) ([][]byte, error) {
	for _, other := range seen {
		if bytes.Equal(other, name) {
			return nil, fmt.Errorf("%w: a member is named twice", ErrSyntax)
		}
	}
	if len(seen) == maxMembers {
		return nil, fmt.Errorf("%w: more than %d members", ErrSyntax, maxMembers)
	}
	return append(seen, name), nil
}

// name reads a member's name and returns it without quotes and escapes.
func (s *scanner) name() ([]byte, error) {
	start := s.at
	if err := s.text(); err != nil {
		return nil, err
	}
	quoted := s.data[start:s.at]
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	name, ok := appendUnquoted(nil, quoted)
	if !ok {
		return nil, s.fail("half of a surrogate pair")
	}
	return name, nil
}

// value steps over any value.
func (s *scanner) value(depth int) error {
	if s.at == len(s.data) {
		return s.fail("a value is expected")
	}
	switch c := s.data[s.at]; {
	case c == '"':
		return s.text()
	case c == '{':
		return s.object(depth, nil)
	case c == '[':
		return s.array(depth)
	case c == '-' || isDigit(c):
		return s.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.data[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	return s.fail("a value is expected")
}

func (s *scanner) array(depth int) error {
	if depth > maxDepth {
		return s.fail("nested too deep")
	}
	s.at++
	if s.space(); s.take(']') {
		return nil
	}
	for {
		s.space()
		if err := s.value(depth + 1); err != nil {
			return err
		}
		s.space()
		if s.take(']') {
			return nil
		}
		if !s.take(',') {
			return s.fail("a comma or the end of the array is expected")
		}
	}
}

func (s *scanner) text() error {
	if !s.take('"') {
		return s.fail("a string is expected")
	}
	for s.at < len(s.data) {
		c := s.data[s.at]
		s.at++
		switch {
		case c == '"':
			return nil
		case c < ' ':
			return s.fail("a control character in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		}
	}
	return s.fail("a string without an end")
}

// escape checks what follows a backslash.
func (s *scanner) escape() error {
	if s.at < len(s.data) {
		c := s.data[s.at]
		s.at++
		switch c {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			return nil
		case 'u':
			if _, ok := hex4(s.data[s.at:]); ok {
				s.at += 4
				return nil
			}
		}
	}
	return s.fail("an unknown escape in a string")
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return s.fail("a digit is expected")
	}
	if s.take('.') && !s.digits() {
		return s.fail("a digit is expected")
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		if !s.digits() {
			return s.fail("a digit is expected")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.at
	for s.at < len(s.data) && isDigit(s.data[s.at]) {
		s.at++
	}
	return s.at > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
