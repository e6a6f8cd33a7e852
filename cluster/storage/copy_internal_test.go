package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openTestLog(t testing.TB, dir string) *logFiles {
	t.Helper()
	l, err := openLog(dir, NewWatchdog(rewriteLimit, func(err error) { t.Error(err) }))
	check(t, err)
	t.Cleanup(func() { check(t, l.close()) })
	return l
}

// store writes entries of which each says its index.
func (l *logFiles) fill(t testing.TB, first, last uint64) {
	t.Helper()
	var entries []*raft.Log
	for i := first; i <= last; i++ {
		entries = append(entries, &raft.Log{Index: i, Term: 1, Data: []byte{byte(i), byte(i >> 8)}})
	}
	check(t, l.StoreLogs(entries))
}

// holds makes sure that the log is those entries.
func (l *logFiles) holds(t testing.TB, first, last uint64) {
	t.Helper()
	from, err := l.FirstIndex()
	check(t, err)
	to, err := l.LastIndex()
	check(t, err)
	if from != first || to != last {
		t.Fatalf("the log is %d to %d, want %d to %d", from, to, first, last)
	}
	for i := first; i <= last; i++ {
		var e raft.Log
		if check(t, l.GetLog(i, &e)); e.Index != i || len(e.Data) != 2 || e.Data[0] != byte(i) || e.Data[1] != byte(i>>8) {
			t.Fatalf("entry %d is %+v", i, e)
		}
	}
}

// A crash at any step finds one whole log: what a start makes of the directory
// as it was then.
func TestCopyCrashes(t *testing.T) {
	dir := t.TempDir()
	l := openTestLog(t, dir)
	crash := func(last uint64) {
		t.Helper()
		image := t.TempDir()
		check(t, os.CopyFS(image, os.DirFS(dir)))
		again := openTestLog(t, image)
		again.holds(t, 11, last)
		if _, err := os.Stat(filepath.Join(image, rewrittenFile)); !os.IsNotExist(err) {
			t.Errorf("an unfinished file is still there: %v", err)
		}
		again.fill(t, last+1, last+1)
	}
	l.fill(t, 1, 6000)
	check(t, l.DeleteRange(1, 10))
	c, err := l.beginCopy()
	check(t, err)
	crash(6000)
	if more, err := c.shared(); !more || err != nil { // a transaction of it
		t.Fatal(more, err)
	}
	crash(6000)
	l.fill(t, 6001, 7000)
	check(t, c.bulk())
	crash(7000)
	l.fill(t, 7001, 7003)
	crash(7003)
	release := l.hold()
	old, err := c.finish()
	release()
	check(t, err)
	crash(7003)
	l.fill(t, 7004, 7004)
	crash(7004)
	check(t, old.Close())
	crash(7004)
	l.holds(t, 11, 7004)
	var e raft.Log
	if err := old.GetLog(11, &e); err == nil {
		t.Error("the old file is in use")
	}
}

// What is deleted while the file is copied is in no copy that comes into use,
// also when that goes on all the time.
func TestCopyOfAShortenedLog(t *testing.T) {
	l := openTestLog(t, t.TempDir())
	l.fill(t, 1, 2000)
	c, err := l.beginCopy()
	check(t, err)
	check(t, c.bulk())
	check(t, l.DeleteRange(1990, 2000)) // as a follower does whose entries were never committed
	l.fill(t, 1990, 1995)
	release := l.hold()
	_, err = c.finish()
	release()
	if !errors.Is(err, errDeletedMeanwhile) {
		t.Fatal(err)
	}
	check(t, c.drop())
	l.holds(t, 1, 1995)
	check(t, l.rewrite())
	l.holds(t, 1, 1995)

	stop, ended := make(chan struct{}), make(chan uint64)
	go func() {
		for first := uint64(1); ; first++ {
			select {
			case <-stop:
				ended <- first
				return
			default:
			}
			if err := l.DeleteRange(1, first); err != nil {
				t.Error(err)
			}
			l.fill(t, 1995+first, 1995+first)
		}
	}()
	check(t, l.rewrite())
	close(stop)
	first := <-ended
	l.holds(t, first, 1994+first)
}

// slowDeletion is a log store of which nothing is deleted until it is let go.
type slowDeletion struct {
	raft.LogStore
	begun, letGo chan struct{}
}

func (s *slowDeletion) DeleteRange(first, last uint64) error {
	close(s.begun)
	<-s.letGo
	return s.LogStore.DeleteRange(first, last)
}

// A deletion that is under way when the copy is begun has not happened yet for
// it: what it deletes is copied, and is in no file that comes into use.
func TestCopyBesideADeletion(t *testing.T) {
	l := openTestLog(t, t.TempDir())
	l.fill(t, 1, 2000)
	slow := &slowDeletion{LogStore: l.watch, begun: make(chan struct{}), letGo: make(chan struct{})}
	l.watch = slow
	deleted := make(chan error, 1)
	go func() { deleted <- l.DeleteRange(1990, 2000) }()
	<-slow.begun
	c, err := l.beginCopy()
	check(t, err)
	check(t, c.bulk())
	close(slow.letGo)
	check(t, <-deleted)
	l.fill(t, 1990, 1995)
	release := l.hold()
	_, err = c.finish()
	release()
	if !errors.Is(err, errDeletedMeanwhile) {
		t.Errorf("finishing: %v", err)
	}
	check(t, c.drop())
	l.holds(t, 1, 1995)
}

// A log that is closed meanwhile is closed, and no file is left.
func TestCopyOfAClosedLog(t *testing.T) {
	dir := t.TempDir()
	l := openTestLog(t, dir)
	l.fill(t, 1, 100)
	c, err := l.beginCopy()
	check(t, err)
	check(t, l.close())
	if err := c.bulk(); !errors.Is(err, ErrFailed) {
		t.Errorf("copying: %v", err)
	}
	if _, err := c.finish(); !errors.Is(err, ErrFailed) {
		t.Errorf("finishing: %v", err)
	}
	check(t, c.drop())
	if err := l.rewrite(); !errors.Is(err, ErrFailed) {
		t.Errorf("rewriting: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, rewrittenFile)); !os.IsNotExist(err) {
		t.Errorf("an unfinished file is still there: %v", err)
	}
}
