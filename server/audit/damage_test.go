package audit_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/server/audit"
)

// damagedFor checks that the log takes nothing any more, whatever the disk
// does, and leaves the disk alone.
func damagedFor(t *testing.T, log *audit.Log, d *disk) {
	t.Helper()
	d.plan(func(d *disk) { d.syncErr, d.syncs, d.writes = nil, 0, 0 })
	for range 2 {
		if err := log.Append(t.Context(), &record); !errors.Is(err, audit.ErrDamaged) {
			t.Errorf("error = %v, want ErrDamaged", err)
		}
		if _, err := log.Reserve(t.Context()); !errors.Is(err, audit.ErrDamaged) {
			t.Errorf("error = %v, want ErrDamaged", err)
		}
		if err := log.Healthy(); !errors.Is(err, audit.ErrDamaged) {
			t.Errorf("health is %v, want ErrDamaged", err)
		}
	}
	shut(t, log)
	if d.syncs > 0 || d.writes > 0 {
		t.Errorf("%d writes and %d syncs after the damage", d.writes, d.syncs)
	}
}

func TestASyncThatFailsIsForGood(t *testing.T) {
	d := &disk{dir: t.TempDir()}
	log, _ := open(t, small(d.dir).OnDisk(d.open))
	appended(t, log, "before", 1)
	d.plan(func(d *disk) { d.syncErr = unix.EIO })
	if err := log.Append(t.Context(), &record); !errors.Is(err, audit.ErrDamaged) || !errors.Is(err, unix.EIO) {
		t.Errorf("error = %v, want ErrDamaged and why", err)
	}
	damagedFor(t, log, d)

	again, _ := open(t, small(d.dir).OnDisk(d.open))
	appended(t, again, "after", 1)
	if r := sound(t, d.dir); r.Records < 2 {
		t.Errorf("report %+v", r)
	}
}

func TestASyncInTheBackgroundThatFails(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{dir: dir}
		cfg := small(dir)
		cfg.Sync = audit.SyncInterval
		log, _ := open(t, cfg.OnDisk(d.open))
		d.plan(func(d *disk) { d.syncErr = unix.EIO })
		appended(t, log, "answered", 1)
		time.Sleep(1500 * time.Millisecond)
		damagedFor(t, log, d)
	})
}

// With an interval, records are synced once in it, and not when there are none.
func TestTheInterval(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{dir: dir}
		cfg := small(dir)
		cfg.Sync, cfg.Interval = audit.SyncInterval, 100*time.Millisecond
		log, _ := open(t, cfg.OnDisk(d.open))
		d.plan(func(d *disk) { d.syncs = 0 })
		f := func(records, want int) {
			t.Helper()
			appended(t, log, "x", records)
			time.Sleep(350 * time.Millisecond)
			d.plan(func(d *disk) {
				if d.syncs != want {
					t.Errorf("%d syncs for %d records, want %d", d.syncs, records, want)
				}
				d.syncs = 0
			})
		}
		f(0, 0)
		f(3, 1)
		f(1, 1)
	})
	r := sound(t, dir)
	if all := lines(t, dir); r.Records != 4 || all[3][:24] != `{"seq":3,"unsynced":2,"t` || all[4][:24] != `{"seq":4,"unsynced":0,"t` {
		t.Errorf("%+v\n%.24s\n%.24s", r, all[3], all[4])
	}
}

func TestAWriteThatFailsIsForGood(t *testing.T) {
	d := &disk{dir: t.TempDir()}
	log, _ := open(t, small(d.dir).OnDisk(d.open))
	d.plan(func(d *disk) { d.writeErr, d.wrote = unix.EIO, 100 })
	if err := log.Append(t.Context(), &record); !errors.Is(err, audit.ErrDamaged) || !errors.Is(err, unix.EIO) {
		t.Errorf("error = %v, want ErrDamaged and why", err)
	}
	damagedFor(t, log, d)

	again, _ := open(t, small(d.dir).OnDisk(d.open))
	if f := again.Faults(); len(f) != 1 || !errors.Is(f[0], audit.ErrTorn) {
		t.Errorf("faults %v, want one torn line", f)
	}
	appended(t, again, "after", 1)
	if r := sound(t, d.dir); r.Records != 1 || len(r.Marks) != 1 || r.Marks[0].Kind != audit.MarkCut {
		t.Errorf("report %+v", r)
	}
}

// A part of a line that cannot be taken back: nothing may be written behind it.
func TestAPartOfALineThatStays(t *testing.T) {
	d := &disk{dir: t.TempDir()}
	log, _ := open(t, small(d.dir).OnDisk(d.open))
	d.plan(func(d *disk) { d.writeErr, d.wrote, d.truncErr = unix.ENOSPC, 100, unix.EIO })
	if err := log.Append(t.Context(), &record); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("error = %v, want ErrDamaged", err)
	}
	damagedFor(t, log, d)
}

// A disk that fails while a segment is begun has failed.
func TestASegmentThatCannotBeBegun(t *testing.T) {
	d := &disk{dir: t.TempDir()}
	log, _ := open(t, small(d.dir).OnDisk(d.open))
	appended(t, log, "x", 9) // the next one needs another segment
	d.plan(func(d *disk) { d.syncErr = unix.EIO })
	if err := log.Append(t.Context(), &record); !errors.Is(err, audit.ErrDamaged) {
		t.Errorf("error = %v, want ErrDamaged", err)
	}
	damagedFor(t, log, d)
}

// A segment is on disk before the next one is begun, whatever the interval.
func TestASegmentIsSyncedBeforeTheNext(t *testing.T) {
	d := &disk{dir: t.TempDir()}
	cfg := small(d.dir)
	cfg.Sync, cfg.Interval = audit.SyncInterval, time.Hour
	log, _ := open(t, cfg.OnDisk(d.open))
	d.plan(func(d *disk) { d.syncs = 0 })
	appended(t, log, "x", 15)
	second := strings.SplitAfter(content(t, segments(t, d.dir)[1]), "\n")[1]
	if d.syncs != 2 || !strings.Contains(second[:40], `"unsynced":0,`) { // of the old segment and of the new one
		t.Errorf("%d syncs, then %.40s", d.syncs, second)
	}
}
