package transport_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/transport"
)

// twoReplications are those of nodes a and b, and the address of b.
func twoReplications(t *testing.T, ca clustertest.Authority) (a, b *transport.Replication, target raft.ServerAddress) {
	t.Helper()
	addresses := new(book)
	replication := func(id string) (*transport.Replication, *peer) {
		p := open(t, ca.Identity(t, id), "127.0.0.1:0", addresses)
		r := transport.NewReplication(p.Port, id, clustertest.Patience, func(term uint64) bool { return term == 3 }, clustertest.NothingApplied(), hclog.NewNullLogger())
		t.Cleanup(func() { r.Close(); p.close(); r.Wait() })
		return r, p
	}
	a, _ = replication("a")
	b, p := replication("b")
	return a, b, raft.ServerAddress(p.address)
}

// TestNumberedWhenSent: whichever way a request takes, its number is that of its
// sending, so that an answer that was under way when a round began does not
// count for it; one to a request sent later does.
func TestNumberedWhenSent(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	a, b, target := twoReplications(t, ca)
	request := func() *raft.AppendEntriesRequest {
		return &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}, Term: 3, PrevLogEntry: 7, PrevLogTerm: 2}
	}
	received := func() raft.RPC {
		t.Helper()
		select {
		case rpc := <-b.Consumer():
			return rpc
		case <-time.After(clustertest.Patience):
			t.Fatal("no request came")
			return raft.RPC{}
		}
	}
	// answer has b answer after a round of a's has begun, and waits for done.
	answer := func(what string, success bool, done func() error) {
		t.Helper()
		rpc := received()
		note := a.Acks.Sent()
		rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: success, LastLog: 5}, nil)
		if err := done(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if a.Acks.Acked("b", 3, note) {
			t.Errorf("%s: an answer to what was sent before counts", what)
		}
		if !a.Acks.Acked("b", 3, note-1) {
			t.Errorf("%s: the answer is not known", what)
		}
	}
	for _, success := range []bool{true, false} {
		result := make(chan error, 1)
		go func() { result <- a.AppendEntries("b", target, request(), new(raft.AppendEntriesResponse)) }()
		answer("a single request", success, func() error { return <-result })
	}

	pipeline, err := a.AppendEntriesPipeline("b", target)
	if err != nil {
		t.Fatal(err)
	}
	defer pipeline.Close()
	for _, success := range []bool{true, false} {
		if _, err := pipeline.AppendEntries(request(), new(raft.AppendEntriesResponse)); err != nil {
			t.Fatal(err)
		}
		answer("a pipelined request", success, func() error { return (<-pipeline.Consumer()).Error() })
	}

	note, before := a.Acks.Sent(), asks(a)
	a.Ask(3, []raft.ServerID{"b"})
	rpc := received()
	if beat := rpc.Command.(*raft.AppendEntriesRequest); beat.Term != 3 || beat.PrevLogEntry != 0 || len(beat.Entries) != 0 || string(beat.ID) != "a" {
		t.Fatalf("asked with %+v", beat)
	}
	news := a.Acks.News()
	rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: true}, nil)
	<-news
	if !a.Acks.Acked("b", 3, note) {
		t.Error("an answer to what was asked afterwards does not count")
	}
	if got := asks(a) - before; got != 1 {
		t.Errorf("%d heartbeats counted, one was sent", got)
	}
}

func asks(t *transport.Replication) uint64 {
	_, _, asks := t.Counts()
	return asks
}

// Heartbeats take the way of everything else, whatever handler Raft brings for
// them.
func TestNoFastPathForHeartbeats(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	a, b, target := twoReplications(t, ca)
	b.SetHeartbeatHandler(func(raft.RPC) { t.Error("a heartbeat took the fast path") })
	result := make(chan error, 1)
	go func() {
		heartbeat := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, Addr: []byte("a")}, Term: 3}
		result <- a.AppendEntries("b", target, heartbeat, new(raft.AppendEntriesResponse))
	}()
	select {
	case rpc := <-b.Consumer():
		rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: true}, nil)
	case <-time.After(clustertest.Patience):
		t.Fatal("the heartbeat did not come")
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// A follower that takes the same snapshot twice in a row is counted.
func TestRepeatedInstallsAreCounted(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	a, b, target := twoReplications(t, ca)
	install := func(index uint64, want uint64) {
		t.Helper()
		result := make(chan error, 1)
		go func() {
			request := &raft.InstallSnapshotRequest{
				RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}, SnapshotVersion: raft.SnapshotVersionMax,
				Term: 3, LastLogIndex: index, LastLogTerm: 2, Size: 4,
			}
			result <- a.InstallSnapshot("b", target, request, new(raft.InstallSnapshotResponse), strings.NewReader("bits"))
		}()
		select {
		case rpc := <-b.Consumer():
			if _, err := io.Copy(io.Discard, rpc.Reader); err != nil {
				t.Error(err)
			}
			rpc.Respond(&raft.InstallSnapshotResponse{Term: 3, Success: true}, nil)
		case <-time.After(clustertest.Patience):
			t.Fatal("the snapshot did not come")
		}
		if err := <-result; err != nil || a.Repeated() != want {
			t.Errorf("after the snapshot of %d: %d repeated, %v, want %d", index, a.Repeated(), err, want)
		}
	}
	install(5, 0)
	install(6, 0)
	install(6, 1)
}
