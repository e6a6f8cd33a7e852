package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// CopiesDir is the directory beside the segments in which a node keeps the
// checkpoints of all nodes, its own, too: a copy of a trace directory has with
// it what the logs of others are compared with.
const CopiesDir = "checkpoints"

const (
	copiesSuffix = ".jsonl"
	// maxCopies bounds the file of one node, in bytes; then the older half is
	// thinned out, to the first of every hour.
	maxCopies = 1 << 20
	// keptCopies bounds what is left of it.
	keptCopies = 1200
)

// Signed is a checkpoint as others keep it.
type Signed struct {
	Key  string `json:"key"`  // verifier key
	Note string `json:"note"` // the signed note
	Kept int64  `json:"kept"` // when it was kept, in Unix milliseconds, by whoever keeps it

	// Before says of a checkpoint that is sent along that it was published
	// before the node was admitted: perhaps by another log of a node of its name.
	Before bool `json:"before,omitempty"`

	// Grown proves, of a checkpoint that is sent to a peer, that the log has
	// grown from the ones that were sent before, the oldest first. It is not kept.
	Grown []Step `json:"grown,omitempty"`
}

// Open returns the checkpoint, once its signature was verified.
func (s *Signed) Open() (Checkpoint, error) { return OpenCheckpoint([]byte(s.Note), s.Key) }

// Copies keeps checkpoints on disk, in a file for each node. It is safe for
// concurrent use.
type Copies struct {
	dir string
	mu  sync.Mutex
}

// OpenCopies returns the copies that are kept beside the log in dir.
func OpenCopies(dir string) (*Copies, error) {
	c := &Copies{dir: filepath.Join(dir, CopiesDir)}
	if err := makeDir(c.dir); err != nil {
		return nil, fmt.Errorf("making the directory of checkpoints: %w", err)
	}
	return c, nil
}

// Keep adds a checkpoint of a node. It checks nothing: what it was given is
// judged when it is used.
func (c *Copies) Keep(nodeID string, s Signed) error {
	if !plainName(nodeID) || len(s.Note) > maxNote || len(s.Key) > maxVerifier {
		return ErrCheckpoint
	}
	line, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encoding a checkpoint: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	path := filepath.Join(c.dir, nodeID+copiesSuffix)
	if err := appendLineTo(path, line); err != nil {
		return fmt.Errorf("keeping a checkpoint: %w", err)
	}
	return nil
}

// plainName tells whether a node's id can be a file's name.
func plainName(nodeID string) bool {
	return nodeID != "" && len(nodeID) <= maxNodeID && !strings.ContainsAny(nodeID, "/\\\x00") && nodeID[0] != '.'
}

func appendLineTo(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size()+int64(len(line)) >= maxCopies {
		return thinCopies(path, line)
	}
	// A line that a crash has torn ends here.
	if n := info.Size(); n > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], n-1); err != nil {
			return err
		}
		if last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// thinCopies writes the file anew, with one checkpoint an hour of its older half.
func thinCopies(path string, line []byte) error {
	all, err := readCopies(path)
	if err != nil {
		return err
	}
	var kept []Signed
	hour := int64(-1)
	for i, s := range all {
		// By the clock of this node: a node that floods others with checkpoints
		// pushes out none of an hour that is over.
		if now := s.Kept / time.Hour.Milliseconds(); i > len(all)/2 || now != hour {
			hour = now
			kept = append(kept, s)
		}
	}
	if over := len(kept) - keptCopies; over > 0 {
		kept = kept[over:]
	}
	var out bytes.Buffer
	for _, s := range kept {
		text, err := json.Marshal(s)
		if err != nil {
			return err
		}
		out.Write(append(text, '\n'))
	}
	out.Write(append(line, '\n'))
	if err := os.WriteFile(path+tempSuffix, out.Bytes(), 0o600); err != nil {
		return errors.Join(err, os.Remove(path+tempSuffix))
	}
	f, err := os.Open(path + tempSuffix)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+tempSuffix, path)
}

// Of returns the checkpoints of a node that are kept here.
func (c *Copies) Of(nodeID string) ([]Signed, error) {
	if !plainName(nodeID) {
		return nil, ErrCheckpoint
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return readCopies(filepath.Join(c.dir, nodeID+copiesSuffix))
}

// ReadCopies returns the checkpoints of a node from a directory of copies, or
// from a trace directory that holds one.
func ReadCopies(dir, nodeID string) ([]Signed, error) {
	if !plainName(nodeID) {
		return nil, ErrCheckpoint
	}
	if info, err := os.Stat(filepath.Join(dir, CopiesDir)); err == nil && info.IsDir() {
		dir = filepath.Join(dir, CopiesDir)
	}
	return readCopies(filepath.Join(dir, nodeID+copiesSuffix))
}

// readCopies reads a file of checkpoints; one that is not there is empty. A
// line that is none was torn, or is not ours: it is left out.
func readCopies(path string) ([]Signed, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading checkpoints: %w", err)
	}
	defer f.Close()
	var all []Signed
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4*maxNote)
	for lines.Scan() {
		var s Signed
		if json.Unmarshal(lines.Bytes(), &s) == nil && s.Note != "" {
			all = append(all, s)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading checkpoints: %w", err)
	}
	return all, nil
}
