package state_test

import (
	"errors"
	"testing"

	"github.com/raftkms/raftkms/fsm/canonical"
	"github.com/raftkms/raftkms/fsm/state"
)

// A Root stays what it was whatever is made of it, and a Txn reads its own writes.
func TestRootIsImmutable(t *testing.T) {
	empty := state.NewRoot()
	x := empty.Txn()
	x.PutKey(&state.Key{ID: "k", ProjectID: "p", Name: "a", Sequence: 1})
	if _, ok := x.Key("k"); !ok || x.KeyCount("p") != 1 {
		t.Fatal("the transaction does not see its own write")
	}
	if _, ok := empty.Key("k"); ok || empty.KeyCount("p") != 0 || empty.Hash() != [32]byte{} {
		t.Fatal("the root changed")
	}
	one := x.Commit()
	y := one.Txn()
	y.PutKey(&state.Key{ID: "k", ProjectID: "p", Name: "b", Sequence: 1})
	two := y.Commit()
	if k, _ := one.Key("k"); k.Name != "a" {
		t.Fatal("the root changed")
	}
	if _, ok := two.KeyByName("p", "a"); ok {
		t.Fatal("the old name still leads somewhere")
	}
	if k, ok := two.KeyByName("p", "b"); !ok || k.ID != "k" || two.KeyCount("p") != 1 {
		t.Fatal("the new name does not")
	}
}

// The names of domains, projects and users follow their records, each within its parent.
func TestNames(t *testing.T) {
	x := state.NewRoot().Txn()
	x.PutDomain(&state.Domain{ID: "d1", Name: "one"})
	x.PutDomain(&state.Domain{ID: "d1", Name: "uno"})
	x.PutProject(&state.Project{ID: "p1", DomainID: "d1", Name: "eu"})
	x.PutProject(&state.Project{ID: "p2", DomainID: "d2", Name: "eu"})
	x.PutProject(&state.Project{ID: "p2", DomainID: "d2", Name: "us"})
	x.PutUser(&state.User{ID: "u1", DomainID: "d1", Name: "ann"})
	x.PutUser(&state.User{ID: "u2", DomainID: "d2", Name: "ann"})
	x.PutUser(&state.User{ID: "u2", DomainID: "d2", Name: "bob"})
	root := x.Commit()

	f := func(got string, found bool, want string) {
		t.Helper()
		if got != want || found != (want != "") {
			t.Errorf("found %q, want %q", got, want)
		}
	}
	domain := func(name string) (string, bool) {
		d, ok := root.DomainByName(name)
		if !ok {
			return "", false
		}
		return d.ID, true
	}
	project := func(domainID, name string) (string, bool) {
		p, ok := root.ProjectByName(domainID, name)
		if !ok {
			return "", false
		}
		return p.ID, true
	}
	user := func(domainID, name string) (string, bool) {
		u, ok := root.UserByName(domainID, name)
		if !ok {
			return "", false
		}
		return u.ID, true
	}
	check := func(want string) func(string, bool) {
		return func(got string, found bool) { t.Helper(); f(got, found, want) }
	}
	check("d1")(domain("uno"))
	check("")(domain("one"))
	check("p1")(project("d1", "eu"))
	check("")(project("d2", "eu"))
	check("p2")(project("d2", "us"))
	check("u1")(user("d1", "ann"))
	check("")(user("d2", "ann"))
	check("u2")(user("d2", "bob"))
}

// The hash depends on what is there, not on the way that led to it.
func TestHashForgetsTheWay(t *testing.T) {
	reply := &state.Reply{ProposalID: "r", First: 5, Index: 1}
	x := state.NewRoot().Txn()
	x.PutClock(&state.Clock{Now: 1})
	x.PutReply(reply)
	x.PutUser(&state.User{ID: "u", Name: "a"})
	x.PutUser(&state.User{ID: "u", Name: "b"})
	x.DeleteReply(reply)
	x.PutClock(&state.Clock{Now: 2})

	y := state.NewRoot().Txn()
	y.PutUser(&state.User{ID: "u", Name: "b"})
	y.PutClock(&state.Clock{Now: 2})
	if x.Hash() != y.Hash() || x.ReplyCount() != 0 {
		t.Fatal("two ways to one state give two hashes")
	}
	y.PutClock(&state.Clock{Now: 3})
	if x.Hash() == y.Hash() {
		t.Fatal("two states have one hash")
	}
}

// The oldest reply is the one with the earliest first attempt.
func TestOldestReply(t *testing.T) {
	x := state.NewRoot().Txn()
	if _, ok := x.OldestReply(); ok {
		t.Fatal("a reply out of nothing")
	}
	for i, first := range []int64{300, 5, 1 << 40, 5} {
		x.PutReply(&state.Reply{ProposalID: string(rune('a' + i)), First: first, Index: uint64(i)})
	}
	var order string
	for {
		r, ok := x.OldestReply()
		if !ok {
			break
		}
		order += r.ProposalID
		x.DeleteReply(r)
	}
	if order != "bdac" {
		t.Fatalf("they leave in the order %q", order)
	}
}

func TestLoaderRefuses(t *testing.T) {
	user := func(id, name string) []byte { return canonical.MustMarshal(state.User{ID: id, Name: name}) }
	f := func(name string, records ...any) {
		t.Helper()
		l := state.NewLoader()
		for i := 0; i < len(records); i += 2 {
			if err := l.Load(records[i].(state.Table), records[i+1].([]byte)); err != nil {
				if !errors.Is(err, state.ErrRecord) {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
		}
		if _, err := l.Root(1); !errors.Is(err, state.ErrRecord) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	f("a table nobody knows", state.Table(99), user("a", "a"))
	f("the wrong record", state.TableCluster, user("a", "a"))
	f("a byte more", state.TableUser, append(user("a", "a"), 0))
	f("keys out of order", state.TableUser, user("b", "b"), state.TableUser, user("a", "a"))
	f("a key twice", state.TableUser, user("a", "a"), state.TableUser, user("a", "b"))
	f("tables out of order", state.TableUser, user("a", "a"), state.TableClock, canonical.MustMarshal(state.Clock{}))
	f("two clocks", state.TableClock, canonical.MustMarshal(state.Clock{}), state.TableClock, canonical.MustMarshal(state.Clock{}))
	f("a name twice", state.TableUser, user("a", "same"), state.TableUser, user("b", "same"))
}

func TestReadersOnNothing(t *testing.T) {
	root := state.NewRoot()
	if root.Cluster() != nil || root.Now() != 0 || root.Horizon() != 0 || root.Applied() != 0 || root.Nodes() != nil ||
		root.Keys("p", 0, 10, nil) != nil || root.KeysOldestFirst("p", 0, 10, nil) != nil || root.NextSequence("p") != 1 {
		t.Fatal("something came out of nothing")
	}
}

// A project whose id begins with another's has a list of its own.
func TestListsDoNotRunTogether(t *testing.T) {
	x := state.NewRoot().Txn()
	x.PutKey(&state.Key{ID: "1", ProjectID: "p", Name: "a", Sequence: 1})
	x.PutKey(&state.Key{ID: "2", ProjectID: "pp", Name: "a", Sequence: 1})
	x.PutKey(&state.Key{ID: "3", ProjectID: "o", Name: "a", Sequence: 9})
	root := x.Commit()
	for _, keys := range [][]*state.Key{root.Keys("p", 0, 10, nil), root.KeysOldestFirst("p", 0, 10, nil)} {
		if len(keys) != 1 || keys[0].ID != "1" {
			t.Fatalf("got %d keys", len(keys))
		}
	}
	if n := root.NextSequence("p"); n != 2 {
		t.Fatalf("the next place is %d", n)
	}
	if keys := root.KeysOldestFirst("p", ^uint64(0), 10, nil); keys != nil {
		t.Fatalf("after the last place there are %d keys", len(keys))
	}
}

// One entry may end something of several keys, and what ends the same again moves.
func TestLastDeletion(t *testing.T) {
	x := state.NewRoot().Txn()
	f := func(what string, want uint64) {
		t.Helper()
		if got := x.LastDeletion(); got != want {
			t.Errorf("%s: the last deletion is at %d, want %d", what, got, want)
		}
	}
	f("nothing deleted", 0)
	one, two := &state.Discard{KeyID: "1", Index: 7}, &state.Discard{KeyID: "2", Index: 7}
	x.PutDiscard(one)
	x.PutDiscard(two)
	x.DeleteDiscard(one)
	f("one of two forgotten", 7)
	x.PutTombstone(&state.Tombstone{KeyID: "3", Index: 9})
	x.PutTombstone(&state.Tombstone{KeyID: "3", Index: 8})
	f("a tombstone that moved", 8)
	x.PutTombstone(&state.Tombstone{KeyID: "4", Index: 8})
	x.PutTombstone(&state.Tombstone{KeyID: "4", Index: 12})
	f("one of two that moved", 12)
	x.PutTombstone(&state.Tombstone{KeyID: "4", Index: 3})
	f("and back", 8)
	x.DeleteDiscard(two)
	f("the other forgotten", 8)
}
