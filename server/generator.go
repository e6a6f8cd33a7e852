package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raftkms/raftkms/hsm/entropy"
)

// generatorTimeout bounds a test of the module's generator as a node starts.
const generatorTimeout = 10 * time.Second

// testGenerator keeps a node whose generator is sick from having root keys made
// or sent to it: nobody could trust them afterwards.
func (s *Server) testGenerator(ctx context.Context) error {
	pool := entropy.NewPool(s.cfg.Module)
	defer pool.Close()
	if err := pool.Test(ctx); err != nil {
		return fmt.Errorf("testing the generator of this node's module: %w", err)
	}
	return nil
}

// testBeforeServing finds out about a sick generator before the API is there. The
// member runs all the same: it replicates and votes, and no more (watchGenerator).
// A module that does not answer now is tested by the first draw.
func (s *Server) testBeforeServing(ctx context.Context, m *member) {
	ctx, cancel := context.WithTimeout(ctx, generatorTimeout)
	defer cancel()
	if err := m.service.TestGenerator(ctx); err != nil && !errors.Is(err, entropy.ErrGenerator) {
		s.cfg.Logger.Warn("the generator of this node's module could not be tested at the start; it is before it is used", "error", err)
	}
}

// watchGenerator takes the node out of service, for as long as it runs, once its
// module's generator has failed a test: an outage that does not end by itself.
func (s *Server) watchGenerator(ctx context.Context, m *member) {
	select {
	case <-ctx.Done():
		return
	case <-m.service.GeneratorFailed():
	}
	sick := m.service.Healthy()
	s.cfg.Logger.Error("this node is out of service until it is restarted", "error", sick)
	s.noteOutage(sick)
	s.handOn(ctx, m, nil)
}
