package audit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// Every bit of a log counts, and Verify names the line it is in.
func TestVerifyFindsEveryBit(t *testing.T) {
	dir := t.TempDir()
	cfg := small(dir)
	now := time.UnixMilli(1700000000000)
	cfg.Clock = func() time.Time {
		now = now.Add(22 * time.Hour) // a segment for every record
		return now
	}
	log, _ := open(t, cfg)
	for range 2 {
		if err := log.Append(t.Context(), &audit.Record{TraceName: "createKey"}); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, log)
	all := segments(t, dir)
	if len(all) != 2 {
		t.Fatalf("%d segments", len(all))
	}
	for _, path := range all {
		// What was filled ahead is made short, so that reading it is quick.
		overwrite(t, path, content(t, path)+"\n\n")
	}
	sound(t, dir)
	for _, path := range all {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		whole := content(t, path)
		line := 1
		for i := range len(whole) + 2 {
			was := byte('\n')
			if i < len(whole) {
				was = whole[i]
			}
			for bit := range 8 {
				if _, err := file.WriteAt([]byte{was ^ 1<<bit}, int64(i)); err != nil {
					t.Fatal(err)
				}
				r := verify(t, dir)
				var fault *audit.Fault
				if !errors.As(r.Err(), &fault) || i < len(whole) && (fault.Line != line || fault.File != filepath.Base(path)) {
					t.Fatalf("%s byte %d (line %d) bit %d: %v", filepath.Base(path), i, line, bit, r.Err())
				}
			}
			if _, err := file.WriteAt([]byte{was}, int64(i)); err != nil {
				t.Fatal(err)
			}
			if was == '\n' {
				line++
			}
		}
	}
	sound(t, dir)
}

func TestVerifyFindsWhatWasMoved(t *testing.T) {
	original := recorded(t, 50)
	stranger := recorded(t, 50)
	names := segments(t, original)
	if len(names) != 5 {
		t.Fatalf("%d segments", len(names))
	}
	// file and line are where the first fault must be.
	f := func(do func(paths []string), file, line int, want error) {
		t.Helper()
		dir := copied(t, original)
		do(segments(t, dir))
		r := verify(t, dir)
		var fault *audit.Fault
		if !errors.As(r.Err(), &fault) || fault.File != filepath.Base(names[file]) || fault.Line != line || !errors.Is(fault, want) {
			t.Errorf("fault %v, want %v in %s line %d", r.Err(), want, filepath.Base(names[file]), line)
		}
	}
	edit := func(n int, change func(all []string) []string) func([]string) {
		return func(paths []string) {
			overwrite(t, paths[n], strings.Join(change(strings.SplitAfter(content(t, paths[n]), "\n")), ""))
		}
	}
	rename := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	// Lines.
	f(edit(1, func(l []string) []string { return append(l[:3:3], l[4:]...) }), 1, 4, audit.ErrMissing)
	f(edit(1, func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }), 1, 4, audit.ErrMissing)
	f(edit(1, func(l []string) []string { return append(l[:4:4], l[3:]...) }), 1, 5, audit.ErrAltered)
	f(edit(1, func(l []string) []string { return append(append(l[:4:4], "\n"), l[4:]...) }), 1, 5, audit.ErrAltered)
	f(edit(1, func(l []string) []string { return append(append(l[:4:4], "note\n"), l[4:]...) }), 1, 5, audit.ErrAltered)
	f(edit(1, func(l []string) []string { return l[1:] }), 1, 1, audit.ErrAltered)
	f(edit(1, func(l []string) []string { return l[:8] }), 2, 1, audit.ErrMissing)
	f(edit(1, func(l []string) []string { return l[:1] }), 2, 1, audit.ErrMissing)
	f(edit(1, func([]string) []string { return nil }), 1, 1, audit.ErrAltered)
	// Segments.
	f(func(p []string) { os.Remove(p[0]) }, 1, 1, audit.ErrMissing)
	f(func(p []string) { os.Remove(p[2]) }, 3, 1, audit.ErrMissing)
	f(func(p []string) { rename(p[1], p[0]+"~"); rename(p[2], p[1]); rename(p[0]+"~", p[2]) }, 1, 1, audit.ErrAltered)
	f(func(p []string) { overwrite(t, p[2], content(t, p[1])) }, 2, 1, audit.ErrAltered)
	f(func(p []string) {
		altered := strings.Replace(content(t, segments(t, stranger)[2]), "x", "y", 1)
		overwrite(t, p[2], altered)
	}, 2, 2, audit.ErrAltered)
}

// A segment of another log does not fit, sound as it is.
func TestVerifyFindsAForeignSegment(t *testing.T) {
	dir := recorded(t, 30)
	f := func(cfg audit.Config, prefix string) {
		t.Helper()
		log, _ := open(t, cfg)
		appended(t, log, prefix, 30)
		shut(t, log)
		mixed := copied(t, dir)
		path := segments(t, mixed)[1]
		overwrite(t, path, content(t, filepath.Join(cfg.Dir, filepath.Base(path))))
		r := verify(t, mixed)
		if len(r.Faults) == 0 || r.Faults[0].File != filepath.Base(path) || r.Faults[0].Line != 1 {
			t.Errorf("faults %v", r.Faults)
		}
	}
	f(small(t.TempDir()), "y")
	other := small(t.TempDir())
	other.NodeID = "n2"
	f(other, "x")
}

// What Verify cannot see, its report lets others see: a log without its end.
func TestTheEndIsForOthersToRemember(t *testing.T) {
	dir := recorded(t, 30)
	before := sound(t, dir)
	paths := segments(t, dir)
	if err := os.Remove(paths[len(paths)-1]); err != nil {
		t.Fatal(err)
	}
	after := sound(t, dir)
	if after.Last >= before.Last || after.LastHash == before.LastHash {
		t.Errorf("the reports agree: %+v, %+v", before, after)
	}
}

func TestVerifyWithoutALog(t *testing.T) {
	if r := sound(t, t.TempDir()); r.Segments != 0 || r.First != 0 || r.Last != 0 {
		t.Errorf("report %+v", r)
	}
	if _, err := audit.Verify(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v", err)
	}
}

// A log that is wrong throughout makes a short report.
func TestAReportIsBounded(t *testing.T) {
	dir := recorded(t, 2)
	all := lines(t, dir)
	overwrite(t, segments(t, dir)[0], all[0]+all[1]+strings.Repeat("x\n", 5000)+all[2])
	if r := verify(t, dir); len(r.Faults) != 100 || r.FaultCount < 5000 {
		t.Errorf("%d of %d faults", len(r.Faults), r.FaultCount)
	}
}

func FuzzReadLine(f *testing.F) {
	for l := range strings.Lines(golden) {
		f.Add([]byte(l))
	}
	f.Add([]byte(`{"seq":18446744073709551615,"unsynced":0,"":0,"hash":"` + strings.Repeat("0", 64) + "\"}\n"))
	f.Add([]byte(`{"seq":01,"unsynced":0,"":0,"hash":"` + strings.Repeat("F", 64) + "\"}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		// There is one form of everything: what is read is what is written.
		for _, read := range []func([]byte) ([]byte, error){audit.ReadLine, audit.ReadHeader} {
			if got, err := read(raw); err == nil && string(got) != string(raw) {
				t.Errorf("%q was read as %q", raw, got)
			}
		}
	})
}
