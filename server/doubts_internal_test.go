package server

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

// A peer whose checkpoints do not fit those that are kept of it is told of at
// once, loudly and once; the evidence is kept.
func TestPeersAreDoubted(t *testing.T) {
	s, _ := startFounderOf(t, func(c *Config) { c.CheckpointPause = time.Hour })
	noted(t, s, 20)
	m := s.member.Load()
	origin := m.traceOrigin("n2")
	own, ok := s.traces.Checkpoint(origin)
	if !ok {
		t.Fatal("there is no checkpoint")
	}
	send := func(p *publisher, c audit.Checkpoint) {
		t.Helper()
		signed, err := s.signCheckpoint(t.Context(), c)
		must(t, err)
		body, err := json.Marshal(signed)
		must(t, err)
		_, err = p.answerKeep(t.Context(), "n2", body)
		must(t, err)
	}
	publisher := func() *publisher {
		p, err := newPublisher(s, m)
		must(t, err)
		p.events = newEvents()
		return p
	}
	f := func(name string, change func(c *audit.Checkpoint), how string) {
		t.Helper()
		p := publisher() // as after a restart: what is known is on disk
		c := own
		c.Time += 10_000
		change(&c)
		before, err := p.copies.Of("n2")
		must(t, err)
		doubts := s.metrics.doubts.Get()
		send(p, c)
		send(p, c)
		kept, err := p.copies.Of("n2")
		must(t, err)
		told := p.events.take()
		want := 0
		if how != "" {
			want = 1
		}
		if len(told) != want || s.metrics.doubts.Get() != doubts+uint64(want) || len(kept) != len(before)+1 {
			t.Errorf("%s: told %d times, counted %d, %d kept after %d", name, len(told), s.metrics.doubts.Get()-doubts, len(kept), len(before))
		}
		for _, e := range told {
			must(t, m.service.Note(t.Context(), e.op, nil, e.tell))
			a, err := s.traces.Search(t.Context(), audit.Query{TraceName: kms.OpDoubtTraces.Name, Limit: 1})
			must(t, err)
			if body := string(a.Found[0].Body); !strings.Contains(body, how) || !strings.Contains(body, `"trace_rating":"incident"`) || !strings.Contains(body, `"resource_id":"n2"`) {
				t.Errorf("%s: traced as %s", name, body)
			}
		}
	}
	f("the first", func(c *audit.Checkpoint) { c.Time = own.Time }, "")
	f("the same again", func(c *audit.Checkpoint) {}, "")
	f("one that grew", func(c *audit.Checkpoint) { c.Size += 5; c.Last[0] ^= 1 }, "")
	grown := own.Size + 5
	f("an older one that comes late", func(c *audit.Checkpoint) { c.Time = own.Time - 10_000; c.Size -= 3 }, "")
	f("one that was cut", func(c *audit.Checkpoint) { c.Time += 10_000; c.Size -= 3 }, "only, and was made after")
	f("one of other lines", func(c *audit.Checkpoint) { c.Time += 10_000; c.Size = grown; c.Last[5] ^= 1 }, "it is of other lines")
	f("one of another log", func(c *audit.Checkpoint) { c.Time += 20_000; c.Log[0] ^= 1; c.Size += 100 }, "it is of another log")
}
