package campaign

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// Names in a node's directory.
const (
	dataDir   = "data"
	tokenFile = "join-token"
)

// operatePatience bounds one thing that an operator does, with everything that
// it waits for; generous, as all patience with processes.
const operatePatience = 2 * time.Minute

// operator operates a cluster over its admin sockets. It implements
// [nemesis.Operator].
type operator struct {
	cluster *cluster
	keys    []*direct // who makes keys to have them deleted, of each node
	made    int
}

// ask has do succeed on some node but one, in time; a refusal because of what
// goes on is as good as no answer.
func (o *operator) ask(ctx context.Context, without string, do func(ctx context.Context, s *admin.Socket) error) error {
	ctx, cancel := context.WithTimeout(ctx, operatePatience)
	defer cancel()
	var last error
	for {
		for i, p := range o.cluster.processes {
			if p.ID() == without || p.PID() == 0 {
				continue
			}
			if last = do(ctx, o.cluster.sockets[i]); last == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), last)
		case <-time.After(10 * pollPeriod):
		}
	}
}

// Transfer implements [nemesis.Operator]: it asks once, the node that leads.
func (o *operator) Transfer(ctx context.Context) error {
	leader := o.cluster.leader(ctx)
	for i, p := range o.cluster.processes {
		if p.ID() == leader {
			_, err := o.cluster.sockets[i].TransferLeadership(ctx, "")
			return err
		}
	}
	return errors.New("no node leads")
}

// Demote implements [nemesis.Operator].
func (o *operator) Demote(ctx context.Context, node string) error {
	return o.ask(ctx, "", func(ctx context.Context, s *admin.Socket) error { return s.Demote(ctx, node) })
}

// Promote implements [nemesis.Operator].
func (o *operator) Promote(ctx context.Context, node string) error {
	return o.ask(ctx, "", func(ctx context.Context, s *admin.Socket) error { return s.Promote(ctx, node) })
}

// Strictly implements [nemesis.Operator].
func (o *operator) Strictly(ctx context.Context, strictly bool) error {
	if strictly {
		return o.consist(ctx, wire.Consistency{Mode: "strict"})
	}
	return o.consist(ctx, wire.Consistency{Mode: "lease"})
}

// allow has uses of keys be answered from a state up to so old.
func (o *operator) allow(ctx context.Context, age time.Duration) error {
	return o.consist(ctx, wire.Consistency{Mode: "available", MaxAgeMillis: age.Milliseconds()})
}

// consist changes the cluster's mode.
func (o *operator) consist(ctx context.Context, mode wire.Consistency) error {
	return o.ask(ctx, "", func(ctx context.Context, s *admin.Socket) error {
		_, err := s.SetConsistency(ctx, mode)
		return err
	})
}

// Replace implements [nemesis.Operator]. What the node had stays beside what it
// has afterwards, to be looked through at the end.
func (o *operator) Replace(ctx context.Context, node *nemesis.Process) error {
	id, dir := node.ID(), filepath.Join(o.cluster.dir, node.ID())
	node.MayEnd()
	err := o.ask(ctx, id, func(ctx context.Context, s *admin.Socket) error { return s.Remove(ctx, id) })
	if err != nil {
		return fmt.Errorf("removing %s: %w", id, err)
	}
	if err := node.Kill(); err != nil {
		return err
	}
	fresh := o.cluster.fresh[o.cluster.index(id)].Add(1)
	if err := os.Rename(filepath.Join(dir, dataDir), filepath.Join(dir, fmt.Sprintf("%s-%d", dataDir, fresh))); err != nil {
		return fmt.Errorf("emptying %s: %w", id, err)
	}
	var token wire.JoinTokenReply
	err = o.ask(ctx, id, func(ctx context.Context, s *admin.Socket) (err error) {
		token, err = s.JoinToken(ctx, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("asking for a join token for %s: %w", id, err)
	}
	if err := devfile.WriteAtomic(filepath.Join(dir, tokenFile), []byte(token.Token+"\n")); err != nil {
		return err
	}
	if err := node.Start(); err != nil {
		return err
	}
	return o.admit(ctx, node)
}

// admit gives a node that joins the roots, as soon as both sides show the same
// fingerprint, and waits until it has a vote.
func (o *operator) admit(ctx context.Context, node *nemesis.Process) error {
	id := node.ID()
	own := o.cluster.sockets[o.cluster.index(id)]
	err := o.ask(ctx, id, func(ctx context.Context, s *admin.Socket) error {
		theirs, err := own.Status(ctx)
		if err != nil || theirs.Roots {
			return err
		}
		m, err := o.member(ctx, s, id)
		if err != nil {
			return err
		}
		if theirs.Fingerprint == "" || m.Fingerprint != theirs.Fingerprint || m.Role == "admitted" {
			return fmt.Errorf("its fingerprint is %q, and %q to the cluster, where it is %s", theirs.Fingerprint, m.Fingerprint, m.Role)
		}
		return s.ApproveRoots(ctx, wire.ApproveRootsRequest{NodeID: id, Fingerprint: theirs.Fingerprint})
	})
	if err != nil {
		return fmt.Errorf("giving %s the roots: %w", id, err)
	}
	err = o.ask(ctx, id, func(ctx context.Context, s *admin.Socket) error {
		if m, err := o.member(ctx, s, id); err != nil || m.Role != "voter" {
			return fmt.Errorf("it is %q (%w)", m.Role, err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the vote of %s: %w", id, err)
	}
	return nil
}

// member is a node as another one lists it.
func (o *operator) member(ctx context.Context, s *admin.Socket, id string) (wire.MemberInfo, error) {
	status, err := s.Status(ctx)
	if err != nil {
		return wire.MemberInfo{}, err
	}
	for _, m := range status.Members {
		if m.ID == id {
			return m, nil
		}
	}
	return wire.MemberInfo{}, fmt.Errorf("%s does not list it", status.NodeID)
}

// Compact implements [nemesis.Operator]: a deleted key leaves the files of every
// node, for which each takes a snapshot and begins a new log behind it.
func (o *operator) Compact(ctx context.Context, without string) error {
	var made wire.CreateKeyReply
	err := o.ask(ctx, without, o.calling(func(ctx context.Context, d *direct) verdict {
		o.made++ // another name with every try: the last one may have been taken without an answer
		return d.do(ctx, string(history.Create), wire.CreateKeyRequest{KeyAlias: fmt.Sprintf("gone/%d", o.made)}, &made)
	}))
	if err != nil {
		return fmt.Errorf("making a key to delete: %w", err)
	}
	id := made.KeyInfo.KeyID
	err = o.ask(ctx, without, o.calling(func(ctx context.Context, d *direct) verdict {
		v := d.do(ctx, "schedule-key-deletion", wire.ScheduleDeletionRequest{KeyID: id, PendingDays: wire.Int(0)}, new(wire.KeyStateReply))
		if v.outcome == history.Refused {
			v.outcome = history.OK // it was scheduled already, without an answer
		}
		return v
	}))
	if err != nil {
		return fmt.Errorf("having a key deleted: %w", err)
	}
	err = o.ask(ctx, without, func(ctx context.Context, s *admin.Socket) error {
		reply, err := s.VerifyErasure(ctx, id)
		if err != nil {
			return err
		}
		for _, n := range reply.Nodes {
			if n.ID != without && !n.Reported {
				return fmt.Errorf("%s has not erased it yet", n.ID)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting until logs are cut off: %w", err)
	}
	return nil
}

// calling asks over the API of the node whose socket it is given.
func (o *operator) calling(do func(ctx context.Context, d *direct) verdict) func(ctx context.Context, s *admin.Socket) error {
	return func(ctx context.Context, s *admin.Socket) error {
		for i, own := range o.cluster.sockets {
			if own != s {
				continue
			}
			if v := do(ctx, o.keys[i]); v.outcome != history.OK {
				return fmt.Errorf("%s %s: %w", v.outcome, v.code, v.err)
			}
			return nil
		}
		return errors.New("the socket is no node's")
	}
}

// index is the number of a node of the cluster.
func (c *cluster) index(id string) int {
	for i, p := range c.processes {
		if p.ID() == id {
			return i
		}
	}
	panic("there is no node " + id)
}

// installed is what a node logs when it has taken another's snapshot, and erased
// what it logs when it has erased its files.
const (
	installed = `msg="Installed remote snapshot"`
	erased    = `msg="this node's files hold nothing any more of what was deleted"`
)

// collectInstalls records which snapshots nodes took from others, and counts how
// often they erased, from their logs: the nodes have ended.
func (r *run) collectInstalls() error {
	for _, p := range r.cluster.processes {
		file, err := os.Open(r.cluster.logFile(p.ID()))
		if err != nil {
			return fmt.Errorf("reading the log of %s: %w", p.ID(), err)
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if strings.Contains(lines.Text(), erased) {
				r.erasures++
			}
			text, is := strings.CutPrefix(lines.Text(), "time=")
			if !is || !strings.Contains(text, installed) {
				continue
			}
			at, _, _ := strings.Cut(text, " ")
			when, err := time.Parse(time.RFC3339Nano, at)
			if err != nil {
				return fmt.Errorf("reading the log of %s: %w", p.ID(), errors.Join(err, file.Close()))
			}
			if at := r.recorder.At(when); at > 0 { // kmsd dev has started the nodes before
				r.recorder.Install(history.Install{Node: p.ID(), At: at})
			}
		}
		if err := errors.Join(lines.Err(), file.Close()); err != nil {
			return fmt.Errorf("reading the log of %s: %w", p.ID(), err)
		}
	}
	return nil
}
