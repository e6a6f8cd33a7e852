package audit_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/server/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var record = audit.Record{
	TraceName: "createDataKey", Rating: audit.RatingNormal, ResourceType: "cmk",
	ResourceID: "0d0466b0-e727-4d9c-b35d-f84bb474a37f", ResourceName: "orders", ResourceURL: "/v1.0/b0b0/kms/create-datakey", SourceIP: "192.0.2.7", UserAgent: "huaweicloud-usdk-go/3.0",
	RequestID: "c0ffee00-0000-4000-8000-000000000001", ProjectID: "b0b0", NodeID: "n2",
	User:    audit.User{ID: "a0a0", Name: "admin", DomainID: "d0d0", DomainName: "acme", AccessKeyID: "AK1"},
	Request: details("key_id", "alias/orders", "bits", 256), Response: details("key_version", 1), ReadOnly: true,
	Code: "200", Time: time.UnixMilli(1700000000000), RecordTime: time.UnixMilli(1700000000003), Duration: 2500 * time.Microsecond,
}

// details are names and values by turns.
func details(pairs ...any) *audit.Details {
	d := new(audit.Details)
	for i := 0; i < len(pairs); i += 2 {
		switch v := pairs[i+1].(type) {
		case string:
			d.Text(pairs[i].(string), v)
		case int:
			d.Number(pairs[i].(string), int64(v))
		}
	}
	return d
}

// named is the record with another request id.
func named(id string) *audit.Record {
	r := record
	r.RequestID = id
	return &r
}

// refusal is a record that may use the reserve.
func refusal(id string) *audit.Record {
	r := named(id)
	r.Rating, r.Code, r.ErrorCode = audit.RatingWarning, "403", "KMS.0301"
	return r
}

// logged is what the program has logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// small is a configuration with segments of a few records.
func small(dir string) audit.Config {
	return audit.Config{Dir: dir, NodeID: "n1", Plain: true, SegmentSize: 8 << 10, Reserve: 8 << 10,
		Clock: func() time.Time { return time.UnixMilli(1700000000000) }}
}

func open(t testing.TB, cfg audit.Config) (*audit.Log, *logged) {
	t.Helper()
	out := &logged{}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(out, nil))
	}
	log, err := audit.OpenConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, log) })
	return log, out
}

func shut(t testing.TB, log *audit.Log) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}

// appended appends n records called prefix-0, prefix-1 and so on.
func appended(t testing.TB, log *audit.Log, prefix string, n int) {
	t.Helper()
	for i := range n {
		if err := log.Append(t.Context(), named(fmt.Sprint(prefix, "-", i))); err != nil {
			t.Fatal(err)
		}
	}
}

func verify(t testing.TB, dir string) audit.Report {
	t.Helper()
	r, err := audit.Verify(dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sound is the report on a log that has no fault.
func sound(t testing.TB, dir string) audit.Report {
	t.Helper()
	r := verify(t, dir)
	if err := r.Err(); err != nil {
		t.Fatalf("the log is not sound: %v", err)
	}
	return r
}

// segments returns the paths of the segments, the oldest first.
func segments(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "traces-*.jsonl"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no segments (%v)", err)
	}
	return paths
}

// content is what a file holds without what is filled ahead.
func content(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimRight(string(b), "\n") + "\n"
}

// lines is every line of the log, headers too.
func lines(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	for _, path := range segments(t, dir) {
		for l := range strings.Lines(content(t, path)) {
			all = append(all, l)
		}
	}
	return all
}

func copied(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func overwrite(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// disk is a directory of the real disk that fails as planned.
type disk struct {
	dir string

	mu       sync.Mutex
	capacity int64 // bytes of all files; 0: no limit
	syncErr  error
	writeErr error         // of the next write of lines
	wrote    int           // how many bytes of it are written all the same
	truncErr error         // of the next truncation
	hold     chan struct{} // syncs wait until it is closed
	syncs    int
	writes   int // of lines, not of filling
}

func (d *disk) plan(f func(d *disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

func (d *disk) open(path string, flag int) (audit.File, error) {
	f, err := audit.OpenOSFile(path, flag)
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, disk: d}, nil
}

// used is how many bytes the files have.
func (d *disk) used() (n int64) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

type diskFile struct {
	audit.File
	disk *disk
}

func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(bytes.Trim(p, "\n")) > 0 {
		d.writes++
		if err := d.writeErr; err != nil {
			d.writeErr = nil
			n, _ := f.File.WriteAt(p[:d.wrote], at)
			return n, err
		}
	}
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	if d.capacity > 0 {
		if room := max(0, d.capacity-d.used()) + size - at; room < int64(len(p)) {
			n, _ := f.File.WriteAt(p[:max(0, room)], at)
			return n, unix.ENOSPC
		}
	}
	return f.File.WriteAt(p, at)
}

func (f *diskFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.truncErr; err != nil {
		f.disk.truncErr = nil
		return err
	}
	return f.File.Truncate(size)
}

func (f *diskFile) Datasync() error {
	f.disk.mu.Lock()
	f.disk.syncs++
	hold, err := f.disk.hold, f.disk.syncErr
	f.disk.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if err != nil {
		return err
	}
	return f.File.Datasync()
}

var _ io.WriterAt = (*diskFile)(nil)
