package export_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/audit/export"
)

// A file gets the lines as they are in the log, over segments, also after the
// export was stopped and when somebody renames the file.
func TestFile(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "out.jsonl")
	cfg := export.Config{Name: "file", Kind: export.Lines, Path: path}
	w.append(60)
	s, stop := w.start(cfg)
	w.caughtUp(s)
	w.covered(split(read(t, path)))
	if n := len(split(read(t, path))); n != 60 {
		t.Errorf("%d lines in the file", n)
	}
	stop()
	w.append(30)
	s, stop = w.start(cfg)
	w.caughtUp(s)
	if n := len(split(read(t, path))); n != 90 {
		t.Errorf("%d lines after a clean stop", n)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	w.append(30)
	w.caughtUp(s)
	stop()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	w.covered(split(read(t, path+".old") + read(t, path)))
	if st := s.Stats()[0]; st.Errors != 0 || st.Lost != 0 || st.Sent != 60 || st.Above != 120 || st.LagSeconds != 0 {
		t.Errorf("%+v", st)
	}
}

// A file that has its size is renamed, and so many of them are kept.
func TestFilesBySize(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "out.jsonl")
	cfg := export.Config{Name: "file", Kind: export.Lines, Path: path, MaxSize: 64 << 10, Keep: 3}
	s, stop := w.start(cfg)
	for range 8 {
		w.append(60)
		w.caughtUp(s)
	}
	stop()
	all := ""
	for n := 3; n > 0; n-- {
		text := read(t, fmt.Sprint(path, ".", n))
		if len(text) > 64<<10 {
			t.Errorf("%s.%d has %d bytes", path, n, len(text))
		}
		all += text
	}
	all += read(t, path)
	if _, err := os.Stat(path + ".4"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a fourth file is kept: %v", err)
	}
	want := w.lines()
	if got := split(all); !slices.Equal(got, want[len(want)-len(got):]) || len(got) < 240 {
		t.Errorf("%d lines, not the newest", len(got))
	}
}

// What a crash leaves is mended: an end that is torn, a place that is older than
// what was sent, one that is damaged or of another log. Nothing is left out.
func TestCrash(t *testing.T) {
	place := func(w *world) string { return filepath.Join(w.dir, "export", "file.position") }
	f := func(crash func(w *world, path string), says string) {
		t.Helper()
		w := newWorld(t)
		path := filepath.Join(w.dir, "out.jsonl")
		cfg := export.Config{Name: "file", Kind: export.Lines, Path: path}
		w.append(20)
		s, stop := w.start(cfg)
		w.caughtUp(s)
		stop()
		w.append(20)
		crash(w, path)
		s, stop = w.start(cfg)
		w.caughtUp(s)
		stop()
		got := split(read(t, path))
		got = slices.DeleteFunc(got, func(l string) bool { return strings.HasPrefix(l, `{"seq":20,`) && !strings.HasSuffix(l, "\"}\n") })
		w.covered(got)
		if !strings.Contains(w.logged.String(), says) {
			t.Errorf("logged %s", w.logged)
		}
	}
	before := ""
	f(func(w *world, path string) {
		// A place from before the last lines, of which one is torn.
		before = read(t, place(w))
		text := read(t, path)
		write(t, path, []byte(text[:len(text)-40]))
		os.Remove(place(w))
	}, "")
	f(func(w *world, _ string) { write(t, place(w), []byte(before[:20]+"x"+before[21:])) }, "damaged")
	f(func(w *world, _ string) { write(t, place(w), nil) }, "damaged")
	f(func(w *world, _ string) {
		write(t, place(w), []byte(strings.Repeat("x", 10_000)))
	}, "damaged")
	f(func(w *world, _ string) { write(t, place(w), []byte(before)) }, "not the one that this export has sent before") // another log's hash
	f(func(w *world, path string) {
		w.shut()
		if err := os.RemoveAll(filepath.Join(w.dir, "audit")); err != nil {
			t.Fatal(err)
		}
		os.Remove(path)
		w.openLog(audit.Config{})
		w.append(5)
	}, "not the one that this export has sent before") // a log that is shorter
}

// FuzzPosition: whatever the file holds, it is a place or an error, never
// another place.
func FuzzPosition(f *testing.F) {
	f.Add([]byte(""))
	f.Add([]byte("{\"above\":7,\"hash\":\"" + strings.Repeat("00", 32) + "\"} 00000000\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if again, err := export.Position(text); err == nil && string(again) != string(text) {
			t.Errorf("%q is read as %q", text, again)
		}
	})
}

// A new export may begin with what comes.
func TestFromNow(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, "out.jsonl")
	w.append(20)
	s, _ := w.start(export.Config{Name: "file", Kind: export.Lines, Path: path, FromNow: true})
	w.append(3)
	w.caughtUp(s)
	if got := split(read(t, path)); !slices.Equal(got, w.lines()[20:]) {
		t.Errorf("%d lines", len(got))
	}
}

// What retention removes before it was sent is counted and logged.
func TestLost(t *testing.T) {
	w := newWorld(t)
	w.shut()
	w.openLog(audit.Config{RetentionSize: 40 << 10})
	w.append(300)
	s, _ := w.start(export.Config{Name: "file", Kind: export.Lines, Path: filepath.Join(w.dir, "out.jsonl")})
	w.caughtUp(s)
	if st := s.Stats()[0]; st.Lost == 0 || st.Sent+st.Lost != w.log.Durable() || !strings.Contains(w.logged.String(), "removed before this export has sent them") {
		t.Errorf("%+v", st)
	}
}

// A reader of standard output that never reads stops neither the log nor the
// end of the node; the lag shows, and memory stays what it was.
func TestStandardOutputThatBlocks(t *testing.T) {
	w := newWorld(t)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := w.open(export.Config{Name: "out", Kind: export.Lines, Path: "-", Timeout: 100 * time.Millisecond})
	s.PrintTo(in)
	s.Start()
	w.append(200)
	await(t, "the export is stuck", func() bool { return s.Stats()[0].Errors > 0 })
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	w.append(4000)
	if grown := int64(heap()) - int64(before); grown > 2<<20 {
		t.Errorf("memory has grown by %d bytes while %d lines wait", grown, s.Stats()[0].Lag)
	}
	if st := s.Stats()[0]; st.Lag < 4000 || st.LagSeconds < 1 {
		t.Errorf("%+v", st)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := errors.Join(out.Close(), in.Close()); err != nil { // frees who is stuck
		t.Error(err)
	}
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	f := func(want string, c export.Config) {
		t.Helper()
		if c.Name == "" {
			c.Name = "x"
		}
		err := c.Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("a secret is told: %v", err)
		}
	}
	secret := func() ([]byte, error) { return nil, nil }
	f("", export.Config{Kind: export.Lines, Path: "-"})
	f("", export.Config{Kind: export.Syslog, Address: "siem.example:6514", CAFile: "/ca"})
	f("", export.Config{Kind: export.Webhook, URL: "https://siem.example/traces", Secret: secret, Authorization: secret})
	f("", export.Config{Kind: export.OTLP, URL: "http://127.0.0.1:4318/v1/logs"})
	f("", export.Config{Kind: export.OTLP, URL: "http://collector.example/v1/logs", Plain: true})
	f("name", export.Config{Name: "a/b", Kind: export.Lines, Path: "-"})
	f("type", export.Config{Kind: "kafka"})
	f("path", export.Config{Kind: export.Lines, Path: "relative"})
	f("max_size", export.Config{Kind: export.Lines, Path: "/x", MaxSize: 1})
	f("max_size", export.Config{Kind: export.Lines, Path: "-", MaxSize: 1 << 20})
	f("keep", export.Config{Kind: export.Lines, Path: "/x", Keep: -1})
	f("path", export.Config{Kind: export.Syslog, Address: "a:1", Path: "/x"})
	f("address", export.Config{Kind: export.Syslog, Address: "siem.example"})
	f("go together", export.Config{Kind: export.Syslog, Address: "a:1", KeyFile: "/k"})
	f("ca_file", export.Config{Kind: export.Syslog, Address: "a:1", Plain: true, CAFile: "/ca"})
	f("not https", export.Config{Kind: export.Webhook, URL: "http://siem.example/"})
	f("https", export.Config{Kind: export.Webhook, URL: "ftp://user:hunter2@siem.example/"})
	f("secrets are given", export.Config{Kind: export.Webhook, URL: "https://user:hunter2@siem.example/"})
	f("secrets are given", export.Config{Kind: export.Webhook, URL: "https://siem.example/?token=hunter2"})
	f("secret_file", export.Config{Kind: export.OTLP, URL: "https://siem.example/", Secret: secret})
	f("authorization_file", export.Config{Kind: export.Lines, Path: "-", Authorization: secret})
	f("timeout", export.Config{Kind: export.Lines, Path: "-", Timeout: time.Hour})
}

// The log keeps what no sink has taken yet, however old it becomes, and lets it
// go when all have it.
func TestRetentionWaitsForExports(t *testing.T) {
	w := newWorld(t)
	w.shut()
	var later atomic.Int64 // how far the clock has been put forward
	w.openLog(audit.Config{Clock: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	const month = int64(30 * 24 * time.Hour)
	out := filepath.Join(w.dir, "out")
	s, _ := w.start(export.Config{Name: "file", Kind: export.Lines, Path: filepath.Join(out, "traces.jsonl")}) // there is no such directory
	w.append(200)
	first := w.lines()[0]
	for range 2 { // segments of another time, so that retention looks
		later.Add(month)
		w.append(1)
	}
	if w.lines()[0] != first {
		t.Fatal("what was not exported is gone")
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	w.caughtUp(s)
	for range 2 {
		later.Add(month)
		w.append(1)
	}
	if w.lines()[0] == first {
		t.Error("what every sink has is kept for ever")
	}
}
