package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/server/audit"
)

// place is a disk with room for 512 KiB.
type place struct {
	cfg     audit.Config
	release func() // gives it 512 KiB more
}

const placeSize = 512 << 10

// limited is the real disk behind a limit; it is there on every machine.
func limited(t *testing.T) *place {
	d := &disk{dir: t.TempDir(), capacity: placeSize}
	return &place{
		cfg:     audit.Config{Dir: d.dir, Plain: true}.OnDisk(d.open),
		release: func() { d.plan(func(d *disk) { d.capacity = 2 * placeSize }) },
	}
}

// tmpfs is a file system of its own, with the errors of the kernel. It needs
// the right to mount; false: there is none.
func tmpfs(t *testing.T) (*place, bool) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", 2*placeSize)); err != nil {
		t.Logf("without a tmpfs (%v) only the limited disk is tested", err)
		return nil, false
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	overwrite(t, ballast, strings.Repeat("x", placeSize))
	return &place{cfg: audit.Config{Dir: filepath.Join(dir, "audit"), Plain: true}, release: func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	}}, true
}

// onFullDisks runs f on every disk that this machine has to offer.
func onFullDisks(t *testing.T, f func(t *testing.T, p *place)) {
	on := func(name string, p *place) {
		p.cfg.NodeID, p.cfg.SegmentSize, p.cfg.Reserve = "n1", 128<<10, 64<<10
		p.cfg.RetentionSize = 1 << 30
		t.Run(name, func(t *testing.T) { f(t, p) })
	}
	on("limited", limited(t))
	if p, ok := tmpfs(t); ok {
		on("tmpfs", p)
	}
}

// until appends what next returns until there is no room, and returns how many
// there was room for.
func until(t *testing.T, appendOne func() error) int {
	t.Helper()
	for n := range 10000 {
		if err := appendOne(); err != nil {
			if !errors.Is(err, audit.ErrFull) || !errors.Is(err, unix.ENOSPC) {
				t.Fatalf("error = %v, want ErrFull and why", err)
			}
			return n
		}
	}
	t.Fatal("there is no end to the disk")
	return 0
}

// comesBack waits until the log takes records again.
func comesBack(t *testing.T, log *audit.Log) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); log.Healthy() != nil; {
		if time.Now().After(end) {
			t.Fatal(log.Healthy())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestAFullDisk(t *testing.T) {
	onFullDisks(t, func(t *testing.T, p *place) {
		log, out := open(t, p.cfg)
		normal := until(t, func() error { return log.Append(t.Context(), named("done")) })
		if err := log.Healthy(); !errors.Is(err, audit.ErrFull) {
			t.Errorf("health is %v, want ErrFull", err)
		}
		if err := log.Append(t.Context(), refusal("refused")); err != nil {
			t.Errorf("the reserve is not there: %v", err)
		}
		if err := log.Append(t.Context(), named("done")); !errors.Is(err, audit.ErrFull) {
			t.Errorf("error = %v, want ErrFull", err)
		}
		// The reserve is on disk: it is there when the node comes back.
		shut(t, log)
		log, _ = open(t, p.cfg)
		if err := log.Append(t.Context(), named("done")); !errors.Is(err, audit.ErrFull) {
			t.Errorf("error = %v, want ErrFull", err)
		}
		refused := 1 + until(t, func() error { return log.Append(t.Context(), refusal("refused")) })
		if refused < 50 {
			t.Errorf("the reserve has held %d refusals", refused)
		}
		sound(t, p.cfg.Dir)

		p.release()
		comesBack(t, log)
		appended(t, log, "after", 10)
		r := sound(t, p.cfg.Dir)
		if want := uint64(normal + refused + 10); r.Records != want {
			t.Errorf("%d records, want %d", r.Records, want)
		}
		if len(r.Marks) != 1 || r.Marks[0].Kind != audit.MarkFull || r.Marks[0].Count != 2 || r.Marks[0].Since > r.Marks[0].Time {
			t.Errorf("marks %+v, want one of 2 records without room", r.Marks)
		}
		if !strings.Contains(out.String(), "is full") {
			t.Errorf("logged %s", out)
		}
	})
}

// What was claimed before is there when everything else is used up.
func TestReservedRoom(t *testing.T) {
	onFullDisks(t, func(t *testing.T, p *place) {
		log, _ := open(t, p.cfg)
		var rooms []*audit.Room
		until(t, func() error {
			room, err := log.Reserve(t.Context())
			if err == nil {
				rooms = append(rooms, room)
			}
			return err
		})
		if len(rooms) < 5 {
			t.Fatalf("%d rooms", len(rooms))
		}
		until(t, func() error { return log.Append(t.Context(), named("done")) })
		refused := until(t, func() error { return log.Append(t.Context(), refusal("refused")) })
		for i, room := range rooms {
			if i == 0 {
				room.Release()
			} else if err := room.Append(t.Context(), longest()); err != nil {
				t.Errorf("room %d of %d: %v", i, len(rooms), err)
			}
			room.Release()
		}
		if err := log.Append(t.Context(), refusal("refused")); err != nil {
			t.Errorf("room that was released is not free: %v", err)
		}
		if r := sound(t, p.cfg.Dir); r.Records < uint64(len(rooms)+refused) {
			t.Errorf("report %+v", r)
		}
	})
}

func TestDropOldest(t *testing.T) {
	onFullDisks(t, func(t *testing.T, p *place) {
		p.cfg.Full = audit.FullDropOldest
		log, _ := open(t, p.cfg)
		appended(t, log, "x", 1500)
		if err := log.Healthy(); err != nil {
			t.Error(err)
		}
		r := sound(t, p.cfg.Dir)
		if r.First == 1 || len(r.Marks) == 0 {
			t.Errorf("nothing was dropped: %+v", r)
		}
		for _, m := range r.Marks {
			if m.Kind != audit.MarkDropped || m.Reason != "full" || m.Count == 0 || m.Before <= m.From {
				t.Errorf("mark %+v", m)
			}
		}
		if m := r.Marks[len(r.Marks)-1]; m.Before != r.First {
			t.Errorf("the log begins with %d, its last mark says %d", r.First, m.Before)
		}
		shut(t, log)
		log, _ = open(t, p.cfg)
		if len(log.Faults()) > 0 {
			t.Error(log.Faults()[0])
		}
	})
}

// There is no log where there is no room for a first segment.
func TestOpenOnAFullDisk(t *testing.T) {
	d := &disk{dir: t.TempDir(), capacity: 1 << 10}
	if _, err := audit.OpenConfig(small(d.dir).OnDisk(d.open)); !errors.Is(err, audit.ErrFull) {
		t.Errorf("error = %v, want ErrFull", err)
	}
	d.capacity = 0
	log, _ := open(t, small(d.dir).OnDisk(d.open))
	appended(t, log, "x", 1)
	sound(t, d.dir)
}

// A file system may have no room even where a segment was prepared (btrfs, ZFS):
// the part of the line is taken back.
func TestNoRoomInTheMiddleOfALine(t *testing.T) {
	f := func(wrote int) {
		t.Helper()
		d := &disk{dir: t.TempDir()}
		log, _ := open(t, small(d.dir).OnDisk(d.open))
		appended(t, log, "before", 2)
		before := content(t, segments(t, d.dir)[0])
		d.plan(func(d *disk) { d.writeErr, d.wrote = unix.ENOSPC, wrote })
		if err := log.Append(t.Context(), &record); !errors.Is(err, audit.ErrFull) {
			t.Errorf("error = %v, want ErrFull", err)
		}
		if got := content(t, segments(t, d.dir)[0]); got != before {
			t.Errorf("%d bytes of the line are still there", len(got)-len(before))
		}
		comesBack(t, log)
		appended(t, log, "after", 2)
		if r := sound(t, d.dir); r.Records != 4 || len(r.Marks) != 1 || r.Marks[0].Count != 1 {
			t.Errorf("report %+v", r)
		}
	}
	f(0)
	f(1)
	f(300)
}

// Every file that can be open is: that passes, too.
func TestNoMoreFiles(t *testing.T) {
	d := &disk{dir: t.TempDir()}
	full := false
	cfg := small(d.dir).OnDisk(func(path string, flag int) (audit.File, error) {
		if full {
			return nil, unix.EMFILE
		}
		return d.open(path, flag)
	})
	log, _ := open(t, cfg)
	full = true
	for range 100 {
		if err := log.Append(t.Context(), &record); err != nil {
			if !errors.Is(err, audit.ErrFull) || !errors.Is(err, unix.EMFILE) {
				t.Fatal(err)
			}
			full = false
			comesBack(t, log)
			appended(t, log, "after", 1)
			sound(t, d.dir)
			return
		}
	}
	t.Error("no second segment was needed")
}
