package soft

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/raftkms/raftkms/hsm"
)

// OpenRoots implements [hsm.Module]: the highest generation becomes the current
// one, and the others still open what they wrapped.
func (m *Module) OpenRoots(ctx context.Context, cluster hsm.ClusterID) (hsm.RootGeneration, error) {
	done, err := m.change(ctx)
	if err != nil {
		return 0, fmt.Errorf("opening the roots: %w", err)
	}
	defer done()
	if m.latest(cluster) == 0 {
		if len(m.file) > 0 {
			return 0, hsm.ErrForeignRoots
		}
		return 0, hsm.ErrNoRoots
	}
	if err := m.adopt(cluster); err != nil {
		return 0, fmt.Errorf("opening the roots: %w", err)
	}
	return m.latest(cluster), nil
}

// CreateRoots implements [hsm.Module]. The new generation becomes the current
// one when it is the highest.
func (m *Module) CreateRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	done, err := m.change(ctx)
	if err != nil {
		return fmt.Errorf("creating the roots: %w", err)
	}
	defer done()
	plain := make([]byte, rootSetSize)
	defer clear(plain)
	if _, err := rand.Read(plain); err != nil {
		return fmt.Errorf("drawing the roots: %w", err)
	}
	if err := m.add(cluster, generation, plain); err != nil {
		return fmt.Errorf("creating the roots: %w", err)
	}
	return nil
}

// DestroyRoots implements [hsm.Module]. Of the generations that remain the
// highest becomes the current one. Keys already loaded go on until they are closed.
func (m *Module) DestroyRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	done, err := m.change(ctx)
	if err != nil {
		return fmt.Errorf("destroying the roots: %w", err)
	}
	defer done()
	remaining := slices.DeleteFunc(slices.Clone(m.file), func(e rootEntry) bool {
		return e.Cluster == cluster && e.Generation == generation
	})
	if len(remaining) == len(m.file) {
		return fmt.Errorf("destroying the roots of generation %d: %w", generation, hsm.ErrNoRoots)
	}
	if err := m.writeRoots(remaining); err != nil {
		return fmt.Errorf("destroying the roots: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sets[generation]
	if m.cluster != cluster || s == nil {
		return nil
	}
	delete(m.sets, generation)
	m.current = m.sets[m.latest(cluster)]
	if err := s.close(); err != nil {
		return fmt.Errorf("wiping the destroyed roots: %w", err)
	}
	return nil
}

// change begins a change of the files; done ends it.
func (m *Module) change(ctx context.Context) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.changes.Lock()
	if m.closed { // written under changes too
		m.changes.Unlock()
		return nil, errClosed
	}
	return m.changes.Unlock, nil
}

// add stores a root set and makes its cluster the one in use. It wipes plain.
func (m *Module) add(cluster hsm.ClusterID, generation hsm.RootGeneration, plain []byte) error {
	if generation == 0 {
		return errors.New("generations count from 1")
	}
	if slices.ContainsFunc(m.file, func(e rootEntry) bool { return e.Cluster == cluster && e.Generation == generation }) {
		return fmt.Errorf("generation %d: %w", generation, hsm.ErrRootsExist)
	}
	sealed, err := m.vault.seal(entryInfo(cluster, generation), plain)
	if err != nil {
		return fmt.Errorf("encrypting the roots: %w", err)
	}
	entry := rootEntry{Cluster: cluster, Generation: generation, Sealed: sealed}
	if err := m.writeRoots(append(slices.Clone(m.file), entry)); err != nil {
		return err
	}
	return m.adopt(cluster)
}

// adopt opens every generation of the cluster that is not open yet, and puts
// them into use together.
func (m *Module) adopt(cluster hsm.ClusterID) error {
	sets := make(map[hsm.RootGeneration]*rootSet)
	for _, e := range m.file {
		if e.Cluster != cluster {
			continue
		}
		// Reading sets and cluster needs changes alone: both are written under it.
		if s := m.sets[e.Generation]; s != nil && m.cluster == cluster {
			sets[e.Generation] = s
			continue
		}
		s, err := m.openEntry(e)
		if err != nil {
			return fmt.Errorf("opening generation %d in %s: %w", e.Generation, m.config.RootsFile, err)
		}
		sets[e.Generation] = s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for generation, s := range m.sets {
		if sets[generation] != s { // of the cluster used so far
			errs = append(errs, s.close())
		}
	}
	m.cluster, m.sets = cluster, sets
	m.current = sets[m.latest(cluster)]
	return errors.Join(errs...)
}

func (m *Module) openEntry(e rootEntry) (*rootSet, error) {
	plain, err := m.vault.open(entryInfo(e.Cluster, e.Generation), e.Sealed)
	if err != nil {
		return nil, errFormat
	}
	return newRootSet(m.arena, e.Generation, plain)
}

// latest is the highest generation of the cluster on disk, or 0.
func (m *Module) latest(cluster hsm.ClusterID) hsm.RootGeneration {
	var latest hsm.RootGeneration
	for _, e := range m.file {
		if e.Cluster == cluster {
			latest = max(latest, e.Generation)
		}
	}
	return latest
}
