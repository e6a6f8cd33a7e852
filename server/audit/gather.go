package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/raftkms/raftkms/server/wire"
)

// Gathered is what is at hand to compare the log in a directory with.
type Gathered struct {
	NodeID      string
	Segments    int          // of the log; 0: there is no log
	Checkpoints []Checkpoint // that the log must fit
	Keys        []string     // verifier keys of them
	Foreign     int          // that were left out: damaged, or not signed with a key that is trusted
	Earlier     int          // that were left out: of another log, from before this one began
}

// Gather reads the checkpoints of the log in dir: those beside it, and those in
// the directories of copies, which may be trace directories of other nodes. keys
// are the verifier keys that are trusted; where there are none, a checkpoint is
// believed with the key that it names.
func Gather(dir string, keys []string, copies ...string) (Gathered, error) {
	var g Gathered
	for _, key := range keys {
		if _, err := parseVerifier(key); err != nil {
			return g, fmt.Errorf("reading a public key: %w", err)
		}
	}
	segments, err := listSegments(dir)
	if err != nil {
		return g, err
	}
	g.Segments = len(segments)
	h, err := firstHeader(dir, segments)
	if err != nil || h.NodeID == "" {
		return g, err
	}
	g.NodeID = h.NodeID
	seen := make(map[string]bool)
	for _, from := range append([]string{dir}, copies...) {
		all, err := ReadCopies(from, h.NodeID)
		if err != nil {
			return g, err
		}
		for _, signed := range all {
			if seen[signed.Note] {
				continue
			}
			seen[signed.Note] = true
			g.add(signed, keys, &h)
		}
	}
	slices.Sort(g.Keys)
	return g, nil
}

func (g *Gathered) add(signed Signed, keys []string, h *header) {
	c, err := signed.Open()
	trusted := len(keys) == 0 || slices.Contains(keys, signed.Key)
	if err != nil || !trusted || !strings.HasSuffix(c.Origin, Origin("", h.NodeID)) {
		g.Foreign++
		return
	}
	if c.Log != h.logID() && c.Time < h.Time {
		g.Earlier++
		return
	}
	g.Checkpoints = append(g.Checkpoints, c)
	if !slices.Contains(g.Keys, signed.Key) {
		g.Keys = append(g.Keys, signed.Key)
	}
}

// firstHeader is the first header of a log that can be read; an empty one: none.
func firstHeader(dir string, segments []segment) (header, error) {
	for _, s := range segments {
		h, err := headerOf(dir, s)
		if err == nil {
			return h, nil
		}
		if !errors.Is(err, ErrAltered) && !errors.Is(err, fs.ErrNotExist) {
			return header{}, err
		}
	}
	return header{}, nil
}

// headerOf reads the header of a segment.
func headerOf(dir string, s segment) (header, error) {
	f, err := os.Open(filepath.Join(dir, s.name()))
	if err != nil {
		return header{}, err
	}
	defer f.Close()
	lines := newChecker().scan(s, f)
	if s.packed {
		d, err := newDecoder(f)
		if err != nil {
			return header{}, err
		}
		defer d.Close()
		lines = newChecker().scan(s, d)
	}
	at, err := lines.next()
	if err != nil {
		return header{}, fmt.Errorf("%w: %w", ErrAltered, err)
	}
	h, err := parseHeader(at.raw)
	if err != nil {
		return header{}, fmt.Errorf("%w: %w", ErrAltered, err)
	}
	h.covered = nil
	return h, nil
}

// Wire is the report as it is sent and printed.
func (r *Report) Wire() wire.TraceReport {
	shown := wire.TraceReport{
		NodeID: r.NodeID, Segments: r.Segments, Records: r.Records, First: r.First, Last: r.Last, Hash: r.LastHash.String(),
		Checkpoints: r.Proved, Passed: r.Passed, Covered: r.Covered, Faults: r.FaultCount,
	}
	if err := r.Err(); err != nil {
		shown.Fault = err.Error()
	}
	return shown
}
