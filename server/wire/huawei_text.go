package wire

import (
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// isPlain tells whether a JSON string has a character as it is.
func isPlain(c byte) bool { return ' ' <= c && c < 0x7f && c != '"' && c != '\\' }

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// allPlain is isPlain of eight characters at once: bytes of w that are 0x80 or
// more, less than a space, or one of three, leave a high bit in what is put
// together here, and where none does there is none.
func allPlain(w uint64) bool {
	quote, slash, del := w^'"'*ones, w^'\\'*ones, w^0x7f*ones
	return (w|(w-' '*ones)&^w|(quote-ones)&^quote|(slash-ones)&^slash|(del-ones)&^del)&highs == 0
}

// plainFrom is where the run of plain characters ends that begins at i.
func plainFrom[T ~string | ~[]byte](s T, i int) int {
	for ; len(s)-i >= 8; i += 8 {
		if !allPlain(eight(s[i : i+8])) {
			break
		}
	}
	if n := len(s); n-i < 8 && n >= 8 && allPlain(eight(s[n-8:n])) {
		return n
	}
	for i < len(s) && isPlain(s[i]) {
		i++
	}
	return i
}

// eight are eight characters as a number; the compiler makes one load of it.
func eight[T ~string | ~[]byte](s T) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// AppendString appends s as a JSON string. Control characters, the C1 set
// included, are escaped, so that a line of JSON is one line on every terminal;
// bytes that are not UTF-8 become U+FFFD.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		// Nearly every character: runs of them are appended as they are.
		end := plainFrom(s, i)
		if dst, i = append(dst, s[i:end]...), end; i == len(s) {
			break
		}
		c := s[i]
		if c < utf8.RuneSelf {
			dst = appendEscaped(dst, c)
			i++
			continue
		}
		// At most four bytes make a rune; the copy stays on the stack.
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r < 0xa0 {
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		i += size
	}
	return append(dst, '"')
}

// appendEscaped appends an ASCII character that does not stand for itself.
func appendEscaped(dst []byte, c byte) []byte {
	switch {
	case c == '"' || c == '\\':
		return append(dst, '\\', c)
	case c == '\n':
		return append(dst, '\\', 'n')
	case c == '\r':
		return append(dst, '\\', 'r')
	case c == '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// appendUnquoted appends the text of a JSON string that is known to be well
// formed. It is not ok when the text holds half of a surrogate pair: there is
// no such text, and putting U+FFFD in its place would change what a caller
// encrypts. raw is never shorter than its text, so a dst with room for len(raw)
// is not moved.
func appendUnquoted(dst, raw []byte) (text []byte, ok bool) {
	raw = raw[1 : len(raw)-1]
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			continue
		}
		i++
		switch raw[i] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(raw[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				if len(raw) < i+7 || raw[i+1] != '\\' || raw[i+2] != 'u' {
					return dst, false
				}
				low, _ := hex4(raw[i+3:])
				if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
					return dst, false
				}
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
		default: // a quote, a backslash or a slash
			dst = append(dst, raw[i])
		}
	}
	return dst, true
}

// hex4 reads four hex digits.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		d, ok := hexValue(c)
		if !ok {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}

func hexValue(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
