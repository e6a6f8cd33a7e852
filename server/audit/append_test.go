package audit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

const goldenBody = `"trace_name":"createDataKey","trace_rating":"normal","trace_type":"ApiCall","service_type":"KMS","resource_type":"cmk",` +
	`"resource_id":"0d0466b0-e727-4d9c-b35d-f84bb474a37f","resource_name":"orders","resource_url":"/v1.0/b0b0/kms/create-datakey","source_ip":"192.0.2.7",` +
	`"user_agent":"huaweicloud-usdk-go/3.0","request_id":"c0ffee00-0000-4000-8000-000000000001","node_id":"n2","project_id":"b0b0",` +
	`"user":{"id":"a0a0","name":"admin","domain":{"id":"d0d0","name":"acme"},"access_key_id":"AK1"},"code":"200","read_only":true,` +
	`"request":{"key_id":"alias/orders","bits":256},"response":{"key_version":1},"time":1700000000000,"record_time":1700000000003,"duration_us":2500`

// The hashes were computed by another program.
const golden = `{"segment":1,"node_id":"n1","first":1,"oldest":1,"time":1700000000000,"prev":"0000000000000000000000000000000000000000000000000000000000000000","log":"0000000000000000000000000000000000000000000000000000000000000000","tree_from":1,"tree":[],"hash":"89584a4eee86de02b1720b6503db26b293af91bdad808d67e44802c371073dc9"}` + "\n" +
	`{"seq":1,"unsynced":0,` + goldenBody + `,"hash":"e7e5ca145568ac3bb63dbc527783d0331978951849025f3759a8facfcfa93af0"}` + "\n" +
	`{"seq":2,"unsynced":0,` + goldenBody + `,"hash":"89ad1547e11fb4dceccaa06c8bea250972e21204d8e82417c1611c76458fc65e"}` + "\n"

func TestTheFormOfASegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	log, _ := open(t, small(dir))
	for range 2 {
		if err := log.Append(t.Context(), &record); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "traces-00000000000000000001.jsonl")
	if got := content(t, path); got != golden {
		t.Errorf("got\n%swant\n%s", got, golden)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// The form is a promise: a log of this version is read for ever.
func TestTheGoldenSegmentIsRead(t *testing.T) {
	dir := t.TempDir()
	overwrite(t, filepath.Join(dir, "traces-00000000000000000001.jsonl"), golden)
	if r := sound(t, dir); r.Records != 2 || r.NodeID != "n1" || r.First != 1 || r.Last != 2 || !strings.Contains(golden, r.LastHash.String()+"\"}\n") {
		t.Errorf("report %+v", r)
	}
	log, _ := open(t, small(dir))
	appended(t, log, "x", 1)
	if r := sound(t, dir); r.Records != 3 || len(log.Faults()) > 0 {
		t.Errorf("report %+v", r)
	}
}

// Whatever is in a field stays in it: one line, valid JSON, bounded.
func TestAppendBoundsAndEscapes(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, audit.Config{Dir: dir, NodeID: "n1"})
	count := 0
	f := func(agent, want string) {
		t.Helper()
		count++
		r := record
		r.UserAgent, r.ResourceName, r.SourceIP, r.User.Name = agent, agent, agent, agent
		if err := log.Append(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		all := lines(t, dir)
		var got struct {
			Seq       int    `json:"seq"`
			UserAgent string `json:"user_agent"`
			Code      string `json:"code"`
		}
		if err := json.Unmarshal([]byte(all[len(all)-1]), &got); err != nil || got.UserAgent != want || got.Code != "200" || got.Seq != count {
			t.Errorf("%.40q became %.40q, code %q, sequence %d (%v)", agent, got.UserAgent, got.Code, got.Seq, err)
		}
	}
	f("a\"},\n{\"code\":\"500\x00\x1b[2J", "a\"},\n{\"code\":\"500\x00\x1b[2J")
	f("\xff\xfe", "\ufffd\ufffd")
	f(strings.Repeat("x", 100000), strings.Repeat("x", 256))
	f(strings.Repeat("x", 255)+"é", strings.Repeat("x", 255))
	f(strings.Repeat("x", 254)+"😀", strings.Repeat("x", 254))
	f(strings.Repeat("é", 300), strings.Repeat("é", 127))
	f(`","hash":"`+strings.Repeat("0", 64)+`"}`+"\n", `","hash":"`+strings.Repeat("0", 64)+`"}`+"\n")
	sound(t, dir)
}

// The longest record there can be is a line that is read.
func TestTheLongestRecord(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, audit.Config{Dir: dir, NodeID: "n1"})
	if err := log.Append(t.Context(), longest()); err != nil {
		t.Fatal(err)
	}
	all := lines(t, dir)
	if n := len(all[len(all)-1]); n > audit.MaxLine-50 || n < audit.MaxLine/2 {
		t.Errorf("the line has %d bytes", n)
	}
	sound(t, dir)
}

func longest() *audit.Record {
	s := strings.Repeat("\x00", 1000)
	full := func() *audit.Details {
		d := new(audit.Details)
		for range 50 {
			d.Text("name", s[:30])
		}
		return d
	}
	return &audit.Record{TraceName: s, Rating: audit.Rating(s), Type: audit.TraceType(s), Service: s, ResourceType: s, ResourceID: s, ResourceName: s, ResourceURL: s,
		SourceIP: s, UserAgent: s, RequestID: s, NodeID: s, ProjectID: s, User: audit.User{ID: s, Name: s, DomainID: s, DomainName: s, AccessKeyID: s},
		Code: s, ErrorCode: s, Message: s, ReadOnly: true, Request: full(), Response: full(),
		Time: time.UnixMilli(-1 << 62), RecordTime: time.UnixMilli(-1 << 62), Duration: -1 << 63}
}

func TestARecordWithoutANodeIsOfThisOne(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, small(dir))
	r := record
	r.NodeID = ""
	if err := log.Append(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	if all := lines(t, dir); !strings.Contains(all[1], `,"node_id":"n1",`) {
		t.Error(all[1])
	}
}

// Every record is there once, those of one caller in their order, over many
// segments, and chained.
func TestAppendSideBySide(t *testing.T) {
	const writers, each = 16, 60
	f := func(how audit.Sync) {
		t.Helper()
		dir := t.TempDir()
		cfg := small(dir)
		cfg.Sync, cfg.Interval = how, time.Millisecond
		log, _ := open(t, cfg)
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() { appended(t, log, fmt.Sprint(w), each) })
		}
		wg.Wait()
		shut(t, log)
		next := make(map[string]int)
		for _, l := range lines(t, dir) {
			var got struct {
				RequestID string `json:"request_id"`
			}
			if err := json.Unmarshal([]byte(l), &got); err != nil {
				t.Fatalf("a broken line: %v", err)
			}
			if got.RequestID == "" {
				continue // a header
			}
			w, i, _ := strings.Cut(got.RequestID, "-")
			if i != fmt.Sprint(next[w]) {
				t.Fatalf("record %s comes when %d is next", got.RequestID, next[w])
			}
			next[w]++
		}
		r := sound(t, dir)
		if len(next) != writers || r.Records != writers*each || r.Last != writers*each || r.Segments < 5 {
			t.Errorf("%d callers, report %+v", len(next), r)
		}
	}
	f(audit.SyncAlways)
	f(audit.SyncInterval)
}

// Those who come while the disk is at work share the next write and sync.
func TestCallersShareASync(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{dir: dir}
		log, _ := open(t, audit.Config{Dir: dir, NodeID: "n1"}.OnDisk(d.open))
		hold := make(chan struct{})
		d.plan(func(d *disk) { d.hold, d.syncs, d.writes = hold, 0, 0 })
		var wg sync.WaitGroup
		wg.Go(func() { appended(t, log, "first", 1) })
		synctest.Wait()
		for i := range 50 {
			wg.Go(func() { appended(t, log, fmt.Sprint(i), 1) })
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		if d.syncs != 2 || d.writes != 2 {
			t.Errorf("%d writes and %d syncs for one and then 50 records", d.writes, d.syncs)
		}
	})
	if r := sound(t, dir); r.Records != 51 {
		t.Errorf("report %+v", r)
	}
}

// The context bounds the wait for a place in the queue and nothing else.
func TestTheContextBoundsTheQueue(t *testing.T) {
	dir := t.TempDir()
	taken := 1
	synctest.Test(t, func(t *testing.T) {
		d := &disk{dir: dir}
		log, _ := open(t, audit.Config{Dir: dir, NodeID: "n1"}.OnDisk(d.open))
		over, cancel := context.WithCancelCause(t.Context())
		slow := errors.New("too slow")
		cancel(slow)
		if err := log.Append(over, &record); err != nil {
			t.Errorf("a slow call is not traced: %v", err)
		}
		hold := make(chan struct{})
		d.plan(func(d *disk) { d.hold = hold })
		var wg sync.WaitGroup
		for range 100 { // more than the queue takes
			wg.Go(func() {
				if err := log.Append(t.Context(), longest()); err != nil {
					t.Error(err)
				}
			})
			taken++
		}
		synctest.Wait()
		wg.Go(func() {
			if err := log.Append(over, longest()); !errors.Is(err, slow) {
				t.Errorf("error = %v, want the end of the context", err)
			}
		})
		synctest.Wait()
		close(hold)
		wg.Wait()
	})
	if r := sound(t, dir); r.Records != uint64(taken) {
		t.Errorf("%d records, want %d", r.Records, taken)
	}
}

// A disk that hangs is noticed however records are synced, by whoever only asks.
func TestADiskThatDoesNotAnswer(t *testing.T) {
	for _, how := range []audit.Sync{audit.SyncAlways, audit.SyncInterval} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			d := &disk{dir: dir}
			cfg := small(dir).OnDisk(d.open)
			cfg.Sync = how
			log, _ := open(t, cfg)
			hold := make(chan struct{})
			d.plan(func(d *disk) { d.hold = hold })
			var wg sync.WaitGroup
			wg.Go(func() { appended(t, log, "x", 1) })
			time.Sleep(9 * time.Second)
			if err := errors.Join(log.Healthy(), log.Stalled()); err != nil {
				t.Error(how, err)
			}
			time.Sleep(3 * time.Second)
			if err := log.Healthy(); !errors.Is(err, audit.ErrStalled) {
				t.Errorf("%s: error = %v, want ErrStalled", how, err)
			}
			if err := log.Stalled(); !errors.Is(err, audit.ErrStalled) {
				t.Errorf("%s: error = %v, want ErrStalled", how, err)
			}
			close(hold)
			wg.Wait()
			synctest.Wait()
			if err := errors.Join(log.Healthy(), log.Stalled()); err != nil {
				t.Error(how, err)
			}
			shut(t, log)
		})
	}
}

// Close waits for what was taken.
func TestClose(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &disk{dir: dir}
		log, _ := open(t, small(dir).OnDisk(d.open))
		hold := make(chan struct{})
		d.plan(func(d *disk) { d.hold = hold })
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { appended(t, log, "x", 1) })
			synctest.Wait()
		}
		wg.Go(func() { shut(t, log) })
		synctest.Wait()
		if err := log.Append(t.Context(), &record); !errors.Is(err, audit.ErrClosed) {
			t.Errorf("error = %v, want ErrClosed", err)
		}
		close(hold)
		wg.Wait()
		if err := log.Healthy(); !errors.Is(err, audit.ErrClosed) {
			t.Errorf("error = %v, want ErrClosed", err)
		}
	})
	if r := sound(t, dir); r.Records != 3 {
		t.Errorf("report %+v", r)
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	log, _ := open(t, audit.Config{Dir: t.TempDir(), NodeID: "n1", Sync: audit.SyncInterval})
	allocs := testing.AllocsPerRun(200, func() {
		if err := log.Append(t.Context(), &record); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 1 {
		t.Errorf("%v allocations for a record", allocs)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	log, _ := open(t, small(dir))
	f := func(cfg audit.Config, want error, text string) {
		t.Helper()
		got, err := audit.OpenConfig(cfg)
		if err == nil {
			got.Close()
			t.Errorf("%+v was opened", cfg)
		} else if want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("error = %v, want %v %q", err, want, text)
		}
	}
	f(small(dir), audit.ErrLocked, "")
	shut(t, log)
	other := small(dir)
	other.NodeID = "n2"
	f(other, audit.ErrNode, `"n1"`)

	odd := func(change func(c *audit.Config)) audit.Config {
		c := small(t.TempDir())
		change(&c)
		return c
	}
	f(odd(func(c *audit.Config) { c.Dir = "" }), nil, "no directory")
	f(odd(func(c *audit.Config) { c.NodeID = "" }), nil, "node id")
	f(odd(func(c *audit.Config) { c.NodeID = strings.Repeat("x", 129) }), nil, "node id")
	f(odd(func(c *audit.Config) { c.Sync = "never" }), nil, `"never"`)
	f(odd(func(c *audit.Config) { c.Full = "panic" }), nil, `"panic"`)
	f(odd(func(c *audit.Config) { c.Interval = -1 }), nil, "interval")
	f(odd(func(c *audit.Config) { c.SegmentSize = 1 }), nil, "segment size")
	f(odd(func(c *audit.Config) { c.Reserve = 1 }), nil, "reserve")
	f(odd(func(c *audit.Config) { c.RetentionAge = 1 }), nil, "retention")
	f(odd(func(c *audit.Config) { c.RetentionSize = -1 }), nil, "retention size")
	notFile := odd(func(c *audit.Config) {})
	if err := os.Mkdir(filepath.Join(notFile.Dir, filepath.Base(segments(t, dir)[0])), 0o700); err != nil {
		t.Fatal(err)
	}
	f(notFile, nil, "not a file")
	again, err := audit.Open(dir, "n1", nil)
	if err != nil {
		t.Fatal(err)
	}
	shut(t, again)
}
