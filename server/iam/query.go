package iam

import (
	"bytes"
	"encoding/hex"
	"slices"
)

// maxPairs is how many pairs the query of a signed request may have.
const maxPairs = 128

// query is a parsed query. Its room is used again for the next one.
type query struct {
	pairs   []pair
	decoded []byte // what keys and values lie in
}

// pair is one key with one value, decoded.
type pair struct {
	key, value []byte
}

// parse reads a query as it was received: pairs between '&', '+' for a space,
// escapes decoded. It refuses what a strict parser refuses: a bad escape, and
// the semicolon, which some read as a separator and some do not.
func (q *query) parse(raw []byte) bool {
	clear(q.pairs)
	q.pairs, q.decoded = q.pairs[:0], slices.Grow(q.decoded[:0], len(raw))
	for more := true; more; {
		var part []byte
		part, raw, more = bytes.Cut(raw, []byte("&"))
		if len(part) == 0 {
			continue
		}
		if bytes.IndexByte(part, ';') >= 0 || len(q.pairs) == maxPairs {
			return false
		}
		key, value, _ := bytes.Cut(part, []byte("="))
		var p pair
		var ok, ok2 bool
		p.key, ok = q.decode(key)
		p.value, ok2 = q.decode(value)
		if !ok || !ok2 {
			return false
		}
		q.pairs = append(q.pairs, p)
	}
	return true
}

// decode unescapes a part of the query. There is room for all of it, so what
// was decoded before stays where it is.
func (q *query) decode(part []byte) ([]byte, bool) {
	start := len(q.decoded)
	for i := 0; i < len(part); i++ {
		c := part[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			var one [1]byte
			if i+3 > len(part) {
				return nil, false
			}
			if _, err := hex.Decode(one[:], part[i+1:i+3]); err != nil {
				return nil, false
			}
			c = one[0]
			i += 2
		}
		q.decoded = append(q.decoded, c)
	}
	return q.decoded[start:len(q.decoded):len(q.decoded)], true
}

// appendCanonical appends the query with keys, and values of one key, in
// order. A scheme that signs the first value of a key only has a second one,
// which nobody vouches for, refused.
func (q *query) appendCanonical(dst []byte, sch *scheme) ([]byte, bool) {
	slices.SortFunc(q.pairs, func(a, b pair) int {
		if sch.firstValue {
			if c := compareFold(a.key, b.key); c != 0 {
				return c
			}
		}
		if c := bytes.Compare(a.key, b.key); c != 0 {
			return c
		}
		return bytes.Compare(a.value, b.value)
	})
	for i, p := range q.pairs {
		if i > 0 {
			if sch.firstValue && bytes.Equal(p.key, q.pairs[i-1].key) {
				return dst, false
			}
			dst = append(dst, '&')
		}
		dst = append(appendEscaped(dst, p.key, false), '=')
		dst = appendEscaped(dst, p.value, false)
	}
	return dst, true
}

// appendForm appends the query as a form is encoded: in the order of keys, the
// values of one key as they came, '+' for a space.
func (q *query) appendForm(dst []byte) []byte {
	slices.SortStableFunc(q.pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	for i, p := range q.pairs {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = append(appendEscaped(dst, p.key, true), '=')
		dst = appendEscaped(dst, p.value, true)
	}
	return dst
}

func appendEscaped(dst, text []byte, form bool) []byte {
	for _, c := range text {
		if form && c == ' ' {
			dst = append(dst, '+')
		} else {
			dst = appendEncoded(dst, c)
		}
	}
	return dst
}

// compareFold orders texts without regard to the case of ASCII letters.
func compareFold(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}
