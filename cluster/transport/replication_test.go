package transport_test

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/transport"
)

// TestNumberedWhenSent: whichever way a request takes, its number is that of its
// sending, so that an answer that was under way when a round began does not
// count for it; one to a request sent later does.
func TestNumberedWhenSent(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	addresses := new(book)
	replication := func(id string) (*transport.Replication, *peer) {
		p := open(t, ca.Identity(t, id), "127.0.0.1:0", addresses)
		r := transport.NewReplication(p.Port, id, clustertest.Patience, func(term uint64) bool { return term == 3 }, hclog.NewNullLogger())
		t.Cleanup(func() { r.Close(); p.close(); r.Wait() })
		return r, p
	}
	a, _ := replication("a")
	b, p := replication("b")
	target := raft.ServerAddress(p.address)
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
