package audit_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/server/audit"
)

// recorded is a log of some records, closed; its directory.
func recorded(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	log, _ := open(t, small(dir))
	appended(t, log, "x", n)
	shut(t, log)
	return dir
}

func TestATornLineIsCut(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, small(dir))
	appended(t, log, "x", 2)
	if err := log.Append(t.Context(), &audit.Record{TraceName: "createKey"}); err != nil {
		t.Fatal(err)
	}
	shut(t, log)
	path := segments(t, dir)[0]
	whole := content(t, path)
	last := strings.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	f := func(torn string) {
		t.Helper()
		overwrite(t, path, whole[:last]+torn)
		log, out := open(t, small(dir))
		got := verify(t, dir)
		if err := got.Err(); err != nil {
			t.Fatalf("after %d bytes: %v", len(torn), err)
		}
		cut := strings.TrimRight(torn, "\n") != ""
		if faults := log.Faults(); cut != (len(faults) == 1 && errors.Is(faults[0], audit.ErrTorn) && faults[0].Sequence == 3 && faults[0].Line == 4) {
			t.Fatalf("%d bytes of a line: faults %v", len(torn), faults)
		}
		if cut {
			m := got.Marks[0]
			if m.Kind != audit.MarkCut || m.Bytes != int64(len(torn)) || *m.Digest != sha256.Sum256([]byte(torn)) || m.Expected != 3 {
				t.Fatalf("%d bytes of a line: mark %+v", len(torn), m)
			}
		} else if len(got.Marks) > 0 {
			t.Fatalf("%d bytes of a line: marks %+v", len(torn), got.Marks)
		}
		if strings.Contains(out.String(), "torn") != cut {
			t.Fatalf("%d bytes of a line: logged %s", len(torn), out)
		}
		appended(t, log, "after", 1)
		if r := sound(t, dir); r.Records != 3 || !strings.HasPrefix(content(t, path), whole[:last]) {
			t.Fatalf("report %+v", r)
		}
		shut(t, log)
	}
	line := whole[last:]
	for i := range len(line) {
		if i%2 == 0 || i == len(line)-1 { // an end of line would make it whole
			f(line[:i])
		} else {
			f(line[:i] + strings.Repeat("\n", 2000)) // with what was filled ahead
		}
	}
	f(strings.Repeat("x", 100000))
	f(strings.Repeat("\x00", 5000)) // blocks that never came
}

// The blocks of a batch may reach the disk in any order: what is torn need not
// be the last.
func TestATornBatchIsCut(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	cfg.Sync = audit.SyncInterval
	log, _ := open(t, cfg)
	appended(t, log, "x", 5) // none of them synced before the next
	shut(t, log)
	path := segments(t, dir)[0]
	all := lines(t, dir)
	overwrite(t, path, strings.Join(all[:2], "")+strings.Repeat("\n", len(all[2])+10)+all[3][10:]+all[4]+all[5])
	log, _ = open(t, cfg)
	if f := log.Faults(); len(f) != 1 || !errors.Is(f[0], audit.ErrTorn) || f[0].Sequence != 2 {
		t.Errorf("faults %v", f)
	}
	appended(t, log, "after", 1)
	if r := sound(t, dir); r.Records != 2 {
		t.Errorf("report %+v", r)
	}
}

// What was on disk is never cut off: it is left as it is, with what follows it.
func TestAnAlteredLineIsLeft(t *testing.T) {
	f := func(change func(all []string), line int, reason string) {
		t.Helper()
		dir := recorded(t, 5)
		path := segments(t, dir)[0]
		all := lines(t, dir)
		change(all)
		altered := strings.Join(all, "")
		overwrite(t, path, altered)
		log, out := open(t, small(dir))
		if len(log.Faults()) == 0 || log.Faults()[0].Line != line || !strings.Contains(out.String(), reason) {
			t.Errorf("faults %v, logged %s", log.Faults(), out)
		}
		appended(t, log, "after", 2)
		shut(t, log)
		if content(t, path) != altered {
			t.Error("the altered segment was changed")
		}
		r := verify(t, dir)
		if r.Segments != 2 || r.Err() == nil || r.Faults[0].Line != line || r.Faults[0].File != filepath.Base(path) {
			t.Errorf("report %+v", r)
		}
		if len(r.Marks) != 1 || r.Marks[0].Kind != audit.MarkBroken || r.Marks[0].Line != line || r.Marks[0].Reason != reason {
			t.Errorf("marks %+v", r.Marks)
		}
		// What is inside of a closed segment is marked once, its ends every time.
		log, _ = open(t, small(dir))
		if (len(log.Faults()) > 0) != (line == 1) {
			t.Errorf("faults %v", log.Faults())
		}
	}
	f(func(all []string) { all[2] = strings.Replace(all[2], "createDataKey", "createDatakey", 1) }, 3, "altered")
	f(func(all []string) { all[4] = strings.Replace(all[4], "a0a0", "a0a1", 1) }, 5, "altered")
	f(func(all []string) { all[1], all[2] = all[2], all[1] }, 2, "missing")
	f(func(all []string) { all[3] = "" }, 4, "missing")
	f(func(all []string) { all[3] = all[3][:20] }, 4, "altered")
	f(func(all []string) { all[0] = strings.Replace(all[0], "n1", "n2", 1) }, 1, "altered")
	f(func(all []string) { all[1], all[2], all[3], all[4] = "x\n", "x\n", "x\n", "x\n" }, 2, "altered")
	f(func(all []string) { all[0], all[1], all[2], all[3], all[4], all[5] = "x\n", "", "", "", "", "" }, 1, "altered")
}

func TestAMissingSegmentIsReported(t *testing.T) {
	f := func(gone int, file int) {
		t.Helper()
		dir := recorded(t, 40)
		all := segments(t, dir)
		if len(all) != 4 {
			t.Fatalf("%d segments", len(all))
		}
		sequence, err := strconv.ParseUint(filepath.Base(all[gone])[len("traces-"):len("traces-")+20], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(all[gone]); err != nil {
			t.Fatal(err)
		}
		before := verify(t, dir)
		log, out := open(t, small(dir))
		appended(t, log, "after", 1)
		for _, faults := range [][]*audit.Fault{log.Faults(), before.Faults, verify(t, dir).Faults} {
			if len(faults) != 1 || !errors.Is(faults[0], audit.ErrMissing) || faults[0].File != filepath.Base(all[file]) || faults[0].Sequence != sequence {
				t.Errorf("without segment %d: faults %v", gone, faults)
			}
		}
		marks := verify(t, dir).Marks
		if len(marks) != 1 || marks[0].Kind != audit.MarkBroken || marks[0].Reason != "missing" || marks[0].Expected != sequence {
			t.Errorf("marks %+v", marks)
		}
		if !strings.Contains(out.String(), "level=ERROR") {
			t.Errorf("logged %s", out)
		}
	}
	f(0, 1)
	f(1, 2)
	f(2, 3)
}

// The ends of closed segments are looked at whenever the log is opened.
func TestAClosedSegmentThatDoesNotFit(t *testing.T) {
	f := func(change func(whole string) string) {
		t.Helper()
		dir := recorded(t, 30)
		path := segments(t, dir)[1]
		overwrite(t, path, change(content(t, path)))
		log, _ := open(t, small(dir))
		if len(log.Faults()) == 0 {
			t.Error("no fault is found")
		}
		appended(t, log, "after", 1)
	}
	f(func(whole string) string { return strings.Replace(whole, `{"segment":1`, `{"segment":2`, 1) })
	f(func(whole string) string { return strings.Replace(whole, `"oldest":1`, `"oldest":2`, 1) })
	f(func(whole string) string { return whole[:len(whole)-1] })
	f(func(whole string) string { return whole + "x\n" })
	f(func(whole string) string { return whole + strings.Repeat("x", 100000) })
	f(func(whole string) string { return strings.Join(strings.SplitAfter(whole, "\n")[:5], "") })
	f(func(whole string) string { return strings.SplitAfter(whole, "\n")[0] })
	f(func(string) string { return "" })
}

// A crash may leave a closed segment with what was filled ahead.
func TestAClosedSegmentThatWasNotTrimmed(t *testing.T) {
	dir := recorded(t, 30)
	path := segments(t, dir)[1]
	whole := content(t, path)
	for _, size := range []int{1 << 16, 2 << 16, 3 << 16} {
		for off := -1; off <= 1; off++ {
			for _, blank := range []int{size + off, size + off - len(whole)} {
				overwrite(t, path, whole+strings.Repeat("\n", blank))
				log, _ := open(t, small(dir))
				if len(log.Faults()) > 0 {
					t.Errorf("with %d blank lines: %v", blank, log.Faults()[0])
				}
				shut(t, log)
			}
		}
	}
	sound(t, dir)
}

func TestANewerVersionIsLeftAlone(t *testing.T) {
	dir := recorded(t, 2)
	path := segments(t, dir)[0]
	newer := strings.Replace(content(t, path), `{"segment":1`, `{"segment":2`, 1)
	overwrite(t, path, newer)
	if _, err := audit.OpenConfig(small(dir)); !errors.Is(err, audit.ErrVersion) {
		t.Errorf("error = %v, want ErrVersion", err)
	}
	r := verify(t, dir)
	if !errors.Is(r.Err(), audit.ErrVersion) || content(t, path) != newer {
		t.Errorf("report %+v", r)
	}
}

// A segment that was never begun, and a crash before a segment has a record.
func TestACrashBetweenSegments(t *testing.T) {
	dir := recorded(t, 0)
	overwrite(t, filepath.Join(dir, "next-segment.tmp"), "half a header")
	log, _ := open(t, small(dir))
	appended(t, log, "x", 20)
	if len(log.Faults()) > 0 {
		t.Error(log.Faults()[0])
	}
	if _, err := os.Stat(filepath.Join(dir, "next-segment.tmp")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if r := sound(t, dir); r.Records != 20 || r.Segments != 2 {
		t.Errorf("report %+v", r)
	}
}
