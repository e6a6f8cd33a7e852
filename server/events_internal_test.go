package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/cluster"
)

// Every change of members is noted by the leader, once; what was there before
// anybody looked is no change.
func TestMemberWatch(t *testing.T) {
	e := newEvents()
	var w memberWatch
	member := func(id string, voter bool) cluster.Member { return cluster.Member{ID: id, Voter: voter} }
	f := func(led bool, members []cluster.Member, want ...string) {
		t.Helper()
		w.look(e, led, 7, members)
		var got []string
		for _, noted := range e.take() {
			got = append(got, noted.op.Name)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("-got +want\n%s", diff)
		}
	}
	f(false, []cluster.Member{member("n1", true)})
	f(true, []cluster.Member{member("n1", true)}, "gainLeadership")
	f(true, []cluster.Member{member("n1", true), member("n2", false)}, "changeMember")
	f(true, []cluster.Member{member("n1", true), member("n2", true)}, "changeMember")
	f(true, []cluster.Member{member("n1", true), member("n2", true)})
	f(true, nil)
	f(true, []cluster.Member{member("n1", true)}, "changeMember")
	f(false, []cluster.Member{member("n1", true), member("n3", false)}, "loseLeadership")
	f(false, []cluster.Member{member("n1", true)})
}
