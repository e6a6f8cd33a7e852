package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/server/wire"
)

// Version is the version of the form of segments that this package writes, the
// only one it reads.
const Version = 1

// Every line ends in its hash:
//
//	{"seq":7,"unsynced":0,"trace_name":…,"hash":"<64 hex digits>"}
//
// which is SHA-256 over the 32 bytes of the hash of the line before it,
// followed by the line up to the comma in front of "hash". Both parts have a
// fixed place (the first 32 bytes; all but the last 76 bytes of a line with
// its end), so no two lines have the same input. The line before a segment's
// header is the last line of the segment before it, and 32 zero bytes for the
// very first.
//
// seq counts lines from 1. unsynced says how many lines right before this one
// were not known to be on disk when it was written: all others were. It is what
// tells a line that a crash has torn from one that was altered later.
const (
	hashMember = `,"hash":"`
	lineEnd    = "\"}\n"
	sealSize   = len(hashMember) + 2*sha256.Size + len(lineEnd)

	// frameSize is the most that a line adds to its body.
	frameSize = len(`{"seq":,"unsynced":,`) + 2*20 + sealSize
	// maxSequence is more than a log ever has, and far from overflowing.
	maxSequence = 1 << 60
	// maxLine is more than any line has, its end included.
	maxLine = 24 << 10
)

// Hash is the hash of a line, which stands for all lines before it, too.
type Hash [sha256.Size]byte

// String is the hash as 64 lower-case hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText returns the hash as String does.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads 64 lower-case hex digits.
func (h *Hash) UnmarshalText(text []byte) error {
	got, ok := parseHash(text)
	if !ok {
		return errors.New("not 64 lower-case hex digits")
	}
	*h = got
	return nil
}

// TraceID is the id of the trace whose line has a hash: a UUID (version 8) made
// of its first bits.
func TraceID(h Hash) string { return traceID(h).String() }

func traceID(h Hash) uuid.UUID {
	id := uuid.UUID(h[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

func parseHash(text []byte) (h Hash, ok bool) {
	if len(text) != 2*len(h) || bytes.ContainsAny(text, "ABCDEF") {
		return h, false
	}
	_, err := hex.Decode(h[:], text)
	return h, err == nil
}

// chain is a place in the log: what the next line follows.
type chain struct {
	next uint64 // sequence of the next line
	last Hash   // of the line before it
	tree tree   // of all lines before it
	log  Hash   // which log it is: the hash of its very first header; zero before that

	growth *growth // of the tree, where it is to be proved; shared by copies: what a line that is taken back has left, its successor overwrites
	digest *hasher
	sum    [sha256.Size]byte
}

func newChain() chain {
	return chain{next: 1, tree: tree{from: 1}, digest: &hasher{Hash: sha256.New()}}
}

// link returns the hash of a line that follows last.
func (c *chain) link(last Hash, covered []byte) Hash {
	c.digest.Reset()
	c.sum = last // a field, so that nothing is allocated for it
	c.digest.Write(c.sum[:])
	c.digest.Write(covered)
	c.digest.Sum(c.sum[:0])
	return c.sum
}

// appendLine appends the next line; durable is the sequence of the first line
// that is not known to be on disk.
func (c *chain) appendLine(dst, body []byte, durable uint64) []byte {
	start := len(dst)
	dst = appendFrame(dst, c.next, c.next-durable)
	dst = append(dst, body...)
	c.last = c.link(c.last, dst[start:])
	c.tree.add(c.digest, c.last, c.growth)
	c.next++
	return appendSeal(dst, c.last)
}

func appendFrame(dst []byte, seq, unsynced uint64) []byte {
	dst = strconv.AppendUint(append(dst, `{"seq":`...), seq, 10)
	dst = strconv.AppendUint(append(dst, `,"unsynced":`...), unsynced, 10)
	return append(dst, ',')
}

func appendSeal(dst []byte, h Hash) []byte {
	dst = hex.AppendEncode(append(dst, hashMember...), h[:])
	return append(dst, lineEnd...)
}

// line is what a line says of itself; whether it is true is for a checker.
type line struct {
	seq      uint64
	unsynced uint64
	body     []byte // the members of the record or mark
	covered  []byte // what the hash covers of the line
	hash     Hash
}

var errForm = errors.New("this is no line of a trace log")

// parseLine reads a line with its end, exactly as it is written.
func parseLine(raw []byte) (line, error) {
	covered, h, err := unseal(raw)
	if err != nil {
		return line{}, err
	}
	l := line{covered: covered, hash: h}
	rest := covered
	ok := skip(&rest, `{"seq":`) && number(&rest, &l.seq) && skip(&rest, `,"unsynced":`) && number(&rest, &l.unsynced) && skip(&rest, `,`)
	if !ok || l.seq == 0 || l.seq > maxSequence || l.unsynced >= l.seq || len(rest) == 0 || rest[0] != '"' {
		return line{}, errForm
	}
	l.body = rest
	return l, nil
}

// unseal takes the hash off a line.
func unseal(raw []byte) (covered []byte, h Hash, err error) {
	if len(raw) <= sealSize || len(raw) > maxLine {
		return nil, h, errForm
	}
	covered, seal := raw[:len(raw)-sealSize], raw[len(raw)-sealSize:]
	if !skip(&seal, hashMember) || string(seal[2*sha256.Size:]) != lineEnd {
		return nil, h, errForm
	}
	h, ok := parseHash(seal[:2*sha256.Size])
	if !ok {
		return nil, h, errForm
	}
	return covered, h, nil
}

func skip(rest *[]byte, text string) bool {
	after, ok := bytes.CutPrefix(*rest, []byte(text))
	*rest = after
	return ok
}

// number reads a decimal number in its only form.
func number(rest *[]byte, n *uint64) bool {
	digits := 0
	for digits < len(*rest) && (*rest)[digits] >= '0' && (*rest)[digits] <= '9' {
		digits++
	}
	text := (*rest)[:digits]
	*rest = (*rest)[digits:]
	if digits == 0 || digits > 20 || digits > 1 && text[0] == '0' {
		return false
	}
	value, err := strconv.ParseUint(string(text), 10, 64)
	*n = value
	return err == nil
}

// header is the first line of a segment.
type header struct {
	Version uint64 `json:"segment"`
	NodeID  string `json:"node_id"`
	First   uint64 `json:"first"`  // sequence of the segment's first line after this one
	Oldest  uint64 `json:"oldest"` // sequence of the oldest line that was kept when the segment began
	Time    int64  `json:"time"`   // Unix milliseconds at which the segment began
	Prev    Hash   `json:"prev"`   // of the line before the header
	Log     Hash   `json:"log"`    // hash of the log's very first header; zero in that one
	From    uint64 `json:"tree_from"`
	Tree    []Hash `json:"tree"` // the edge of the tree of the lines from From on, see tree

	covered []byte
	hash    Hash
}

// appendHeader appends the header of a segment that begins at c.
func (c *chain) appendHeader(dst []byte, nodeID string, oldest uint64, unixMilli int64) []byte {
	start := len(dst)
	h := header{Version: Version, NodeID: nodeID, First: c.next, Oldest: oldest, Time: unixMilli, Prev: c.last,
		Log: c.log, From: c.tree.from, Tree: c.tree.hashes()}
	dst = h.append(dst)
	c.last = c.link(c.last, dst[start:])
	if c.log == (Hash{}) {
		c.log = c.last
	}
	return appendSeal(dst, c.last)
}

func (h *header) append(dst []byte) []byte {
	dst = strconv.AppendUint(append(dst, `{"segment":`...), h.Version, 10)
	dst = wire.AppendString(append(dst, `,"node_id":`...), h.NodeID)
	dst = strconv.AppendUint(append(dst, `,"first":`...), h.First, 10)
	dst = strconv.AppendUint(append(dst, `,"oldest":`...), h.Oldest, 10)
	dst = strconv.AppendInt(append(dst, `,"time":`...), h.Time, 10)
	dst = hex.AppendEncode(append(dst, `,"prev":"`...), h.Prev[:])
	dst = hex.AppendEncode(append(dst, `","log":"`...), h.Log[:])
	dst = strconv.AppendUint(append(dst, `","tree_from":`...), h.From, 10)
	dst = append(dst, `,"tree":[`...)
	for i := range h.Tree {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(hex.AppendEncode(append(dst, '"'), h.Tree[i][:]), '"')
	}
	return append(dst, ']')
}

// logID says which log the header is of.
func (h *header) logID() Hash {
	if h.Log == (Hash{}) {
		return h.hash
	}
	return h.Log
}

// parseHeader reads a header with its end, exactly as it is written. A version
// that is not known is [ErrVersion].
func parseHeader(raw []byte) (header, error) {
	var h header
	if rest := raw; skip(&rest, `{"segment":`) && number(&rest, &h.Version) && h.Version != Version && skip(&rest, `,`) {
		return h, fmt.Errorf("%w: %d", ErrVersion, h.Version)
	}
	covered, sum, err := unseal(raw)
	if err != nil {
		return h, err
	}
	// What is not written just so, is not one.
	if json.Unmarshal(append(bytes.Clone(covered), '}'), &h) != nil || !bytes.Equal(h.append(nil), covered) || h.First == 0 || h.First > maxSequence {
		return h, errForm
	}
	if _, ok := treeOf(h.From, h.First, h.Tree); !ok {
		return h, errForm
	}
	h.covered, h.hash = covered, sum
	return h, nil
}
