package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// rootTable is the cluster's root sets as handles of one epoch. It is not
// changed once it is in Module.roots.
type rootTable struct {
	epoch   uint64
	cluster hsm.ClusterID
	current hsm.RootGeneration // the highest; 0 when there is none (any more)
	sets    map[hsm.RootGeneration]rootSet
}

// rootSet has the handle of each root at its [hsm.Root].
type rootSet [hsm.RecordMAC + 1]p11.ObjectHandle

func (t *rootTable) root(g hsm.RootGeneration, r hsm.Root) (p11.ObjectHandle, error) {
	set, is := t.sets[g]
	if !is {
		return 0, hsm.ErrNoRoots
	}
	return set[r], nil
}

// pick is a generation of the caller's choice; 0 means the current one.
func (t *rootTable) pick(g hsm.RootGeneration) hsm.RootGeneration {
	if g == 0 {
		return t.current
	}
	return g
}

// generations returns all that are here, the current one first.
func (t *rootTable) generations() []hsm.RootGeneration {
	g := slices.Sorted(maps.Keys(t.sets))
	slices.Reverse(g)
	return g
}

// table returns the roots of the opened cluster, found again if the handles
// are of an earlier login. s is a session of the caller, who is inside the gate.
func (m *Module) table(s *session) (*rootTable, error) {
	t := m.roots.Load()
	if t == nil {
		return nil, hsm.ErrNoRoots
	}
	if t.epoch == m.dev.epoch {
		return t, nil
	}
	m.rootsLock.Lock()
	defer m.rootsLock.Unlock()
	if t = m.roots.Load(); t.epoch == m.dev.epoch {
		return t, nil
	}
	return m.readTable(s, t.cluster)
}

// readTable finds the roots of the cluster in the token and makes them the
// module's. The caller holds rootsLock.
func (m *Module) readTable(s *session, cluster hsm.ClusterID) (*rootTable, error) {
	inv, err := m.inventory(s)
	if err != nil {
		return nil, err
	}
	return m.setTable(cluster, inv)
}

func (m *Module) setTable(cluster hsm.ClusterID, inv inventory) (*rootTable, error) {
	t := &rootTable{epoch: m.dev.epoch, cluster: cluster, sets: make(map[hsm.RootGeneration]rootSet)}
	for name, found := range inv {
		if name.cluster != cluster || !found.counts() {
			continue
		}
		set, err := found.set(name.generation)
		if err != nil {
			return nil, err
		}
		t.sets[name.generation] = set
		t.current = max(t.current, name.generation)
	}
	m.roots.Store(t)
	return t, nil
}

// setName names a root set; found is what there is of one.
type setName struct {
	cluster    hsm.ClusterID
	generation hsm.RootGeneration
}

type (
	found     [hsm.RecordMAC + 1][]p11.ObjectHandle
	inventory map[setName]*found
)

// counts tells whether this is a root set, and not the rest of one that was
// never finished or is being destroyed.
func (f *found) counts() bool { return len(f[hsm.RecordMAC]) > 0 }

func (f *found) set(g hsm.RootGeneration) (s rootSet, err error) {
	for _, k := range rootKinds {
		if n := len(f[k.root]); n != 1 {
			return s, fmt.Errorf("the root set of generation %d is damaged: the token holds %d keys %q", g, n, k.label(g))
		}
		s[k.root] = f[k.root][0]
	}
	return s, nil
}

// inventory finds all root sets in the token, of whatever cluster.
func (m *Module) inventory(s *session) (inventory, error) {
	objects, err := m.find(s, template{attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY), attribute(p11.CKA_TOKEN, true)})
	if err != nil {
		return nil, err
	}
	if err := m.loggedIn(s); err != nil {
		return nil, err
	}
	inv := make(inventory)
	for _, o := range objects {
		name, err := m.dev.api.GetAttributeValue(s.handle, o, template{attribute(p11.CKA_LABEL, nil), attribute(p11.CKA_ID, nil)})
		if err != nil && faultOf(err) == faultNone {
			continue // a key without a name is none of ours
		}
		if err != nil {
			return nil, fmt.Errorf("reading the name of a key: %w", err)
		}
		k, cluster, generation, is := parseRootName(string(name[0].Value), name[1].Value)
		if !is {
			continue
		}
		at := setName{cluster, generation}
		if inv[at] == nil {
			inv[at] = new(found)
		}
		inv[at][k.root] = append(inv[at][k.root], o)
	}
	return inv, nil
}

// loggedIn returns an error unless the session sees private objects. A token that
// was away for a moment keeps no login, and a session that was opened since finds
// no root key, without an error: that must not be taken for a token without roots.
func (m *Module) loggedIn(s *session) error {
	info, err := m.dev.api.GetSessionInfo(s.handle)
	switch {
	case err != nil:
		return fmt.Errorf("asking for the state of the login: %w", err)
	case info.State != p11.CKS_RW_USER_FUNCTIONS && info.State != p11.CKS_RW_SO_FUNCTIONS:
		return errNotConnected
	}
	return nil
}

// find returns the objects that have all attributes of the template.
func (m *Module) find(s *session, t template) (all []p11.ObjectHandle, err error) {
	if err := m.dev.api.FindObjectsInit(s.handle, t); err != nil {
		return nil, fmt.Errorf("finding objects: %w", err)
	}
	for {
		some, _, err := m.dev.api.FindObjects(s.handle, 128)
		if err != nil {
			return nil, fmt.Errorf("finding objects: %w", err)
		}
		if len(some) == 0 {
			break
		}
		all = append(all, some...)
	}
	if err := m.dev.api.FindObjectsFinal(s.handle); err != nil {
		return nil, fmt.Errorf("finding objects: %w", err)
	}
	return all, nil
}

// administer runs f, which makes token objects, while nobody else does.
func (m *Module) administer(ctx context.Context, f func(s *session) error) error {
	if err := m.admin.Acquire(ctx, 1); err != nil {
		return err
	}
	defer m.admin.Release(1)
	return m.dev.call(ctx, m.dev.work, func(s *session) error {
		s.stay.slowly() // many calls, some of which write to the token
		m.rootsLock.Lock()
		defer m.rootsLock.Unlock()
		return f(s)
	})
}

// OpenRoots finds the cluster's root sets by label and CKA_ID. It reads back
// their attributes, and what the device did not keep becomes a note in Describe.
func (m *Module) OpenRoots(ctx context.Context, cluster hsm.ClusterID) (hsm.RootGeneration, error) {
	var generation hsm.RootGeneration
	err := m.administer(ctx, func(s *session) error {
		inv, err := m.inventory(s)
		if err != nil {
			return err
		}
		reason := hsm.ErrNoRoots
		for name, found := range inv {
			if found.counts() && name.cluster == cluster {
				reason = nil
				break
			} else if found.counts() {
				reason = hsm.ErrForeignRoots
			}
		}
		if reason != nil {
			return reason
		}
		t, err := m.setTable(cluster, inv)
		if err != nil {
			return err
		}
		generation = t.current
		return m.inspect(s, t)
	})
	if err != nil {
		return 0, fmt.Errorf("opening the roots: %w", err)
	}
	return generation, nil
}

// CreateRoots generates the four keys in the token. One module serves one
// cluster: with the roots of another open it returns [hsm.ErrForeignRoots].
func (m *Module) CreateRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	err := m.administer(ctx, func(s *session) error {
		return m.makeRoots(s, cluster, generation, func(k rootKind, inner nested) (p11.ObjectHandle, error) {
			how := uint(p11.CKM_AES_KEY_GEN)
			if k.kind == p11.CKK_GENERIC_SECRET {
				how = p11.CKM_GENERIC_SECRET_KEY_GEN
			}
			return m.dev.api.GenerateKey(s.handle, mechanism(how), k.template(cluster, generation, keySize, inner))
		})
	})
	if err != nil {
		return fmt.Errorf("creating the roots: %w", err)
	}
	return nil
}

// makeRoots has each root made by one of the two ways there are, and destroys
// what it made when one of them fails.
func (m *Module) makeRoots(s *session, cluster hsm.ClusterID, generation hsm.RootGeneration,
	one func(k rootKind, inner nested) (p11.ObjectHandle, error)) (err error) {
	if generation == 0 {
		return errors.New("generations of roots are counted from 1")
	}
	if t := m.roots.Load(); t != nil && t.cluster != cluster && len(t.sets) > 0 {
		return hsm.ErrForeignRoots
	}
	inv, err := m.inventory(s)
	if err != nil {
		return err
	}
	if rest := inv[setName{cluster, generation}]; rest != nil {
		if rest.counts() {
			return hsm.ErrRootsExist
		}
		// An attempt that was cut off: nothing was ever wrapped under these.
		if err := m.destroySet(s, rest); err != nil {
			return err
		}
	}
	inner := newNested(withoutKinds(forcedOnMaterial(), m.refused))
	defer inner.free()
	made := new(found)
	defer func() {
		if err != nil {
			_ = m.destroySet(s, made) // what is left counts as nothing, and goes with the next attempt
		}
	}()
	for _, k := range rootKinds {
		h, err := one(k, inner)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		made[k.root] = append(made[k.root], h)
	}
	t, err := m.readTable(s, cluster)
	if err != nil {
		return err
	}
	return m.inspect(s, t)
}

// DestroyRoots destroys that generation's keys, or what is left of them. Keys
// that were loaded before stay usable until they are closed.
func (m *Module) DestroyRoots(ctx context.Context, cluster hsm.ClusterID, generation hsm.RootGeneration) error {
	if err := m.admin.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("destroying the roots: %w", err)
	}
	defer m.admin.Release(1)
	// Alone, lest a call use a handle that has come to mean something else.
	err := m.dev.callAlone(ctx, func(s *session) error {
		m.rootsLock.Lock()
		defer m.rootsLock.Unlock()
		inv, err := m.inventory(s)
		if err != nil {
			return err
		}
		name := setName{cluster, generation}
		if inv[name] == nil {
			return hsm.ErrNoRoots
		}
		if err := m.destroySet(s, inv[name]); err != nil {
			return err
		}
		delete(inv, name)
		if t := m.roots.Load(); t == nil || t.cluster != cluster {
			return nil
		}
		_, err = m.setTable(cluster, inv)
		return err
	})
	if err != nil {
		return fmt.Errorf("destroying the roots: %w", err)
	}
	return nil
}

// destroySet destroys the record MAC key first: without it the rest is no root set.
func (m *Module) destroySet(s *session, f *found) error {
	for _, k := range slices.Backward(rootKinds[:]) {
		for _, h := range f[k.root] {
			if err := m.dev.api.DestroyObject(s.handle, h); err != nil {
				return fmt.Errorf("destroying %s: %w", k.name, err)
			}
		}
	}
	return nil
}
