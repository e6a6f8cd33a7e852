package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	// packPause is how long packing waits after it has failed.
	packPause = time.Minute
	// Packing a record costs more than writing it. While the log is busy, with
	// busyRecords or more in busyLook, it waits, and so evens out a load that
	// comes and goes; but no more than packBehind segments wait, since a search
	// reads those whole.
	packBehind  = 4
	busyRecords = 2000
	busyLook    = 2 * time.Second
)

// pace tells whether a log is busy, by how many lines it had before.
type pace struct {
	at   time.Time
	next uint64
	busy bool
}

// look is given the sequence of the next line.
func (p *pace) look(now time.Time, next uint64) (busy bool) {
	if more := next-p.next >= busyRecords; more || now.Sub(p.at) >= busyLook {
		p.at, p.next, p.busy = now, next, more
	}
	return p.busy
}

// packing packs segments that are closed, and indexes those that have lost
// their index, until ctx ends. Nothing waits for it.
func (l *Log) packing(ctx context.Context) {
	p, err := newPacker(l.cfg.Dir)
	if err != nil {
		l.cfg.Logger.Error("segments of the trace log are not packed", "error", err)
		return
	}
	defer p.close()
	tidy(l.cfg)
	asIs := make(map[uint64]bool) // what cannot be packed, or has been looked at
	pace := pace{at: time.Now(), next: l.next()}
	for {
		pause := time.Hour
		all := l.unopened()
		for i, s := range all {
			if ctx.Err() != nil {
				return
			}
			if asIs[s.first] {
				continue
			}
			if pace.look(time.Now(), l.next()) && len(all)-i <= packBehind {
				pause = busyLook
				break
			}
			if err := l.packOne(p, s, asIs); err != nil && !errors.Is(err, fs.ErrNotExist) {
				l.cfg.Logger.Warn("packing a segment of the trace log; it stays as it is for now", "error", err)
				pause = packPause
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-l.closing:
		case <-time.After(pause):
		}
	}
}

// packOne packs a segment, or makes sure that it has its index.
func (l *Log) packOne(p *packer, s segment, asIs map[uint64]bool) error {
	if s.packed {
		asIs[s.first] = true
		if _, _, err := readIndex(l.cfg.Dir, s.first, s.size, true, nil); err == nil {
			return nil
		}
		l.cfg.Logger.Warn("a segment of the trace log has lost its index, which is made again", "segment", s.name())
		x, err := reindex(l.cfg.Dir, s.first, p.decoder)
		if err != nil {
			return err
		}
		return p.writeIndex(s.first, x)
	}
	size, err := p.pack(s.first)
	if errors.Is(err, errNotPacked) {
		l.cfg.Logger.Error("a segment of the trace log is not as it was written, and stays as it is", "error", err)
		asIs[s.first] = true
		return nil
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.packed = append(l.packed, packedSegment{s.first, size})
	asIs[s.first] = true
	return nil
}

// next is the sequence of the next line.
func (l *Log) next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written
}

// unopened are the segments that are not written to any more.
func (l *Log) unopened() []segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) == 0 {
		return nil
	}
	return l.kept[:len(l.kept)-1]
}

// tidy removes what a crash has left of packing.
func tidy(cfg Config) {
	names, err := filepath.Glob(filepath.Join(cfg.Dir, segmentPrefix+"*"+tempSuffix))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		cfg.Logger.Warn("removing what is left of packing", "error", err)
	}
}
