package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Putting what is under old root keys under those in use. What is left to do is
// read from the state, so that a restart or another leader goes on where it was:
// the leader does what its module does without being permitted to, and a node on
// which the security officer has given leave does the rest.

const (
	// rewrapStep is how long one run works; rewrapParts is how much one command
	// replaces: a trace, a log entry and an apply of a few milliseconds.
	rewrapStep  = 3 * time.Second
	rewrapParts = 128
	rewrapLook  = 1024
)

// rewrapper works on one node, one run at a time.
type rewrapper struct {
	server *Server
	member *member

	mu sync.Mutex
}

// run is the leader's share, by the clock.
func (r *rewrapper) run(ctx context.Context, _ int64) error {
	if c := r.server.machine.State().Cluster(); c == nil || c.RootOld == 0 || !r.member.roots.held() {
		return nil
	}
	_, failures, err := r.step(ctx)
	if err == nil && len(failures) > 0 {
		f := failures[0]
		err = fmt.Errorf("%d things do not open under the old root keys, the first of them %s %s: %s", len(failures), f.What, f.ID, f.Problem)
	}
	return err
}

// asked is one run for an operator. With the security officer's PIN it does what
// the module wants leave for; the leave ends with the last of it.
func (r *rewrapper) asked(ctx context.Context, officerPIN []byte) (blocked int, failures []wire.RootKeyFailure, err error) {
	if r.server.cfg.Module.Describe().Kind == "soft" && !r.member.node.IsLeader() {
		return 0, nil, nil // the leader does it
	}
	module := r.server.cfg.Module
	blocked, failures, err = r.step(ctx)
	if err == nil && blocked > 0 && len(officerPIN) > 0 {
		if err := module.PermitRewrap(ctx, officerPIN); err != nil {
			return blocked, failures, err
		}
		blocked, failures, err = r.step(ctx)
	}
	if left, imports := r.left(); err == nil && left == imports {
		err = module.EndRewrap(ctx)
	}
	return blocked, failures, err
}

func (r *rewrapper) left() (all, imports int) {
	root := r.server.machine.State()
	return root.SealedUnder(root.Cluster().RootOld)
}

// step works for a while. It returns how many versions the module wants leave
// for, and what does not open.
func (r *rewrapper) step(ctx context.Context) (blocked int, failures []wire.RootKeyFailure, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	root := r.server.machine.State()
	c := root.Cluster()
	if c.RootOld == 0 {
		return 0, nil, nil
	}
	batch := command.RewrapRecords{Generation: c.RootGeneration}
	flush := func() error {
		if len(batch.Parts) == 0 {
			return nil
		}
		_, err := r.member.service.RewrapRecords(ctx, batch)
		batch.Parts = nil
		return err
	}
	begun := time.Now()
	for place, more := (state.SealedPlace{}), true; more && time.Since(begun) < rewrapStep; {
		var records []state.SealedRecord
		records, place, more = root.NextSealed(place, rewrapLook)
		for _, record := range records {
			for _, part := range state.SealedParts(record) {
				if part.Generation != c.RootOld || part.What == state.SealedImport || time.Since(begun) > rewrapStep {
					continue
				}
				again, err := r.part(ctx, root, record, part)
				switch {
				case errors.Is(err, hsm.ErrNotPermitted):
					blocked++
					continue
				case kms.ModuleGone(err), errors.Is(err, hsm.ErrFull), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
					return blocked, failures, errors.Join(err, flush())
				case err != nil:
					if len(failures) < verifyFailures {
						failures = append(failures, wire.RootKeyFailure{What: sealedName(part.What), ID: part.ID, Problem: err.Error()})
					}
					continue
				}
				if batch.Parts = append(batch.Parts, again); len(batch.Parts) == rewrapParts {
					if err := flush(); err != nil {
						return blocked, failures, err
					}
				}
			}
		}
	}
	return blocked, failures, flush()
}

// part puts one thing under the roots in use.
func (r *rewrapper) part(ctx context.Context, root *state.Root, record state.SealedRecord, part state.SealedPart) (again command.Rewrapped, err error) {
	to := root.Cluster().RootGeneration
	again = command.Rewrapped{What: part.What, ID: part.ID, Number: part.Number, Old: sha256.Sum256(part.Bytes)}
	if purpose := sealPurpose(part.What); purpose != "" {
		secret, err := r.member.seal.open(ctx, purpose, part.BoundTo, part.Bytes)
		defer clear(secret)
		if err == nil {
			again.Bytes, err = r.member.seal.seal(ctx, hsm.RootGeneration(to), purpose, part.BoundTo, secret)
		}
		return again, err
	}
	switch one := record.(type) {
	case *state.Version:
		key, ok := root.Key(one.KeyID)
		if !ok {
			return again, fmt.Errorf("version %d belongs to no key", one.Number)
		}
		again.Bytes, again.MAC, err = r.member.service.RewrapVersion(ctx, key, one, to)
	case *state.Key:
		again.Bytes, err = r.member.service.RewrapFingerprint(ctx, one, to)
	default:
		err = fmt.Errorf("%T is not known to depend on the root keys", record)
	}
	return again, err
}

// sealPurpose is what a seal is for; empty for what is none.
func sealPurpose(what state.SealedWhat) string {
	switch what {
	case state.SealedAccessKey:
		return sealAccessKey
	case state.SealedFactor, state.SealedNextFactor:
		return sealFactor
	case state.SealedCAKey, state.SealedCAKeyNext:
		return sealCAKey
	case state.SealedGossip, state.SealedGossipOther:
		return sealGossipKey
	default:
		return ""
	}
}

func sealedName(what state.SealedWhat) string {
	switch what {
	case state.SealedVersion:
		return "version"
	case state.SealedFingerprint:
		return "fingerprint"
	case state.SealedImport:
		return "import"
	default:
		return sealPurpose(what)
	}
}
