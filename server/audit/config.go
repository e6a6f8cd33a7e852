package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Sync says when a record counts as written.
type Sync string

// The ways to sync.
const (
	// SyncAlways: Append returns when the record is on disk. Nothing that was
	// answered is lost, whatever ends the node or its machine.
	SyncAlways Sync = "always"
	// SyncInterval: Append returns when the operating system has the record;
	// every Interval the disk has it, too. The end of the process loses nothing.
	// The end of the machine (power, kernel) loses the records of up to Interval
	// plus the time that one fdatasync takes; the calls were answered.
	SyncInterval Sync = "interval"
)

// Full says what happens when there is no room for more records.
type Full string

// The ways to deal with a full disk.
const (
	// FullRefuse: records of what was done are refused, and so their calls;
	// refusals go on being recorded as long as the reserve lasts.
	FullRefuse Full = "refuse"
	// FullDropOldest: the oldest segments are removed until there is room, and
	// a mark in the log says so.
	FullDropOldest Full = "drop-oldest"
)

// Config is what a log is made of.
type Config struct {
	// Dir is the log's directory, made where it is missing. It belongs to the
	// log alone.
	Dir string
	// NodeID names the node, 1 to 128 bytes; a directory is of one node.
	NodeID string
	// Logger takes what an operator must know; nil: nobody.
	Logger *slog.Logger
	// Sync is when a record counts as written; empty: SyncAlways.
	Sync Sync
	// Interval is the time between two syncs of SyncInterval; 0: 1 s.
	Interval time.Duration
	// SegmentSize is how many bytes a segment has before the next is begun;
	// it is exceeded by no more than one batch of records and the reserve.
	// 0: 64 MiB.
	SegmentSize int64
	// Reserve is how many bytes are always kept, on disk, for refusals and for
	// what the log says about itself; 0: 1 MiB (about 1,100 refusals).
	Reserve int64
	// RetentionAge is for how long records are kept at least, by Clock. After
	// it, segments are removed as a whole: an eighth of it later at most, when
	// records still come. 0: 7 days.
	RetentionAge time.Duration
	// RetentionSize is how many bytes all segments may have together; the
	// oldest are removed for it, whatever their age. 0: 80 % of the size of the
	// file system at the time of opening.
	RetentionSize int64
	// Full is what to do when there is no room; empty: FullRefuse.
	Full Full
	// Plain keeps segments as text when they are closed; else they are packed,
	// to about a tenth, and indexed.
	Plain bool
	// Clock is what retention goes by; nil: time.Now. One that goes back keeps
	// segments longer.
	Clock func() time.Time
	// Vouched is a time that has passed whatever this node's own clock shows:
	// others have seen it pass, too. Retention by age goes by it where it is
	// before Clock, so that a clock that runs ahead drops nothing early. nil:
	// nobody vouches, and Clock is believed.
	Vouched func() time.Time

	// open is how segments are opened; tests put a failing disk there.
	open openFunc
}

const (
	defaultInterval      = time.Second
	defaultSegmentSize   = 64 << 20
	defaultReserve       = 1 << 20
	defaultRetentionAge  = 7 * 24 * time.Hour
	defaultRetentionDisk = 80 // percent

	minSegmentSize = 4 << 10
	minReserve     = 2 * markRoom
	maxNodeID      = maxID
)

func (c Config) withDefaults() (Config, error) {
	or := func(field *int64, value int64) {
		if *field == 0 {
			*field = value
		}
	}
	or((*int64)(&c.Interval), int64(defaultInterval))
	or(&c.SegmentSize, defaultSegmentSize)
	or(&c.Reserve, defaultReserve)
	or((*int64)(&c.RetentionAge), int64(defaultRetentionAge))
	if c.Sync == "" {
		c.Sync = SyncAlways
	}
	if c.Full == "" {
		c.Full = FullRefuse
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.open == nil {
		c.open = openOSFile
	}
	return c, c.check()
}

func (c Config) check() error {
	switch {
	case c.Dir == "":
		return errors.New("the trace log is given no directory")
	case c.NodeID == "" || len(c.NodeID) > maxNodeID:
		return fmt.Errorf("the trace log's node id has %d bytes, not 1 to %d", len(c.NodeID), maxNodeID)
	case c.Sync != SyncAlways && c.Sync != SyncInterval:
		return fmt.Errorf("the trace log's sync is %q, not %q or %q", c.Sync, SyncAlways, SyncInterval)
	case c.Full != FullRefuse && c.Full != FullDropOldest:
		return fmt.Errorf("the trace log's way with a full disk is %q, not %q or %q", c.Full, FullRefuse, FullDropOldest)
	case c.Interval < time.Millisecond:
		return fmt.Errorf("the trace log's interval %v is below 1ms", c.Interval)
	case c.SegmentSize < minSegmentSize:
		return fmt.Errorf("the trace log's segment size %d is below %d bytes", c.SegmentSize, minSegmentSize)
	case c.Reserve < minReserve:
		return fmt.Errorf("the trace log's reserve %d is below %d bytes", c.Reserve, minReserve)
	case c.RetentionAge < time.Second:
		return fmt.Errorf("the trace log's retention %v is below 1s", c.RetentionAge)
	case c.RetentionSize < 0:
		return fmt.Errorf("the trace log's retention size %d is negative", c.RetentionSize)
	}
	return nil
}
