package server

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// oldTraces writes a log of small segments, as node n1 would have left it: one
// trace of each request, the key of trace i is that of i modulo 7, and the clock
// goes an hour back in the middle of it. It returns the files of its segments.
func oldTraces(t *testing.T, dir string, n int) (segments []string) {
	t.Helper()
	must(t, os.MkdirAll(dir, 0o700))
	log, err := audit.OpenConfig(audit.Config{Dir: dir, NodeID: "n1", Sync: audit.SyncInterval, SegmentSize: 16 << 10, Reserve: 32 << 10})
	must(t, err)
	at := time.Now().Add(-30 * time.Minute)
	for i := range n {
		if i == n/2 {
			at = at.Add(-time.Hour)
		}
		r := audit.Record{TraceName: "createDataKey", Rating: audit.RatingNormal, ResourceType: "cmk", ResourceID: fmt.Sprint("key-", i%7), RequestID: fmt.Sprint("request-", i),
			Code: "200", Time: at.Add(time.Duration(i) * time.Millisecond), RecordTime: at.Add(time.Duration(i) * time.Millisecond)}
		must(t, log.Append(t.Context(), &r))
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		plain, err := filepath.Glob(filepath.Join(dir, "traces-*.jsonl"))
		must(t, err)
		if len(plain) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the segments are not packed")
		}
	}
	must(t, log.Close())
	segments, err = filepath.Glob(filepath.Join(dir, "traces-*.jsonl.zst"))
	must(t, err)
	return segments
}

// Whatever has become of the files of the traces while the node was down, a
// search through the API finds what is there, and says what is not.
func TestDamagedTracesThroughTheAPI(t *testing.T) {
	const n, window = 400, "&scope=all&from=1000000000000&to=9999999999999&limit=200"
	f := func(name string, damage func(t *testing.T, segments []string), least int, missing string) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "audit")
			segments := oldTraces(t, dir, n)
			if len(segments) < 6 {
				t.Fatalf("%d segments", len(segments))
			}
			if damage != nil {
				damage(t, segments)
			}
			s, founded := startFounderOf(t, func(c *Config) { c.AuditDir = dir })
			c := newSignedClient(t, s, founded)
			for range 2 { // the second time, an index is there again
				found := make(map[string]bool)
				damaged := make(map[string]bool)
				for key := range 7 {
					reply := c.traces(fmt.Sprintf("resource_id=key-%d%s", key, window))
					for _, trace := range reply.Traces {
						if found[trace.RequestID] {
							t.Errorf("%s is found twice", trace.RequestID)
						}
						found[trace.RequestID] = true
					}
					if reply.MetaData.Marker != nil || len(reply.MetaData.MissingNodes) > 0 {
						t.Errorf("marker %v, missing nodes %v", reply.MetaData.Marker, reply.MetaData.MissingNodes)
					}
					for _, place := range reply.MetaData.Damaged {
						damaged[place] = true
					}
				}
				if missing == "" && (len(damaged) > 0 || len(found) != n) {
					t.Errorf("%d found, damaged %v", len(found), damaged)
				}
				if missing != "" && (len(damaged) == 0 || len(found) < least || len(found) >= n) {
					t.Errorf("%d found, damaged %v", len(found), damaged)
				}
				for place := range damaged {
					if !strings.HasPrefix(place, "n1: traces-0") || !strings.Contains(place, missing) {
						t.Errorf("damaged: %s, want %q", place, missing)
					}
				}
			}
		})
	}
	flip := func(file string, at int64) func(t *testing.T, segments []string) {
		return func(t *testing.T, segments []string) {
			t.Helper()
			path := segments[2]
			if file != "" {
				path = strings.TrimSuffix(path, ".jsonl.zst") + file
			}
			data, err := os.ReadFile(path)
			must(t, err)
			data[(at+int64(len(data)))%int64(len(data))] ^= 1
			must(t, os.WriteFile(path, data, 0o600))
		}
	}
	remove := func(which int) func(t *testing.T, segments []string) {
		return func(t *testing.T, segments []string) { must(t, os.Remove(segments[which])) }
	}
	// The clock that jumped back moves nothing.
	f("nothing", nil, n, "")
	f("a bit of a segment", flip("", 700), n/2, "altered")
	f("the last bit of a segment", flip("", -1), n/2, "altered")
	f("a bit of an index", flip(".index", 40), n, "")
	f("a bit of the filters of an index", flip(".index", -10), n, "")
	f("no index", func(t *testing.T, segments []string) {
		must(t, os.Remove(strings.TrimSuffix(segments[2], ".jsonl.zst")+".index"))
	}, n, "")
	f("the index of another segment", func(t *testing.T, segments []string) {
		other, err := os.ReadFile(strings.TrimSuffix(segments[1], ".jsonl.zst") + ".index")
		must(t, err)
		must(t, os.WriteFile(strings.TrimSuffix(segments[2], ".jsonl.zst")+".index", other, 0o600))
	}, n, "")
	f("the first segment gone", remove(0), n/2, "missing: the traces from sequence 1 to ")
	f("a segment gone", remove(3), n/2, "missing: the traces from sequence ")
	f("a segment cut short", func(t *testing.T, segments []string) {
		info, err := os.Stat(segments[2])
		must(t, err)
		must(t, os.Truncate(segments[2], info.Size()/2))
	}, n/2, "altered")
	f("a segment emptied", func(t *testing.T, segments []string) { must(t, os.Truncate(segments[2], 0)) }, n/2, "missing: the traces from sequence ")
}
