package audit

import "encoding/json"

// MarkKind says what a [Mark] is about.
type MarkKind string

// The kinds of marks.
const (
	// MarkDropped: the segments up to Before were removed to make room or
	// because of their age (Reason).
	MarkDropped MarkKind = "dropped"
	// MarkCut: when the log was opened, its last lines were torn, as a crash
	// leaves them: no line was ever answered for. Bytes were cut off; Digest is
	// their SHA-256.
	MarkCut MarkKind = "cut"
	// MarkBroken: when the log was opened, something was wrong with lines that
	// had been on disk. They were left as they are. File, Line and Expected
	// name the first, Reason says what is wrong, Count is how many faults there
	// were.
	MarkBroken MarkKind = "broken"
	// MarkFull: there was no room from Since to Time; Count records were
	// refused, and so their calls.
	MarkFull MarkKind = "full"
)

// Reasons of [MarkDropped].
const (
	reasonAge  = "age"
	reasonSize = "size"
	reasonFull = "full"
)

// Mark is a line that the log writes about itself: where the chain of records
// is not what a reader would expect, a mark says why. It has a sequence and a
// hash like every line.
type Mark struct {
	Kind     MarkKind `json:"mark"`
	Time     int64    `json:"time"` // Unix milliseconds
	Reason   string   `json:"reason,omitempty"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`     // from 1, in File
	Expected uint64   `json:"expected,omitempty"` // sequence of the line that should have been there
	From     uint64   `json:"from,omitempty"`     // first sequence dropped
	Before   uint64   `json:"before,omitempty"`   // first sequence kept
	Since    int64    `json:"since,omitempty"`    // Unix milliseconds
	Count    uint64   `json:"count,omitempty"`    // segments, faults or records
	Bytes    int64    `json:"bytes,omitempty"`
	Digest   *Hash    `json:"digest,omitempty"`

	// Of what was dropped: the first sequence that exporters had not sent yet,
	// and the first that no checkpoint covered that others hold; 0: none.
	Unexported  uint64 `json:"unexported,omitempty"`
	Unpublished uint64 `json:"unpublished,omitempty"`

	// Sequence is the mark's own, known once it is read.
	Sequence uint64 `json:"-"`
}

// body is the mark as members of a line.
func (m Mark) body() []byte {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers have a form
	}
	return text[1 : len(text)-1]
}

// parseMark reads a mark from the body of a line; it is not ok when the line
// is a record.
func parseMark(l line) (m Mark, ok bool) {
	rest := l.body
	if !skip(&rest, `"mark":`) {
		return m, false
	}
	text := append(append([]byte{'{'}, l.body...), '}')
	if json.Unmarshal(text, &m) != nil {
		return m, false
	}
	m.Sequence = l.seq
	return m, true
}
