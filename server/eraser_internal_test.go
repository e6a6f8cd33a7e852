package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// What a node has erased and cannot report, as there is no leader, it reports
// later, and does not erase once more for it.
func TestErasureIsReportedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fsmtest.Bootstrapped(t)
		gone := func(name string) uint64 {
			m.Must(fsmtest.CreateKey(name))
			m.Must(fsmtest.ScheduleDeletion(name, 1000))
			m.Now += 1000
			m.Must(command.DeleteDueKey{KeyID: fsmtest.KeyID(name), Due: m.Now})
			return m.State().LastDeletion()
		}
		var log bytes.Buffer
		var noLeader error
		var erased int
		var feeding bool
		var reports []uint64
		e := &eraser{
			nodeID: fsmtest.NodeID, dataDir: t.TempDir(), pause: time.Hour, state: m.State, logger: slog.New(slog.NewTextHandler(&log, nil)),
			erase:   func(context.Context) error { erased++; time.Sleep(time.Second); return nil },
			feeding: func() bool { return feeding },
			report: func(_ context.Context, through uint64, took time.Duration) error {
				if took != time.Second {
					t.Errorf("it took %v", took)
				}
				if noLeader == nil {
					reports = append(reports, through)
					m.Must(command.ReportErasure{NodeID: fsmtest.NodeID, Through: through})
				}
				return noLeader
			},
		}
		f := func(what string, wantErased int, wantReports ...uint64) {
			t.Helper()
			err := e.run(t.Context(), 0)
			if (err != nil) != (noLeader != nil) || erased != wantErased || !slices.Equal(reports, wantReports) {
				t.Errorf("%s: erased %d times, reported %v, %v; want %d and %v", what, erased, reports, err, wantErased, wantReports)
			}
			last := m.State().LastDeletion()
			if through, reported := toErase(m.State(), fsmtest.NodeID); through != last || (reported == last) != (last == 0 || slices.Contains(wantReports, last)) {
				t.Errorf("%s: %d is to be erased and %d reported", what, through, reported)
			}
		}
		f("nothing to erase", 0)
		first := gone("a")
		noLeader = errors.New("no leader")
		f("no leader", 1)
		f("still none", 1)
		if log.Len() > 0 {
			t.Errorf("said before it was reported: %s", &log)
		}
		second := gone("b")
		noLeader = nil
		f("a leader", 1, first)
		f("within the pause", 1, first)
		time.Sleep(time.Hour)
		f("after the pause", 2, first, second)
		f("nothing new", 2, first, second)
		if n := strings.Count(log.String(), "hold nothing any more"); n != 2 || strings.Contains(log.String(), "level=WARN") {
			t.Errorf("said: %s", &log)
		}

		// A follower that is being sent a snapshot needs the log behind it.
		while := gone("d")
		feeding = true
		time.Sleep(time.Hour)
		f("a snapshot is being sent", 2, first, second)
		time.Sleep(erasureHold - time.Second)
		f("still", 2, first, second)
		feeding = false
		f("it was sent", 3, first, second, while)
		stuck := gone("e")
		feeding = true
		time.Sleep(time.Hour)
		f("another is being sent", 3, first, second, while)
		time.Sleep(erasureHold)
		f("too long", 4, first, second, while, stuck)
		feeding = false

		// What a recovery has set aside is no file of those.
		aside := filepath.Join(e.dataDir, "raft-lost-20261128T080000Z")
		if err := os.Mkdir(aside, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		log.Reset()
		third := gone("c")
		f("with something set aside", 5, first, second, while, stuck, third)
		if said := log.String(); !strings.Contains(said, "level=WARN") || !strings.Contains(said, aside) {
			t.Errorf("said: %s", said)
		}
	})
}

// A directory that a recovery has set aside may hold a key that was there then,
// under roots that nobody looks for: it is named as long as it is there.
func TestWhatARecoverySetAsideIsNamed(t *testing.T) {
	dir := t.TempDir()
	made := time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)
	left := &remains{created: made.UnixMilli()}
	f := func(what string, want ...string) {
		t.Helper()
		got, err := mayHold(dir, left)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
	add := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	add("raft")
	add("identity.json-lost-20270101T000000Z")
	f("no recovery")
	add(raftDir + lostSuffix + made.Add(-25*time.Hour).Format(lostTime))
	f("before the key was made")
	after := add(raftDir + lostSuffix + made.Add(time.Hour).Format(lostTime))
	f("after it was made", after)
	moved := add(raftDir + lostSuffix + "somewhere")
	f("renamed", after, moved)
}
