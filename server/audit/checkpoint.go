package audit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Checkpoint says how far a log goes and what it holds: the size and the root
// of its tree. Signed, and kept by others, it shows whatever is done later to
// any line before it.
type Checkpoint struct {
	Origin string // cluster and node, see [Origin]
	Log    Hash   // which log of that node: the hash of its very first header
	From   uint64 // sequence of the first line that the tree covers
	Size   uint64 // lines
	Root   Hash
	Last   Hash  // of the last line
	Time   int64 // Unix milliseconds, by the node's clock
}

// Next is the sequence of the first line that the checkpoint does not cover.
func (c *Checkpoint) Next() uint64 { return c.From + c.Size }

// Words are how a person is told which checkpoint is meant.
func (c *Checkpoint) Words() string {
	return fmt.Sprintf("the one of %s, which went to sequence %d", millis(c.Time), c.Next()-1)
}

// Origin names the log of a node of a cluster, in checkpoints and as the name
// of its key.
func Origin(clusterID, nodeID string) string { return clusterID + "/audit/" + nodeID }

// Contradicts tells whether a checkpoint and one that was kept before, of the
// same node, cannot both be of one log that only grew, and how. That they agree
// is proved by nothing but the lines, see [VerifyAgainst].
func (c *Checkpoint) Contradicts(kept Checkpoint) (how string, does bool) {
	was := kept.Words()
	switch {
	case c.Log != kept.Log:
		return "it is of another log than " + was, true
	case c.Next() == kept.Next() && (c.Last != kept.Last || c.From == kept.From && c.Root != kept.Root):
		return "it is of other lines than " + was, true
	case c.Next() < kept.Next() && c.Time > kept.Time:
		return fmt.Sprintf("it goes to sequence %d only, and was made after %s", c.Next()-1, was), true
	}
	return "", false
}

// text is the checkpoint in the form of a transparency log's (C2SP
// tlog-checkpoint): origin, size, root, and lines of our own.
func (c *Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\nlog %s\nfrom %d\nlast %s\ntime %d\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]), c.Log, c.From, c.Last, c.Time)
}

// Sign returns the checkpoint as a signed note.
func (c *Checkpoint) Sign(signer note.Signer) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing a checkpoint of the traces: %w", err)
	}
	return signed, nil
}

// ErrCheckpoint: a note is no checkpoint, or not signed with the key.
var ErrCheckpoint = errors.New("this is no checkpoint that the key has signed")

// maxNote bounds a signed note, in bytes.
const maxNote = 2048

// OpenCheckpoint reads a signed note. verifierKey is the public key, in the
// form of [VerifierKey].
func OpenCheckpoint(signed []byte, verifierKey string) (c Checkpoint, err error) {
	verifier, err := parseVerifier(verifierKey)
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if len(signed) > maxNote {
		return c, ErrCheckpoint
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	for _, s := range opened.Sigs {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return c, fmt.Errorf("%w: its signature has another spelling than ours", ErrCheckpoint)
		}
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 8 {
		return c, ErrCheckpoint
	}
	c.Origin = lines[0]
	root, rootErr := base64.StdEncoding.DecodeString(lines[2])
	copy(c.Root[:], root)
	var sizeErr, fromErr, timeErr error
	c.Size, sizeErr = strconv.ParseUint(lines[1], 10, 64)
	logErr := c.Log.UnmarshalText([]byte(strings.TrimPrefix(lines[3], "log ")))
	c.From, fromErr = strconv.ParseUint(strings.TrimPrefix(lines[4], "from "), 10, 64)
	lastErr := c.Last.UnmarshalText([]byte(strings.TrimPrefix(lines[5], "last ")))
	c.Time, timeErr = strconv.ParseInt(strings.TrimPrefix(lines[6], "time "), 10, 64)
	// What is not written just so, is none.
	if errors.Join(rootErr, sizeErr, logErr, fromErr, lastErr, timeErr) != nil || c.text() != opened.Text || c.From == 0 || c.Size == 0 || max(c.From, c.Size, c.Next()) > maxSequence {
		return Checkpoint{}, ErrCheckpoint
	}
	if c.Origin != verifier.Name() {
		return Checkpoint{}, fmt.Errorf("%w: the key is that of %s, the checkpoint of %s", ErrCheckpoint, verifier.Name(), c.Origin)
	}
	return c, nil
}

// tip is the end of a log at a moment.
type tip struct {
	tree tree
	next uint64
	last Hash
	log  Hash
}

// Checkpoint is the log as it is now, all of it on disk; unsigned. It is not ok
// while the log has no line, or the disk has failed.
func (l *Log) Checkpoint(origin string) (c Checkpoint, ok bool) {
	l.mu.Lock()
	now := l.tip
	l.mu.Unlock()
	return l.checkpointOf(now, origin)
}

// checkpointOf is the log as it was at a moment, once that is on disk.
func (l *Log) checkpointOf(now tip, origin string) (c Checkpoint, ok bool) {
	if l.cfg.Sync == SyncInterval {
		l.syncNow()
	}
	l.mu.Lock()
	onDisk := l.durable >= now.next && l.failure == nil
	l.mu.Unlock()
	if !onDisk || now.tree.size == 0 {
		return c, false
	}
	return Checkpoint{
		Origin: origin, Log: now.log, From: now.tree.from, Size: now.tree.size, Root: now.tree.root(newChain().digest), Last: now.last,
		Time: l.cfg.Clock().UnixMilli(),
	}, true
}

// compare checks the tree against the checkpoints that it has the size of.
func (c *checker) compare(at scanned) {
	for len(c.checkpoints) > 0 {
		p := &c.checkpoints[0]
		switch {
		case p.Next() > c.next:
			return
		case p.Next() < c.next:
			c.passed++ // the log begins behind it, or is broken there
		case !c.linked || !c.treed:
			c.passed++ // what broke the tree has been said
		case p.From == c.tree.from && p.Root == c.tree.root(c.digest):
			c.proved++
			c.covered = p.Next() - 1
		default:
			c.fault(at, c.next-1, ErrAltered, "the log up to here is not the one of the checkpoint of %s", millis(p.Time))
		}
		c.checkpoints = c.checkpoints[1:]
	}
}

// strangers takes down checkpoints that are not of this log at all: it was
// replaced.
func (c *checker) strangers(at scanned) {
	var newest *Checkpoint
	for i := range c.checkpoints {
		if p := &c.checkpoints[i]; p.Log != c.log && (newest == nil || p.Time > newest.Time) {
			newest = p
		}
	}
	if newest == nil {
		return
	}
	c.fault(at, 1, ErrAltered, "this is another log than the one of the checkpoint of %s, which went to sequence %d", millis(newest.Time), newest.Next()-1)
	c.checkpoints = slices.DeleteFunc(c.checkpoints, func(p Checkpoint) bool { return p.Log != c.log })
}

// missing takes down checkpoints behind the end of the log.
func (c *checker) missing(last string) {
	for i := range c.checkpoints {
		p := &c.checkpoints[i]
		c.fault(scanned{file: last}, c.next, ErrMissing, "the checkpoint of %s says that the log went to sequence %d at least", millis(p.Time), p.Next()-1)
		return // one says it
	}
}

// sortCheckpoints brings checkpoints into the order in which a log meets them.
func sortCheckpoints(all []Checkpoint) []Checkpoint {
	return slices.SortedFunc(slices.Values(all), func(a, b Checkpoint) int {
		if a.Next() != b.Next() {
			if a.Next() < b.Next() {
				return -1
			}
			return 1
		}
		return bytes.Compare(a.Root[:], b.Root[:])
	})
}

// millis is a time in words.
func millis(unix int64) string { return time.UnixMilli(unix).UTC().Format(time.RFC3339) }
