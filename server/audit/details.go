package audit

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"iter"
	"strconv"
)

// Bounds of details, in bytes.
const (
	maxDetails = 1 << 10 // of all members, as they are written
	maxDetail  = 256     // of one value
)

// Details are what a trace tells of a request, or of the answer to it, besides
// its other fields: the members of a JSON object. Nothing gets in by itself.
// An operation puts in what may be known of it, member by member, under names
// that are constants of the program: an allow-list, so that no secret is left
// out by mistake, because none is ever put in.
//
// What does not fit is left out as a whole, and the object says "truncated".
// The zero value is empty. A Details is not copied once it is used, and is for
// one goroutine.
type Details struct {
	text  []byte
	space [224]byte // for what is usual, so that nothing is allocated for it
	cut   bool
}

// Text puts in a string; an empty one is left out.
func (d *Details) Text(name, value string) {
	if value != "" {
		d.add(name, func(dst []byte) []byte { return appendCut(dst, value, maxDetail) })
	}
}

// maxSymbol is more than the longest of the symbols has, in bytes.
const maxSymbol = 40

// Symbol puts in one of a set of names that operations have, like that of an
// algorithm: capital letters, digits and _. What has another form was put there
// by a caller who mixed up the members, and may be a secret: the trace has a
// question mark instead. An empty one is left out.
func (d *Details) Symbol(name, value string) {
	symbol := len(value) <= maxSymbol
	for i := range min(len(value), maxSymbol) {
		c := value[i]
		symbol = symbol && ('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_')
	}
	if !symbol {
		value = "?"
	}
	d.Text(name, value)
}

// Number puts in a number.
func (d *Details) Number(name string, value int64) {
	d.add(name, func(dst []byte) []byte { return strconv.AppendInt(dst, value, 10) })
}

// Flag puts in a truth value.
func (d *Details) Flag(name string, value bool) {
	d.add(name, func(dst []byte) []byte { return strconv.AppendBool(dst, value) })
}

// Digest puts in bytes that stand for what must not be read, in hex.
func (d *Details) Digest(name string, digest []byte) {
	d.add(name, func(dst []byte) []byte { return append(hex.AppendEncode(append(dst, '"'), digest), '"') })
}

// Texts puts in a list of strings.
func (d *Details) Texts(name string, values []string) {
	d.add(name, func(dst []byte) []byte {
		dst = append(dst, '[')
		for i, v := range values {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendCut(dst, v, maxDetail)
		}
		return append(dst, ']')
	})
}

// Pairs puts in an object of strings.
func (d *Details) Pairs(name string, pairs iter.Seq2[string, string]) {
	d.add(name, func(dst []byte) []byte {
		dst = append(dst, '{')
		first := true
		for k, v := range pairs {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(appendCut(dst, k, maxDetail), ':')
			dst = appendCut(dst, v, maxDetail)
			if len(dst) > 2*maxDetails {
				break // it is too long already
			}
		}
		return append(dst, '}')
	})
}

func (d *Details) add(name string, value func(dst []byte) []byte) {
	if d.text == nil {
		d.text = d.space[:0]
	}
	before := len(d.text)
	text := d.text
	if before > 0 {
		text = append(text, ',')
	}
	text = append(append(append(text, '"'), name...), '"', ':')
	if text = value(text); len(text) > maxDetails {
		d.cut = true
		return
	}
	d.text = text
}

// Encoded is what has been put in, for [Details.Adopt] on another node.
func (d *Details) Encoded() []byte {
	if d.empty() {
		return nil
	}
	return d.appendObject(nil)
}

// Adopt puts in what another node's details hold, by their [Details.Encoded]. What
// has another form is left out, and the trace says that something is.
func (d *Details) Adopt(encoded []byte) {
	if len(encoded) == 0 {
		return
	}
	var members map[string]json.RawMessage
	within, one := bytes.CutPrefix(encoded, []byte("{"))
	within, closed := bytes.CutSuffix(within, []byte("}"))
	if len(encoded) > maxDetails+len(`{,"truncated":true}`) || !one || !closed || bytes.ContainsAny(within, "\r\n") || json.Unmarshal(encoded, &members) != nil {
		d.cut = true
		return
	}
	d.text = append(d.space[:0], within...)
}

// empty tells whether there is nothing to tell; of nil, too.
func (d *Details) empty() bool { return d == nil || len(d.text) == 0 && !d.cut }

// appendObject appends the details as one JSON object.
func (d *Details) appendObject(dst []byte) []byte {
	dst = append(append(dst, '{'), d.text...)
	if d.cut {
		if len(d.text) > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `"truncated":true`...)
	}
	return append(dst, '}')
}

// String is the object, for people and tests; empty when there is nothing.
func (d *Details) String() string {
	if d.empty() {
		return ""
	}
	return string(d.appendObject(nil))
}

// appendMember appends the object as the member of a line.
func (d *Details) appendMember(dst []byte, name string) []byte {
	if d.empty() {
		return dst
	}
	return d.appendObject(append(append(append(dst, `,"`...), name...), `":`...))
}
