package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/kms"
)

// readiness answers /readyz from the node's lease and from what a probe of the
// module found out a moment ago, so that asking never waits for a leader or for
// the module.
type readiness struct {
	server   *Server
	member   *member
	checking atomic.Bool // a check of the module is under way

	mu     sync.Mutex
	module time.Time // of the last answer of the module
	cause  error     // of the newest failure
}

const (
	probePeriod  = 500 * time.Millisecond
	probeTimeout = 1500 * time.Millisecond
	// readyFor is how long a good probe counts.
	readyFor = 3 * time.Second
)

// run probes until the context ends.
func (r *readiness) run(ctx context.Context) {
	ticker := time.NewTicker(probePeriod)
	defer ticker.Stop()
	for {
		r.probe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (r *readiness) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	started := time.Now()
	module := errors.New("its module does not hold the root keys yet")
	if r.member.roots.held() {
		if module = r.member.service.Healthy(); module == nil {
			module = r.checkModule(ctx)
		}
		module = errors.Join(module, r.server.traces.Healthy())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if module == nil {
		r.module = started
	} else {
		r.cause = module
	}
}

// checkModule returns nil while this node's module answers, or else another
// node's would. It does not wait for a device that hangs.
func (r *readiness) checkModule(ctx context.Context) error {
	module := r.server.cfg.Module
	err := hsm.Outage(module)
	if err == nil && !r.checking.CompareAndSwap(false, true) {
		err = fmt.Errorf("%w: it has not answered yet", hsm.ErrUnavailable)
	} else if err == nil {
		result := make(chan error, 1)
		go func() {
			defer r.checking.Store(false)
			result <- module.Check(ctx)
		}()
		select {
		case err = <-result:
		case <-ctx.Done():
			err = fmt.Errorf("%w: it does not answer", hsm.ErrUnavailable)
		}
	}
	if err != nil && kms.ModuleGone(err) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		if r.server.anotherServes(ctx, r.member) {
			return nil
		}
	}
	return err
}

// now returns nil while the node can serve, and else why it cannot.
func (r *readiness) now() error {
	if r.server.draining.Load() {
		return errors.New("this node is stopping")
	}
	if err := r.member.service.HasState(); err != nil {
		return fmt.Errorf("this node cannot serve: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.module) < readyFor {
		return nil
	}
	if r.cause == nil {
		return errors.New("this node is starting")
	}
	return fmt.Errorf("this node cannot serve: %w", r.cause)
}
