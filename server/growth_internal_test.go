package server

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// Peers hold the proof of every checkpoint that they keep: it comes along, over
// a restart of the node, too; who has missed too much asks for it.
func TestPeersHaveProofs(t *testing.T) {
	c := newTrio(t, func(cfg *Config) { cfg.CheckpointPause = time.Hour })
	sender, peer := c.nodes[0].member.Load().publisher, c.nodes[1].member.Load().publisher
	publish := func() {
		t.Helper()
		noted(t, c.nodes[0], 30)
		must(t, sender.run(t.Context(), time.Now().UnixMilli()))
	}
	state := func() (grown audit.Checkpoint, waits bool) {
		peer.mu.Lock()
		defer peer.mu.Unlock()
		_, waits = peer.unproved["n1"]
		return peer.grown["n1"], waits
	}
	f := func(step string, waits bool) {
		t.Helper()
		grown, waiting := state()
		now, ok := c.nodes[0].traces.Checkpoint("")
		if waiting != waits || !ok || !waits && now.Size-grown.Size > 25 {
			t.Errorf("%s: proved up to %d of %d lines, waits for a proof: %v", step, grown.Size, now.Size, waiting)
		}
	}
	publish()
	f("the first", false)
	before, _ := state()
	publish()
	publish()
	f("more of them", false)
	if now, _ := state(); now.Size < before.Size+60 {
		t.Errorf("proved up to %d lines, %d before", now.Size, before.Size)
	}

	// The node was started again: it proves where it goes on from.
	sender.steps, sender.linked = nil, false
	publish()
	f("after a restart", false)

	// The peer knows nothing but an older one, and the steps do not reach back.
	sender.steps = nil
	peer.mu.Lock()
	peer.grown["n1"] = before
	peer.mu.Unlock()
	publish()
	f("steps that do not reach back", true)
	must(t, peer.proveLate(t.Context(), 0))
	f("a proof that was asked for", false)
	if told := c.nodes[1].metrics.doubts.Get(); told != 0 {
		t.Errorf("%d doubts about an honest node", told)
	}
}

// A node that makes its log anew from some place on, and signs it, contradicts
// what peers know, also where no two checkpoints are of the same size.
func TestForgedGrowthIsDoubted(t *testing.T) {
	s, _ := startFounderOf(t, func(c *Config) { c.CheckpointPause = time.Hour })
	m := s.member.Load()
	openLog := func(dir string) *audit.Log {
		t.Helper()
		log, err := audit.OpenConfig(audit.Config{Dir: dir, NodeID: "n2", Logger: s.cfg.Logger})
		must(t, err)
		return log
	}
	write := func(log *audit.Log, name string, n int) {
		t.Helper()
		for range n {
			must(t, log.Append(t.Context(), &audit.Record{TraceName: name, NodeID: "n2", Time: time.UnixMilli(1), RecordTime: time.UnixMilli(1)}))
		}
	}
	dir, forged := t.TempDir(), t.TempDir()
	log := openLog(dir)
	write(log, "x", 10)
	must(t, log.Close())
	must(t, os.CopyFS(forged, os.DirFS(dir)))

	log = openLog(dir)
	defer func() { must(t, log.Close()) }()
	other := openLog(forged)
	defer func() { must(t, other.Close()) }()
	write(log, "x", 10)
	write(other, "y", 20)
	kept, _, ok := log.NextCheckpoint(t.Context(), m.traceOrigin("n2"))
	if !ok {
		t.Fatal("there is no checkpoint")
	}
	f := func(name string, change func(c *audit.Checkpoint, steps []audit.Step) []audit.Step, how string) {
		t.Helper()
		p, err := newPublisher(s, m)
		must(t, err)
		p.events = newEvents()
		send := func(c audit.Checkpoint, steps []audit.Step) {
			t.Helper()
			signed, err := s.signCheckpoint(t.Context(), c)
			must(t, err)
			signed.Grown = steps
			body, err := json.Marshal(signed)
			must(t, err)
			_, err = p.answerKeep(t.Context(), "n2", body)
			must(t, err)
		}
		send(kept, nil)
		now, ok := other.Checkpoint(m.traceOrigin("n2"))
		step, err := other.Prove(t.Context(), now, kept.Size)
		must(t, err)
		if !ok || now.Log != kept.Log || now.Size <= kept.Size {
			t.Fatalf("%+v is not of the log of %+v", now, kept)
		}
		now.Time = kept.Time + 10_000
		steps := change(&now, []audit.Step{step})
		send(now, steps)
		told := p.events.take()
		if how == "" {
			if len(told) != 0 {
				t.Errorf("%s: told %d times", name, len(told))
			}
			return
		}
		if len(told) != 1 {
			t.Errorf("%s: told %d times", name, len(told))
			return
		}
		must(t, m.service.Note(t.Context(), told[0].op, nil, told[0].tell))
		a, err := s.traces.Search(t.Context(), audit.Query{TraceName: told[0].op.Name, Limit: 1})
		must(t, err)
		if body := string(a.Found[0].Body); !strings.Contains(body, how) {
			t.Errorf("%s: traced as %s", name, body)
		}
		copies, err := p.copies.Of("n2")
		must(t, err)
		if len(copies) == 0 || copies[len(copies)-1].Grown != nil {
			t.Errorf("%s: %d copies, or one with its proofs", name, len(copies))
		}
		must(t, os.RemoveAll(s.cfg.AuditDir+"/"+audit.CopiesDir+"/n2.jsonl"))
	}
	f("no proof yet", func(*audit.Checkpoint, []audit.Step) []audit.Step { return nil }, "")
	must(t, os.RemoveAll(s.cfg.AuditDir+"/"+audit.CopiesDir+"/n2.jsonl"))
	f("its own proof", func(_ *audit.Checkpoint, steps []audit.Step) []audit.Step { return steps }, "does not hold the lines of")
	f("with the honest root", func(_ *audit.Checkpoint, steps []audit.Step) []audit.Step {
		steps[0].Root = kept.Root
		return steps
	}, "does not hold the lines of")
	f("a tree that begins anew", func(c *audit.Checkpoint, _ []audit.Step) []audit.Step {
		c.From, c.Size = c.From+5, c.Size-5
		return nil
	}, "begins anew at sequence 6")
}
