package kms

import (
	"container/list"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/singleflight"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/batch"
	"github.com/raftkms/raftkms/hsm/envelope"
)

// defaultLoadedKeys bounds the keyring where the configuration says nothing.
const defaultLoadedKeys = 4096

// spareSessions of a device are left to what is not batched: loading keys,
// record MACs, randomness.
const spareSessions = 2

// keyring keeps key versions loaded in the module. An entry names the record
// it came from and counts only while the caller's state still holds that very
// record, so nothing here relies on being told of a change.
type keyring struct {
	module hsm.Module
	device *batch.Device // nil where keys are in this process
	limit  int
	logger *slog.Logger
	flight singleflight.Group

	mu      sync.Mutex
	entries map[versionID]*list.Element // of *loadedKey
	recent  *list.List                  // front: used last
	closed  bool
	unused  []*loadedKey // to be closed when mu is let go
	// uses are those of keys that were retired, or gathered, since the last
	// report; at most keptUses are kept while nothing can be reported.
	uses map[versionID]int64
}

type versionID struct {
	keyID  string
	number uint32
}

// loadedKey is one version in use. Invariant: users counts who holds it; it
// is closed when it is out of the ring and nobody does.
type loadedKey struct {
	record  *state.Version
	id      uuid.UUID     // of the record's key, as envelopes carry it
	key     hsm.Loaded    // what the key's spec and usage make of it
	sealer  *envelope.Key // of a symmetric key, and then key is this too
	level   hsm.Level
	users   int
	retired bool
	last    time.Time // of its use
	used    bool      // since it was last asked for
}

func newKeyring(module hsm.Module, limit int, logger *slog.Logger) *keyring {
	if limit <= 0 {
		limit = defaultLoadedKeys
	}
	k := &keyring{
		module: module, limit: limit, logger: logger,
		entries: make(map[versionID]*list.Element), recent: list.New(), uses: make(map[versionID]int64),
	}
	if d := module.Describe(); d.Device {
		k.device = batch.New(batch.Config{MaxBlocks: d.MaxBlocks, Sessions: max(1, d.Sessions-spareSessions)})
	}
	return k
}

// use returns the loaded key of a version, to be given back with release.
func (k *keyring) use(ctx context.Context, key *state.Key, version *state.Version) (*loadedKey, error) {
	if l := k.take(version); l != nil {
		return l, nil
	}
	for {
		err := k.loadOnce(ctx, key, version)
		if err != nil {
			return nil, err
		}
		if l := k.take(version); l != nil {
			return l, nil
		}
		if ctx.Err() != nil { // evicted at once by others, again and again
			return nil, moduleError("loading the key took too long", ctx.Err())
		}
	}
}

// loadOnce has the version loaded.
func (k *keyring) loadOnce(ctx context.Context, key *state.Key, version *state.Version) error {
	if k.device == nil {
		// In this process it takes microseconds and cannot hang: to bring those
		// together who load the same would cost as much.
		return k.load(ctx, key, version)
	}
	// One load serves all who wait for the same record. Its context is the
	// first caller's; a caller that finds it cancelled loads for itself.
	flightName := fmt.Sprintf("%p", version)
	for {
		var err error
		var shared bool
		select { // not Do: a device may keep the one who loads, and the others have deadlines
		case r := <-k.flight.DoChan(flightName, func() (any, error) { return nil, k.guarded(ctx, key, version) }):
			err, shared = r.Err, r.Shared
		case <-ctx.Done():
			err = moduleError("loading the key took too long", ctx.Err())
		}
		if err == nil || !shared || ctx.Err() != nil || !isContextError(err) {
			return err
		}
	}
}

// guarded is load for a goroutine of its own, where a panic would end the
// process, and nobody's request is there to catch it.
func (k *keyring) guarded(ctx context.Context, key *state.Key, version *state.Version) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			// As in the front end: the cause may quote input.
			k.logger.Error("loading a key panicked", "key_id", key.ID, "cause", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
			err = Refuse(KindInternal, "loading the key panicked; the log has the stack")
		}
	}()
	return k.load(ctx, key, version)
}

// take returns the entry of exactly this record, in use, or nil.
func (k *keyring) take(version *state.Version) *loadedKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	element, ok := k.entries[versionID{version.KeyID, version.Number}]
	if !ok {
		return nil
	}
	l := element.Value.(*loadedKey)
	if l.record != version {
		return nil
	}
	k.recent.MoveToFront(element)
	l.users++
	l.last, l.used = time.Now(), true
	return l
}

// release gives back what use returned.
func (k *keyring) release(l *loadedKey) {
	k.mu.Lock()
	defer k.unlock()
	l.users--
	k.closeUnused(l)
}

// load verifies that the record is whole and brings its material into use.
func (k *keyring) load(ctx context.Context, key *state.Key, version *state.Version) error {
	binding, err := bindingOf(key, version)
	if err != nil {
		return err
	}
	if err := hsm.VerifyBinding(ctx, k.module, binding, version.MAC); err != nil {
		return moduleError("the key's record does not verify", err)
	}
	raw, err := k.loadMaterial(ctx, hsm.Wrapped{
		Level: binding.Level, Spec: binding.Spec, Use: useOf(key.Usage), Generation: binding.Generation,
		Blob: version.Blob, PublicKey: version.PublicKey,
	})
	if err != nil {
		return moduleError("loading the key into the module", err)
	}
	l := &loadedKey{record: version, id: binding.KeyID, key: raw, level: binding.Level}
	if blocks, is := raw.(hsm.Key); is {
		if l.sealer, err = k.sealer(ctx, binding, blocks); err != nil {
			raw.Close()
			return moduleError("loading the key into the module", err)
		}
		l.key = l.sealer
	}
	return k.put(l)
}

// sealer makes envelopes with a symmetric key, whose blocks go to a device
// together with those of others.
func (k *keyring) sealer(ctx context.Context, binding hsm.Binding, blocks hsm.Key) (*envelope.Key, error) {
	if k.device != nil && binding.Level == hsm.LevelHSM {
		blocks = k.device.Key(reloaded{blocks, k})
	}
	if binding.Spec == hsm.SpecSM4 {
		return envelope.NewSM4Key(ctx, blocks)
	}
	return envelope.NewKey(ctx, blocks)
}

func (k *keyring) put(l *loadedKey) error {
	k.mu.Lock()
	defer k.unlock()
	if k.closed {
		k.unused = append(k.unused, l)
		return Refuse(KindUnavailable, "this node is stopping; try another node")
	}
	id := versionID{l.record.KeyID, l.record.Number}
	if old, ok := k.entries[id]; ok {
		k.retire(old)
	}
	k.entries[id] = k.recent.PushFront(l)
	for k.recent.Len() > k.limit {
		k.retire(k.recent.Back())
	}
	return nil
}

// retire takes an entry out of the ring. The caller holds mu.
func (k *keyring) retire(element *list.Element) {
	l := k.recent.Remove(element).(*loadedKey)
	delete(k.entries, versionID{l.record.KeyID, l.record.Number})
	l.retired = true
	if len(k.uses) < keptUses {
		k.noteUse(l)
	}
	k.closeUnused(l)
}

// closeUnused has unlock give a retired key's object back. The caller holds mu.
func (k *keyring) closeUnused(l *loadedKey) {
	if l.retired && l.users == 0 {
		k.unused = append(k.unused, l)
	}
}

// unlock lets go of mu, and then closes what nobody holds any more: a device
// may take its time, and nobody else should wait for that.
func (k *keyring) unlock() {
	unused := k.unused
	k.unused = nil
	k.mu.Unlock()
	for _, l := range unused {
		l.key.Close()
	}
}

// fail has those who wait for the device, and all who come, told that it does
// not serve; with nil it serves again.
func (k *keyring) fail(err error) {
	if k.device != nil {
		k.device.Fail(err)
	}
}

// size is how many versions are loaded.
func (k *keyring) size() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.recent.Len()
}

// batches counts what was sent to the device together; zero without a device.
func (k *keyring) batches() batch.Stats {
	if k.device == nil {
		return batch.Stats{}
	}
	return k.device.Stats()
}

// closeTimeout bounds the wait for calls inside the device.
const closeTimeout = 5 * time.Second

// close retires everything. It comes before the module is closed.
func (k *keyring) close() {
	if k.device != nil {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		_ = k.device.Close(ctx) // who waited has been told; a call that hangs in the device is the module's to end
	}
	k.mu.Lock()
	defer k.unlock()
	k.closed = true
	for k.recent.Len() > 0 {
		k.retire(k.recent.Back())
	}
}

// bindingOf is what the record MAC of a version speaks about.
func bindingOf(key *state.Key, version *state.Version) (hsm.Binding, error) {
	id, err := uuid.Parse(key.ID)
	if err != nil {
		return hsm.Binding{}, fmt.Errorf("reading the id of a stored key: %w", err)
	}
	return hsm.Binding{
		KeyID:      id,
		Version:    version.Number,
		Spec:       hsm.Spec(key.Spec),
		Usage:      key.Usage,
		Origin:     key.Origin,
		Level:      hsm.Level(key.Level),
		Generation: hsm.RootGeneration(version.RootGeneration),
		Blob:       version.Blob,
		PublicKey:  version.PublicKey,
	}, nil
}
