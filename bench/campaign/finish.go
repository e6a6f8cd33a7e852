package campaign

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

// How long the end of a campaign may take: everything is healed by then.
const (
	insistPatience = 60 * time.Second
	settlePatience = 60 * time.Second
	openers        = 12 // concurrent openings
)

// finish looks at everything that was written and opens everything that was
// encrypted, on every node.
func finish(ctx context.Context, rec *history.Recorder, nodes []*direct) error {
	h := rec.History()
	rotated := make(map[string]bool)
	for i := range h.Calls {
		if c := &h.Calls[i]; c.Op == history.Rotate {
			rotated[c.Name] = true
		}
	}
	var states map[string]history.Seen // by name, as the last node lists them
	for _, d := range nodes {
		var err error
		if states, err = list(ctx, rec, d, rotated); err != nil {
			return err
		}
	}
	for name, k := range states {
		if k.State != history.Disabled {
			continue
		}
		enable := history.Call{Op: history.Enable, Name: name}
		if err := insist(ctx, rec, nodes[0], k.KeyID, enable); err != nil {
			return err
		}
	}
	return openAll(ctx, rec, nodes, h, states)
}

// list records a listing of one node, with the versions of the keys that somebody
// asked to be rotated, and returns it by name.
func list(ctx context.Context, rec *history.Recorder, d *direct, rotated map[string]bool) (map[string]history.Seen, error) {
	for deadline := rec.Now() + insistPatience; ; {
		l := history.Listing{Node: d.node, Begin: rec.Now()}
		keys, v := d.list(ctx)
		l.End, l.Keys = rec.Now(), keys
		if v.outcome == history.OK {
			v = d.countVersions(ctx, keys, rotated)
		}
		if v.outcome == history.OK {
			rec.Listing(l)
			states := make(map[string]history.Seen, len(keys))
			for _, k := range keys {
				states[k.Name] = k
			}
			return states, nil
		}
		if rec.Now() > deadline {
			return nil, fmt.Errorf("listing the keys of %s: %s %s: %w", d.node, v.outcome, v.code, v.err)
		}
		time.Sleep(pollPeriod)
	}
}

// openAll opens every ciphertext on every node. A key that nobody lists is P1's
// to report.
func openAll(ctx context.Context, rec *history.Recorder, nodes []*direct, h *history.History, states map[string]history.Seen) error {
	type job struct {
		d *direct
		c *history.Call
	}
	jobs := make(chan job)
	problems := make(chan error, openers)
	var all sync.WaitGroup
	for range openers {
		all.Go(func() {
			var err error
			for j := range jobs {
				if err != nil {
					continue // the first failure has waited long enough
				}
				err = insist(ctx, rec, j.d, states[j.c.Name].KeyID, history.Call{
					Op: opener(j.c.Op), Name: j.c.Name, Ciphertext: j.c.Ciphertext, Wanted: j.c.Digest,
				})
			}
			problems <- err
		})
	}
	for i := range h.Calls {
		c := &h.Calls[i]
		if _, there := states[c.Name]; !there || !c.Op.Seals() || c.Outcome != history.OK {
			continue
		}
		for _, d := range nodes {
			jobs <- job{d, c}
		}
	}
	close(jobs)
	all.Wait()
	close(problems)
	var err error
	for problem := range problems {
		err = errors.Join(err, problem)
	}
	return err
}

// insist asks until there is a definite answer.
func insist(ctx context.Context, rec *history.Recorder, d *direct, key string, c history.Call) error {
	c.Worker, c.Node, c.Final = -1, d.node, true
	for deadline := rec.Now() + insistPatience; ; {
		try := c
		record(ctx, rec, d, key, &try)
		switch {
		case try.Outcome == history.OK || try.Outcome == history.Refused:
			return nil
		case try.End > deadline:
			return fmt.Errorf("%s on %s at the end: %s %s", c.Op, d.node, try.Outcome, try.Error)
		}
		time.Sleep(pollPeriod)
	}
}

// scrapePeriod is how often each node is asked for its status.
const scrapePeriod = 150 * time.Millisecond

// scrape records what a node says of itself until ctx ends.
func (c *cluster) scrape(ctx context.Context, rec *history.Recorder, i int) {
	for ctx.Err() == nil {
		c.recordStatus(ctx, rec, i)
		select {
		case <-ctx.Done():
		case <-time.After(scrapePeriod):
		}
	}
}

// recordStatus asks a node and records what one process of it said.
func (c *cluster) recordStatus(ctx context.Context, rec *history.Recorder, i int) (applied uint64, ok bool) {
	p := c.processes[i]
	pid, begin, fresh := p.PID(), rec.Now(), c.fresh[i].Load()
	s, err := c.status(ctx, i)
	if err != nil || pid == 0 || p.PID() != pid || s.ClusterID == "" || c.fresh[i].Load() != fresh {
		return 0, false // nobody, or two of them
	}
	if s.Leader == p.ID() {
		c.leaders.add(p.Program())
	}
	rec.Status(history.Status{
		Node: p.ID(), PID: pid, Fresh: int(fresh), Leader: s.Leader, Begin: begin, End: rec.Now(),
		Term: s.Term, Commit: s.Commit, Applied: s.Applied, StateHash: s.StateHash,
	})
	return s.Applied, true
}

// meet waits until gossip has found together again: every node says of all
// members that they are alive.
func (c *cluster) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settlePatience)
	defer cancel()
	for i, p := range c.processes {
		for {
			s, err := c.status(ctx, i)
			missing := len(c.processes) - len(s.Members)
			for _, m := range s.Members {
				if !m.Alive {
					missing++
				}
			}
			if err == nil && missing == 0 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("gossip of %s finds %d of %d members missing %s after the end: %w", p.ID(), missing, len(c.processes), settlePatience, errors.Join(err, ctx.Err()))
			case <-time.After(pollPeriod):
			}
		}
	}
	return nil
}

// settle waits until all nodes were seen at one index, so that their states
// have been compared at the end.
func (c *cluster) settle(ctx context.Context, rec *history.Recorder) error {
	for deadline := rec.Now() + settlePatience; rec.Now() < deadline; time.Sleep(pollPeriod) {
		first, same := uint64(0), true
		for i := range c.processes {
			applied, ok := c.recordStatus(ctx, rec, i)
			if i == 0 {
				first = applied
			}
			same = same && ok && applied == first
		}
		if same {
			return nil
		}
	}
	return fmt.Errorf("the nodes were not seen at one index within %s", settlePatience)
}
