package server

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// noted writes traces of a node.
func noted(t *testing.T, s *Server, n int) {
	t.Helper()
	for range n {
		if err := s.member.Load().service.Note(t.Context(), kms.OpTakeSnapshot, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// verified asks until checkpoints cover everything that a node has traced.
func verified(t *testing.T, s *Server) wire.TraceReport {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		reply, err := s.verifyTraces(t.Context(), wire.VerifyTracesRequest{NodeID: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		if r := reply.Nodes[0]; !reply.Sound {
			t.Fatalf("%+v", r)
		} else if r.Covered == r.Last && r.Checkpoints > 0 {
			return r
		}
		if time.Now().After(deadline) {
			t.Fatalf("no checkpoint covers the log: %+v", reply.Nodes)
		}
	}
}

// A node publishes what it has traced, and whoever has a copy of its directory
// and its public key proves it without any node.
func TestCheckpointsArePublished(t *testing.T) {
	s, _ := startFounderOf(t, func(c *Config) { c.CheckpointPause = 50 * time.Millisecond })
	noted(t, s, 5)
	first := verified(t, s)
	noted(t, s, 5)
	if r := verified(t, s); r.Last < first.Last+5 || r.Checkpoints <= first.Checkpoints {
		t.Errorf("%+v, then %+v", first, r)
	}
	m := s.member.Load()
	keys, err := s.traceKeys(t.Context())
	if err != nil || len(keys.Keys) != 1 || keys.Keys[0].NodeID != "n1" || !strings.HasPrefix(keys.Keys[0].Key, m.traceOrigin("n1")+"+") {
		t.Fatalf("%+v, %v", keys, err)
	}
	// While nothing is traced, nothing is published: a node of which nobody wants
	// anything comes to rest, and on a busy machine it may have an event of its own to trace first.
	await(t, "a node that does nothing writes nothing", func() bool {
		before := s.machine.State().Applied()
		time.Sleep(300 * time.Millisecond)
		return s.machine.State().Applied() <= before+1
	})

	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(s.cfg.AuditDir)); err != nil {
		t.Fatal(err)
	}
	found, err := audit.Gather(dir, []string{keys.Keys[0].Key})
	if err != nil || found.NodeID != "n1" || len(found.Checkpoints) == 0 || found.Foreign+found.Earlier > 0 {
		t.Fatalf("%+v, %v", found, err)
	}
	if r, err := audit.VerifyAgainst(t.Context(), dir, audit.Against{Checkpoints: found.Checkpoints}); err != nil || r.Err() != nil || r.Proved == 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A node that starts with another log than the one it has published says so,
// once, and its log does not pass.
func TestALogThatWasReplaced(t *testing.T) {
	s, _ := startFounderOf(t, func(c *Config) { c.CheckpointPause = 50 * time.Millisecond })
	noted(t, s, 5)
	verified(t, s)
	m := s.member.Load()
	// Events of its own: those of the server are written as soon as they come.
	p := &publisher{server: s, member: m, events: newEvents()}
	own, ok := s.traces.Checkpoint(m.traceOrigin("n1"))
	if !ok {
		t.Fatal("there is no checkpoint")
	}
	f := func(change func(c *audit.Checkpoint), want int) {
		t.Helper()
		p.told = false
		c := own
		change(&c)
		p.compare(c)
		p.compare(c)
		n := 0
		for _, e := range p.events.take() {
			if e.op.Name == kms.OpLoseTraces.Name {
				n++
			}
		}
		if n != want {
			t.Errorf("noted %d times, want %d", n, want)
		}
	}
	f(func(*audit.Checkpoint) {}, 0)
	f(func(c *audit.Checkpoint) { c.Size += 100 }, 0)
	f(func(c *audit.Checkpoint) { c.Size = 1 }, 1)
	f(func(c *audit.Checkpoint) { c.Log[0] ^= 1 }, 1)
}

// A peer's checkpoint is kept when it is that peer's; not more often than need be.
func TestPeersCheckpointsAreKept(t *testing.T) {
	s, _ := startFounderOf(t, func(c *Config) { c.CheckpointPause = time.Hour })
	noted(t, s, 1)
	m := s.member.Load()
	body := func(origin string) []byte {
		c, ok := s.traces.Checkpoint(origin)
		if !ok {
			t.Fatal("there is no checkpoint")
		}
		signed, err := s.signCheckpoint(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(signed)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	f := func(peer string, body []byte, want int) {
		t.Helper()
		_, err := m.publisher.answerKeep(t.Context(), peer, body)
		kept, readErr := m.publisher.copies.Of("n2")
		if (err != nil) != (want < 0) || readErr != nil || len(kept) != max(want, 0) && want >= 0 {
			t.Errorf("%d are kept, %v, %v", len(kept), err, readErr)
		}
	}
	f("n2", []byte("{"), -1)
	f("n2", body(m.traceOrigin("n1")), -1)
	f("n2", body(audit.Origin("another", "n2")), -1)
	good := body(m.traceOrigin("n2"))
	f("n2", good, 1)
	f("n2", good, 1)
	// What another key than that of the state has signed counts for nothing.
	if known, err := m.publisher.of("n2"); err != nil || len(known) != 0 {
		t.Errorf("%v, %v", known, err)
	}
	if _, err := s.verifyTraces(t.Context(), wire.VerifyTracesRequest{NodeID: "n9"}); err == nil {
		t.Error("a node that there is not was verified")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.traces.Verify(ctx, audit.Against{}); !errors.Is(err, context.Canceled) {
		t.Errorf("verifying does not end with its caller: %v", err)
	}
}
