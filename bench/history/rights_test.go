package history_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/bench/history"
)

// rights is a hand-made history of one subject. Times are in milliseconds.
type rights struct{ history.History }

func (r *rights) add(begin, end int, node string, revokes bool, o history.Outcome) *rights {
	r.Entries = append(r.Entries, history.Entry{
		Subject: "s", Right: history.AccessKey, Node: node, Revokes: revokes,
		Begin: time.Duration(begin) * time.Millisecond, End: time.Duration(end) * time.Millisecond, Outcome: o,
	})
	return r
}

func (r *rights) use(begin, end int, node string, o history.Outcome) *rights {
	return r.add(begin, end, node, false, o)
}

func (r *rights) revoke(begin, end int, o history.Outcome) *rights {
	return r.add(begin, end, "n1", true, o)
}

func TestUsedWhileRevoked(t *testing.T) {
	f := func(name string, r *rights, broken bool) {
		t.Helper()
		found := history.Check(&r.History)
		if (len(found) > 0) != broken || broken && !errors.Is(found[0], history.ErrUsedWhileRevoked) {
			t.Errorf("%s: found %v, want broken: %v", name, found, broken)
		}
	}
	const ok, refused, unknown, notDone = history.OK, history.Refused, history.Unknown, history.NotDone
	f("a use before", new(rights).use(0, 10, "n2", ok).revoke(20, 30, ok).use(40, 50, "n2", refused), false)
	f("a use that began before the acknowledgement", new(rights).revoke(20, 30, ok).use(29, 50, "n2", ok), false)
	f("a use that began after the acknowledgement", new(rights).revoke(20, 30, ok).use(31, 50, "n2", ok), true)
	f("a use after an outcome that is unknown", new(rights).revoke(20, 30, unknown).use(31, 50, "n2", ok), false)
	f("a use after one that was not done", new(rights).revoke(20, 30, notDone).use(31, 50, "n2", ok), false)
	f("a use after somebody was told", new(rights).revoke(20, 90, ok).use(30, 40, "n2", refused).use(41, 50, "n3", ok), true)
	f("a use beside one that was told", new(rights).revoke(20, 90, ok).use(30, 40, "n2", refused).use(35, 50, "n3", ok), false)
	f("a use after one that got no answer", new(rights).revoke(20, 30, unknown).use(31, 40, "n2", notDone).use(41, 50, "n3", ok), false)
	f("the second acknowledgement", new(rights).revoke(20, 30, unknown).revoke(40, 50, ok).use(45, 60, "n2", ok).use(51, 70, "n2", ok), true)
	off := new(rights).use(0, 20, "n2", refused).use(30, 40, "n1", ok)
	off.Faults = []history.Fault{{Kind: "clock-year", Nodes: []string{"n2"}, End: 25 * time.Millisecond, Served: 25 * time.Millisecond}}
	f("a refusal by a node whose clock was off", off, false)
	off = new(rights).use(0, 20, "n3", refused).use(30, 40, "n1", ok)
	off.Faults = []history.Fault{{Kind: "clock-year", Nodes: []string{"n2"}, End: 25 * time.Millisecond, Served: 25 * time.Millisecond}}
	f("a refusal while another's was off", off, true)
	other := new(rights).revoke(20, 30, ok).use(40, 50, "n2", ok)
	other.Entries[1].Subject = "another"
	f("another's", other, false)
}

// A revocation counts for something only with a use before and a refusal.
func TestRevokedCounts(t *testing.T) {
	f := func(r *rights, want int) {
		t.Helper()
		if got := r.Revoked(history.AccessKey); got != want || r.Revoked(history.Token) != 0 {
			t.Errorf("%v counts for %d, want %d", r.Entries, got, want)
		}
	}
	f(new(rights).use(0, 10, "n2", history.OK).revoke(20, 30, history.OK).use(40, 50, "n2", history.Refused), 1)
	f(new(rights).revoke(20, 30, history.OK).use(40, 50, "n2", history.Refused), 0)
	f(new(rights).use(0, 10, "n2", history.OK).revoke(20, 30, history.OK).use(40, 50, "n2", history.NotDone), 0)
	f(new(rights).use(0, 10, "n2", history.OK).revoke(20, 30, history.Unknown).use(40, 50, "n2", history.Refused), 0)
}

func TestEntriesGoToAFileAndBack(t *testing.T) {
	recorder := history.NewRecorder()
	for _, e := range new(rights).use(0, 10, "n2", history.OK).revoke(20, 30, history.OK).Entries {
		recorder.Entry(e)
	}
	want := recorder.History()
	var file bytes.Buffer
	if err := want.Write(&file); err != nil {
		t.Fatal(err)
	}
	got, err := history.Read(&file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got.Entries, want.Entries); diff != "" || len(got.Entries) != 2 {
		t.Errorf("-got +want\n%s", diff)
	}
}
