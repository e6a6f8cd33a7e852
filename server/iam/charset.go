package iam

// charset is a set of bytes; one byte of a class costs one look into it.
type charset uint8

// The sets.
const (
	alphanumeric charset = 1 << iota
	unreserved           // RFC 3986 §2.3: what canonical URLs keep as it is
	headerName           // of the names of signed headers
	plainPath            // what a path may hold and be canonical already
	accessKey            // of access keys
)

var charsets = func() (table [256]charset) {
	for c := range 256 {
		b := byte(c)
		letter := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
		if letter {
			table[c] |= alphanumeric
		}
		if letter || b == '-' || b == '_' || b == '.' || b == '~' {
			table[c] |= unreserved | plainPath
		}
		if 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' {
			table[c] |= accessKey
		}
		if letter || b == '-' || b == '_' {
			table[c] |= headerName
		}
	}
	table['/'] |= plainPath
	return table
}()

func (s charset) has(c byte) bool { return charsets[c]&s != 0 }

func only(b []byte, s charset) bool {
	for _, c := range b {
		if !s.has(c) {
			return false
		}
	}
	return true
}

// sameName compares names of headers without regard to the case of letters.
func sameName(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i, c := range a {
		if c != b[i] && lower(c) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
