package audit

import (
	"bytes"
	"slices"
)

// blockBuilder gathers what an index says of the blocks of a segment.
type blockBuilder struct {
	places []place // of all blocks so far
	number uint32  // of the block at hand

	at     block
	terms  []term // of the block, some more than once
	unique []term
	forms  [fieldCount][]byte // the newest of every field: most lines have the same as the one before
	fields fields
	timed  bool // the block has a record, and so a time
	last   Hash // of the newest line
	next   uint64
}

func (bb *blockBuilder) begin(first uint64) {
	*bb = blockBuilder{places: bb.places[:0], terms: bb.terms[:0], unique: bb.unique[:0], forms: bb.forms, next: first}
	bb.at.first = first
	bb.forget()
}

// forget has the next line's values taken, whatever the one before had.
func (bb *blockBuilder) forget() {
	for i := range bb.forms {
		bb.forms[i] = bb.forms[i][:0]
	}
}

// add takes a line; header says that it is the segment's first one.
func (bb *blockBuilder) add(raw []byte, isHeader bool) bool {
	if isHeader {
		h, err := parseHeader(raw)
		if err != nil {
			return false
		}
		bb.at.before, bb.last = h.Prev, h.hash
		return true
	}
	l, err := parseLine(raw)
	if err != nil || l.seq != bb.next || !scanFields(l.body, &bb.fields) {
		return false
	}
	if !bb.fields.mark {
		bb.record(&l)
	}
	bb.at.lines++
	bb.next++
	bb.last = l.hash
	return true
}

func (bb *blockBuilder) record(l *line) {
	f := &bb.fields
	if !bb.timed {
		bb.at.earliest, bb.at.latest, bb.timed = f.time, f.time, true
	}
	bb.at.earliest, bb.at.latest = min(bb.at.earliest, f.time), max(bb.at.latest, f.time)
	for i, form := range f.text {
		switch name := field(i); {
		case form == nil:
		case name.unique():
			bb.unique = append(bb.unique, termOf(name, form))
		case !bytes.Equal(form, bb.forms[i]): // a form has its quotes: none is empty
			bb.forms[i] = append(bb.forms[i][:0], form...)
			bb.terms = append(bb.terms, termOf(name, form))
		}
	}
	if f.otherID != nil {
		bb.terms = append(bb.terms, termOf(fieldResourceID, f.otherID))
	}
	for _, owner := range f.owners {
		if owner != nil {
			bb.terms = append(bb.terms, termOf(fieldProjectID, owner))
		}
	}
	id, _ := traceID(l.hash).MarshalText() // it has a form
	bb.unique = append(bb.unique, termOf(fieldTraceID, id))
}

// take ends the block.
func (bb *blockBuilder) take(unpacked int) block {
	b := bb.at
	b.unpacked = unpacked
	b.filter = appendBloom(nil, bb.unique)
	slices.Sort(bb.terms)
	for _, t := range slices.Compact(bb.terms) {
		bb.places = append(bb.places, place{t, bb.number})
	}
	bb.number++
	bb.terms, bb.unique = bb.terms[:0], bb.unique[:0]
	bb.forget()
	bb.at, bb.timed = block{first: bb.next, before: bb.last}, false
	return b
}
