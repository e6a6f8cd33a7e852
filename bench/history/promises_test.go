package history_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/bench/history"
)

// story is a hand-made history of the name "k", whose key has the id "id" and
// was made under the tag "t1". Times are in milliseconds.
type story struct{ history.History }

// call adds a call; the fields that every call has are filled in.
func (s *story) call(begin, end int, c history.Call) *story {
	c.Name, c.Begin, c.End = "k", time.Duration(begin)*time.Millisecond, time.Duration(end)*time.Millisecond
	if c.Node == "" {
		c.Node = "n1"
	}
	if c.Outcome == "" {
		c.Outcome = history.OK
	}
	if c.Outcome == history.OK && c.KeyID == "" {
		c.KeyID = "id"
	}
	if c.Outcome == history.OK && c.Tag == "" && (c.Op == history.Create || c.Op == history.Describe) {
		c.Tag = "t1"
	}
	s.Calls = append(s.Calls, c)
	return s
}

func (s *story) do(begin, end int, op history.Op) *story {
	return s.call(begin, end, history.Call{Op: op})
}

func (s *story) ended(begin, end int, op history.Op, o history.Outcome) *story {
	c := history.Call{Op: op, Outcome: o, Tag: tagOf(op)}
	if o == history.NotDone {
		c.Code = "KMS.0104"
	}
	return s.call(begin, end, c)
}

func tagOf(op history.Op) string {
	if op == history.Create {
		return "t1"
	}
	return ""
}

func (s *story) refuse(begin, end int, op history.Op, code string) *story {
	return s.call(begin, end, history.Call{Op: op, Outcome: history.Refused, Code: code})
}

func (s *story) see(begin, end int, state history.State) *story {
	return s.call(begin, end, history.Call{Op: history.Describe, State: state})
}

// list adds the final listing of a node.
func (s *story) list(node string, keys ...history.Seen) *story {
	s.Listings = append(s.Listings, history.Listing{Node: node, Begin: time.Second, End: 2 * time.Second, Keys: keys})
	return s
}

func seen(state history.State) history.Seen {
	return history.Seen{KeyID: "id", Name: "k", Tag: "t1", State: state}
}

// status adds what a node said; its pid is that of its first process.
func (s *story) status(node string, term, applied uint64, hash string) *story {
	at := time.Duration(len(s.Statuses)) * time.Millisecond
	s.Statuses = append(s.Statuses, history.Status{
		Node: node, PID: 7, Begin: at, End: at, Term: term, Commit: applied, Applied: applied, StateHash: hash,
	})
	return s
}

// made is a new story in which the key was made from 0 to 10.
func made() *story { return new(story).do(0, 10, history.Create) }

// breaks wants that exactly these promises are broken.
func breaks(t *testing.T, s *story, want ...error) {
	t.Helper()
	for _, c := range history.Checkers() {
		found := c.Find(&s.History)
		expected := false
		for _, w := range want {
			expected = expected || errors.Is(c.Promise, w)
		}
		if expected != (len(found) > 0) {
			t.Errorf("%v: broken %t, found %v", c.Promise, expected, found)
		}
		for _, v := range found {
			if !errors.Is(v, c.Promise) {
				t.Errorf("%v finds %v", c.Promise, v)
			}
		}
	}
}

func TestGoodHistories(t *testing.T) {
	breaks(t, made().
		do(20, 30, history.MakeKey).do(40, 50, history.Disable).
		refuse(60, 70, history.MakeKey, history.CodeKeyDisabled).see(60, 70, history.Disabled).
		refuse(72, 74, history.Disable, history.CodeNotEnabled).
		refuse(72, 74, history.Create, history.CodeNameTaken).
		do(80, 90, history.Enable).refuse(92, 93, history.Enable, history.CodeNotDisabled).do(100, 110, history.Encrypt))
	// A use that overlaps the disabling may come before it.
	breaks(t, made().do(40, 50, history.Disable).do(49, 60, history.MakeKey))
	// A write of unknown outcome may happen at once, late, or never.
	breaks(t, made().ended(20, 30, history.Disable, history.Unknown).see(40, 50, history.Enabled).see(60, 70, history.Disabled))
	breaks(t, made().ended(20, 30, history.Disable, history.Unknown).see(40, 50, history.Enabled).list("n1", seen(history.Enabled)))
	breaks(t, new(story).ended(0, 10, history.Create, history.Unknown).refuse(20, 30, history.Describe, history.CodeNotFound).
		see(40, 50, history.Enabled).list("n1", seen(history.Enabled)))
	// An enabling of unknown outcome excuses a use.
	breaks(t, made().ended(12, 15, history.Enable, history.Unknown).do(20, 30, history.Disable).do(40, 50, history.MakeKey))
	// What was not done shows nothing.
	breaks(t, made().ended(20, 30, history.Disable, history.NotDone).ended(20, 30, history.Describe, history.Unknown).see(40, 50, history.Enabled))
	// A new process reads its log again, in a later term.
	s := made().status("n1", 3, 90, "a").status("n2", 3, 90, "a").status("n1", 4, 20, "b")
	s.Statuses[2].PID = 8
	breaks(t, s)
}

func TestStaleRead(t *testing.T) {
	breaks(t, made().do(20, 30, history.Disable).see(40, 50, history.Enabled), history.ErrNotLinearizable)
	breaks(t, made().refuse(20, 30, history.Describe, history.CodeNotFound), history.ErrNotLinearizable)
}

// A violation names the answers that contradict each other, not the rest.
func TestAViolationIsShrunk(t *testing.T) {
	s := made()
	for i := range 20 {
		s.see(12+i, 15+i, history.Enabled).do(12+i, 15+i, history.MakeKey)
	}
	s.do(50, 60, history.Disable).see(62, 63, history.Disabled).see(70, 80, history.Enabled).see(90, 95, history.Disabled)
	for _, v := range history.Check(&s.History) {
		if len(v.Calls) != 3 || v.Calls[1].Op != history.Disable || v.Calls[2].Begin != 70*time.Millisecond {
			t.Errorf("found %v", v)
		}
	}
	breaks(t, s, history.ErrNotLinearizable)
}

func TestNewThenOld(t *testing.T) {
	// Both looks overlap the disabling; alone each is right.
	breaks(t, made().do(20, 90, history.Disable).see(40, 45, history.Disabled).do(50, 55, history.MakeKey), history.ErrNotLinearizable)
	breaks(t, new(story).do(0, 90, history.Create).see(20, 30, history.Enabled).refuse(40, 50, history.Describe, history.CodeNotFound),
		history.ErrNotLinearizable)
}

func TestWrongRefusals(t *testing.T) {
	breaks(t, made().refuse(20, 30, history.Disable, history.CodeNotEnabled), history.ErrNotLinearizable)
	breaks(t, made().refuse(20, 30, history.MakeKey, history.CodeKeyDisabled), history.ErrNotLinearizable)
	breaks(t, made().refuse(20, 30, history.MakeKey, "APIGW.0301"), history.ErrNotLinearizable)
	breaks(t, new(story).refuse(20, 30, history.Create, history.CodeNameTaken), history.ErrNotLinearizable)
}

func TestLostWrites(t *testing.T) {
	breaks(t, made().list("n1", seen(history.Enabled)).list("n2"), history.ErrLost, history.ErrNotLinearizable)
	breaks(t, made().do(20, 30, history.Disable).list("n1", seen(history.Enabled)), history.ErrLost, history.ErrNotLinearizable)
	breaks(t, made().ended(12, 14, history.Disable, history.Unknown).do(20, 30, history.Disable).do(40, 50, history.Enable).
		list("n1", seen(history.Disabled))) // the unknown one came last
	other := seen(history.Enabled)
	other.KeyID = "other"
	breaks(t, made().list("n1", other), history.ErrLost, history.ErrNotLinearizable, history.ErrTwice)
}

func TestTwice(t *testing.T) {
	second := history.Call{Op: history.Create, Tag: "t2", KeyID: "other"}
	breaks(t, made().call(20, 30, second), history.ErrTwice, history.ErrNotLinearizable)
	breaks(t, new(story).ended(0, 10, history.Create, history.Unknown).
		list("n1", seen(history.Enabled), history.Seen{KeyID: "other", Name: "k", Tag: "t1", State: history.Enabled}),
		history.ErrTwice)
}

func TestDoneAfterAll(t *testing.T) {
	breaks(t, new(story).ended(0, 10, history.Create, history.NotDone).see(20, 30, history.Enabled),
		history.ErrDoneAfterAll, history.ErrNotLinearizable)
	breaks(t, new(story).ended(0, 10, history.Create, history.NotDone).list("n1", seen(history.Enabled)),
		history.ErrDoneAfterAll, history.ErrNotLinearizable)
	breaks(t, made().ended(20, 30, history.Disable, history.NotDone).refuse(40, 50, history.MakeKey, history.CodeKeyDisabled),
		history.ErrDoneAfterAll, history.ErrNotLinearizable)
	// Seen only in that a change succeeds twice in a row.
	breaks(t, made().do(12, 14, history.Disable).ended(20, 30, history.Enable, history.NotDone).do(40, 50, history.Disable),
		history.ErrDoneAfterAll, history.ErrNotLinearizable)
	// Who could not be reached has not said that it was not done.
	breaks(t, made().call(20, 30, history.Call{Op: history.Disable, Outcome: history.NotDone}).refuse(40, 50, history.MakeKey, history.CodeKeyDisabled),
		history.ErrNotLinearizable)
	// What was not done does not excuse what is wrong anyway.
	breaks(t, made().ended(20, 30, history.Disable, history.NotDone).refuse(40, 50, history.MakeKey, history.CodeNotFound),
		history.ErrNotLinearizable)
}

func TestUsedWhileDisabled(t *testing.T) {
	f := func(s *story) {
		t.Helper()
		breaks(t, s, history.ErrUsedWhileDisabled, history.ErrNotLinearizable)
	}
	f(made().do(20, 30, history.Disable).call(31, 40, history.Call{Op: history.MakeKey, Node: "n2"}))
	f(made().do(20, 30, history.Disable).do(40, 50, history.Enable).do(60, 70, history.Disable).do(80, 90, history.Encrypt))
	f(made().do(20, 30, history.Disable).do(40, 50, history.Encrypt).do(60, 70, history.Enable))
}

func TestUnreadable(t *testing.T) {
	sealed := history.Call{Op: history.MakeKey, Ciphertext: []byte("c"), Digest: "d"}
	open := func(node string, change func(*history.Call)) history.Call {
		c := history.Call{Op: history.OpenKey, Node: node, Ciphertext: []byte("c"), Digest: "d", Wanted: "d", Final: true}
		change(&c)
		return c
	}
	as := func(*history.Call) {}
	start := func() *story {
		return made().call(20, 30, sealed).list("n1", seen(history.Enabled)).list("n2", seen(history.Enabled))
	}
	breaks(t, start().call(40, 50, open("n1", as)).call(40, 50, open("n2", as)))
	breaks(t, start().call(40, 50, open("n1", as)), history.ErrUnreadable)
	breaks(t, start().call(40, 50, open("n1", as)).call(40, 50, open("n2", func(c *history.Call) { c.Digest = "x" })), history.ErrUnreadable)
	breaks(t, start().call(40, 50, open("n1", as)).call(40, 50, open("n2", func(c *history.Call) {
		c.Outcome, c.Code = history.Refused, "KMS.2201"
	})), history.ErrUnreadable, history.ErrNotLinearizable)
}

func TestDivergedAndWentBack(t *testing.T) {
	breaks(t, made().status("n1", 3, 90, "a").status("n2", 3, 91, "b").status("n3", 3, 90, "c"), history.ErrDiverged)
	breaks(t, made().status("n1", 3, 90, "a").status("n1", 2, 90, "a"), history.ErrWentBack)
	breaks(t, made().status("n1", 3, 90, "a").status("n1", 3, 89, "b"), history.ErrWentBack)
	restarted := made().status("n1", 3, 90, "a").status("n1", 2, 20, "b")
	restarted.Statuses[1].PID = 8
	breaks(t, restarted, history.ErrWentBack)
	h := made().status("n1", 3, 90, "a").status("n1", 3, 91, "b").status("n2", 3, 91, "b").status("n3", 3, 92, "c")
	if got := h.Compared(); got != 1 {
		t.Errorf("compared at %d indexes", got)
	}
}

func TestAHistoryIsJudgedTheSameFromItsFile(t *testing.T) {
	s := made().do(20, 30, history.Disable).do(40, 50, history.MakeKey).list("n1", seen(history.Enabled)).status("n1", 3, 90, "a")
	s.Faults = []history.Fault{{Kind: "kill", Nodes: []string{"n1"}, Begin: 1, End: 2, Served: 3}}
	s.Installs = []history.Install{{Node: "n1", At: 2}}
	path := filepath.Join(t.TempDir(), "history.jsonl")
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := history.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&s.History, loaded); diff != "" {
		t.Errorf("-saved+loaded\n%s", diff)
	}
	var was, is strings.Builder
	for _, v := range history.Check(&s.History) {
		was.WriteString(v.Error())
	}
	for _, v := range history.Check(loaded) {
		is.WriteString(v.Error())
	}
	if was.String() != is.String() || was.Len() == 0 {
		t.Errorf("judged %q, and from the file %q", &was, &is)
	}
	var page bytes.Buffer
	if err := history.Visualize(loaded, "k", &page); err != nil || page.Len() == 0 {
		t.Errorf("a drawing of %d bytes, %v", page.Len(), err)
	}
	for _, text := range []string{"{}", "{", `{"call":1}`, `{"other":{}}`} {
		if _, err := history.Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s is read as a history", text)
		}
	}
}
