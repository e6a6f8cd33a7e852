package kms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/soft/softtest"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

// single is a replica of a cluster of one: what is proposed is applied at once.
type single struct {
	mu      sync.Mutex
	machine *fsm.Machine
	index   uint64
	now     int64
	// unknown makes that many proposals be applied and then reported as
	// unknown, as when the leader dies after committing.
	unknown int
	// cutOff makes every proposal fail without being carried out; thenCutOff
	// begins that after the next unknown outcome.
	cutOff, thenCutOff bool
	// meanwhile is done once, before the next proposal gets there.
	meanwhile func()

	// What consistency_test.go changes: whether there is a lease, an old state
	// that lasts until a barrier, contact to a leader, and release.
	serving, apart, unreleased bool
	age                        time.Duration
	old                        *state.Root
	comes                      bool // the old state lasts until a look at the lease, too
	barriers                   int
	waited                     []uint64
}

func (r *single) Barrier(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.barriers++
	if r.apart {
		return cluster.ErrNoLeader
	}
	r.old = nil
	return nil
}

func (r *single) Age() (time.Duration, bool) { return r.age, r.age != 0 }

func (r *single) Serving() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.comes {
		r.old = nil
	}
	return r.serving
}

func (r *single) LeaderTime() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.UnixMilli(r.now)
}

func (r *single) Released(_ context.Context, index uint64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waited = append(r.waited, index)
	if r.unreleased {
		return cluster.ErrNoLeader
	}
	return nil
}

func (r *single) Root() *state.Root {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.old != nil {
		return r.old
	}
	return r.machine.State()
}

func (r *single) Propose(_ context.Context, data []byte) (fsm.Result, error) {
	if first := r.meanwhile; first != nil {
		r.meanwhile = nil
		first()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cutOff {
		return fsm.Result{}, cluster.ErrNoLeader
	}
	r.index++
	r.now++
	stamped, err := command.Stamp(data, r.now)
	if err != nil {
		return fsm.Result{}, err
	}
	results, err := r.machine.Apply([]fsm.Entry{{Index: r.index, Term: 1, Data: stamped}})
	if err != nil {
		return fsm.Result{}, err
	}
	if r.unknown > 0 {
		r.unknown--
		r.cutOff = r.thenCutOff
		return fsm.Result{}, cluster.ErrOutcomeUnknown
	}
	return results[0], nil
}

// traces keeps what was traced.
type traces struct {
	mu      sync.Mutex
	records []*audit.Record
	err     error
}

func (l *traces) Append(_ context.Context, r *audit.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	l.records = append(l.records, r)
	return nil
}

func (l *traces) Reserve(context.Context) (*audit.Room, error) { return nil, l.err }

func (l *traces) AppendTo(ctx context.Context, _ *audit.Room, r *audit.Record) error {
	return l.Append(ctx, r)
}

func (l *traces) last() *audit.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[len(l.records)-1]
}

// world is a service over a real state machine and a real module.
type world struct {
	t       *testing.T
	service *kms.Service
	replica *single
	traces  *traces
	project string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOver(t, softtest.Open(t), 2)
}

// newWorldOver is a world over a module without roots, that keeps so many keys loaded.
func newWorldOver(t *testing.T, module hsm.Module, loadedKeys int) *world {
	t.Helper()
	if err := module.CreateRoots(t.Context(), hsm.ClusterID(uuid.MustParse(fsmtest.ClusterID)), 1); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, replica: &single{machine: fsm.New(), now: fsmtest.Start}, traces: &traces{}, project: fsmtest.ProjectID}
	w.service = kms.New(kms.Config{NodeID: fsmtest.NodeID, Replica: w.replica, Module: module, Traces: w.traces, Logger: slog.New(slog.DiscardHandler), LoadedKeys: loadedKeys})
	t.Cleanup(w.service.Close)
	if err := w.service.Bootstrap(t.Context(), fsmtest.Bootstrap(), "test"); err != nil {
		t.Fatal(err)
	}
	return w
}

// call runs one operation as the administrator.
func (w *world) call(op kms.Operation, do func(ctx context.Context, c *kms.Call) error) error {
	return w.callAs(fsmtest.UserID, fsmtest.AccessKeyID, w.project, op, do)
}

func (w *world) callAs(user, accessKey, project string, op kms.Operation, do func(ctx context.Context, c *kms.Call) error) error {
	w.t.Helper()
	in := kms.Incoming{Operation: op, RequestID: uuid.NewString(), Source: "127.0.0.1", Project: project}
	return w.service.Run(w.t.Context(), in, func(ctx context.Context, c *kms.Call) error {
		if err := c.Identify(ctx, iam.Principal{UserID: user, UserName: "u", DomainID: fsmtest.DomainID, AccessKeyID: accessKey}); err != nil {
			return err
		}
		return do(ctx, c)
	})
}

func (w *world) createKey(name string) *state.Key {
	w.t.Helper()
	var key *state.Key
	err := w.call(kms.OpCreateKey, func(ctx context.Context, c *kms.Call) (err error) {
		key, err = w.service.CreateKey(ctx, c, kms.CreateKeyRequest{Name: name})
		return err
	})
	if err != nil {
		w.t.Fatalf("creating key %s: %v", name, err)
	}
	return key
}

// encrypting is a call that encrypts a byte.
func (w *world) encrypting(key string, bound envelope.Context) func(ctx context.Context, c *kms.Call) error {
	return func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.EncryptData(ctx, c, kms.EncryptRequest{Key: key, Plaintext: []byte("x"), Context: bound})
		return err
	}
}

func (w *world) encrypt(key string, plaintext []byte, encContext envelope.Context) (sealed *kms.Sealed, err error) {
	err = w.call(kms.OpEncryptData, func(ctx context.Context, c *kms.Call) (err error) {
		sealed, err = w.service.EncryptData(ctx, c, kms.EncryptRequest{Key: key, Plaintext: plaintext, Context: encContext})
		return err
	})
	return sealed, err
}

func (w *world) decrypt(key string, ciphertext []byte, encContext envelope.Context) (sealed *kms.Sealed, err error) {
	err = w.call(kms.OpDecryptData, func(ctx context.Context, c *kms.Call) (err error) {
		sealed, err = w.service.DecryptData(ctx, c, kms.DecryptRequest{Key: key, Ciphertext: ciphertext, Context: encContext})
		return err
	})
	return sealed, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, kind kms.Kind) {
	t.Helper()
	if err == nil || kms.KindOf(err) != kind {
		t.Errorf("error = %v (kind %d), want kind %d", err, kms.KindOf(err), kind)
	}
}

func TestEncryptAndDecrypt(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	bound, err := envelope.StringContext("tenant 7")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := w.encrypt("alias/orders", []byte("hello"), bound)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"", key.ID, "alias/orders"} {
		opened, err := w.decrypt(ref, sealed.Ciphertext, bound)
		if err != nil || string(opened.Plaintext) != "hello" || opened.KeyID != key.ID {
			t.Fatalf("decrypting with key %q: %v", ref, err)
		}
	}
	_, err = w.decrypt("", sealed.Ciphertext, envelope.NoContext())
	wantKind(t, err, kms.KindCiphertext)
	other := w.createKey("other")
	_, err = w.decrypt(other.ID, sealed.Ciphertext, bound)
	wantKind(t, err, kms.KindCiphertext)
	altered := bytes.Clone(sealed.Ciphertext)
	altered[len(altered)-1] ^= 1
	_, err = w.decrypt("", altered, bound)
	wantKind(t, err, kms.KindCiphertext)
}

func TestPurposeDecidesWhatOpens(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("k")
	var made *kms.Sealed
	err := w.call(kms.OpCreateDataKey, func(ctx context.Context, c *kms.Call) (err error) {
		made, err = w.service.CreateDataKey(ctx, c, kms.CreateDataKeyRequest{Key: key.ID, Bytes: 32, Plaintext: true})
		return err
	})
	if err != nil || len(made.Plaintext) != 32 {
		t.Fatalf("creating a data key: %v", err)
	}
	// Who may only decrypt data must not open data keys through that door.
	_, err = w.decrypt(key.ID, made.Ciphertext, envelope.NoContext())
	wantKind(t, err, kms.KindCiphertext)
	err = w.call(kms.OpDecryptDataKey, func(ctx context.Context, c *kms.Call) error {
		opened, err := w.service.DecryptDataKey(ctx, c, kms.DecryptRequest{Ciphertext: made.Ciphertext})
		if err == nil && !bytes.Equal(opened.Plaintext, made.Plaintext) {
			err = errors.New("another data key came out")
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDisabledKeyDoesNothing(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("k")
	sealed, err := w.encrypt(key.ID, []byte("x"), envelope.NoContext())
	if err != nil {
		t.Fatal(err)
	}
	change := func(op kms.Operation, do func(context.Context, *kms.Call, string) (*state.Key, error)) error {
		return w.call(op, func(ctx context.Context, c *kms.Call) error { _, err := do(ctx, c, key.ID); return err })
	}
	if err := change(kms.OpDisableKey, w.service.DisableKey); err != nil {
		t.Fatal(err)
	}
	_, err = w.encrypt(key.ID, []byte("x"), envelope.NoContext())
	wantKind(t, err, kms.KindKeyDisabled)
	_, err = w.decrypt("", sealed.Ciphertext, envelope.NoContext())
	wantKind(t, err, kms.KindKeyDisabled)
	wantKind(t, change(kms.OpDisableKey, w.service.DisableKey), kms.KindNotEnabled)
	if err := change(kms.OpEnableKey, w.service.EnableKey); err != nil {
		t.Fatal(err)
	}
	if _, err = w.decrypt("", sealed.Ciphertext, envelope.NoContext()); err != nil {
		t.Errorf("after enabling again: %v", err)
	}
	wantKind(t, change(kms.OpEnableKey, w.service.EnableKey), kms.KindNotDisabled)
}

func TestNobodyIsLetInByDefault(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("k")
	operations := map[string]func(ctx context.Context, c *kms.Call) error{
		"create": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.CreateKey(ctx, c, kms.CreateKeyRequest{Name: "n"})
			return err
		},
		"describe": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.DescribeKey(ctx, c, key.ID)
			return err
		},
		"list": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.ListKeys(ctx, c, kms.ListKeysRequest{Limit: 1})
			return err
		},
		"enable": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.EnableKey(ctx, c, key.ID)
			return err
		},
		"disable": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.DisableKey(ctx, c, key.ID)
			return err
		},
		"datakey": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.CreateDataKey(ctx, c, kms.CreateDataKeyRequest{Key: key.ID, Bytes: 32})
			return err
		},
		"seal": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.EncryptDataKey(ctx, c, kms.EncryptRequest{Key: key.ID, Plaintext: []byte("x")})
			return err
		},
		"open": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.DecryptDataKey(ctx, c, kms.DecryptRequest{Ciphertext: []byte("x")})
			return err
		},
		"encrypt": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.EncryptData(ctx, c, kms.EncryptRequest{Key: key.ID, Plaintext: []byte("x")})
			return err
		},
		"decrypt": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.DecryptData(ctx, c, kms.DecryptRequest{Ciphertext: []byte("x")})
			return err
		},
		"random": func(ctx context.Context, c *kms.Call) error {
			_, err := w.service.GenerateRandom(ctx, c, 8)
			return err
		},
	}
	for name, do := range operations {
		before := len(w.traces.records)
		// A credential that is none of the user's: deny is what is left.
		err := w.callAs(fsmtest.UserID, "NOSUCHACCESSKEY00000", w.project, kms.OpDescribeKey, do)
		if kind := kms.KindOf(err); kind != kms.KindUnauthenticated {
			t.Errorf("%s without a valid credential: %v", name, err)
		}
		if len(w.traces.records) != before+1 || w.traces.last().Rating == audit.RatingNormal {
			t.Errorf("%s: the refusal was not traced as one", name)
		}
	}
	err := w.callAs(fsmtest.UserID, fsmtest.AccessKeyID, strings.Repeat("e", 32), kms.OpListKeys, operations["list"])
	wantKind(t, err, kms.KindWrongProject)
}

func TestWriteIsRepeatedUntilItsOutcomeIsKnown(t *testing.T) {
	w := newWorld(t)
	w.replica.unknown = 2
	key := w.createKey("once")
	if n := w.replica.Root().KeyCount(w.project); n != 1 {
		t.Errorf("%d keys exist, want the one of three attempts", n)
	}
	if got, ok := w.replica.Root().KeyByName(w.project, "once"); !ok || got.ID != key.ID {
		t.Error("the key that was answered is not the one that exists")
	}
}

func TestNoTraceNoAnswer(t *testing.T) {
	w := newWorld(t)
	w.createKey("k")
	w.traces.err = errors.New("disk full")
	_, err := w.encrypt("alias/k", []byte("x"), envelope.NoContext())
	wantKind(t, err, kms.KindTraceFailed)
	err = w.call(kms.OpDisableKey, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.DisableKey(ctx, c, "alias/k")
		return err
	})
	wantKind(t, err, kms.KindTraceFailed)
	if key, _ := w.replica.Root().KeyByName(w.project, "k"); key.State != state.Enabled {
		t.Error("a change was made that could not be traced")
	}

	// The disk goes while the change is made: it must not be said that it was not.
	w.traces.err = nil
	err = w.call(kms.OpDisableKey, func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.DisableKey(ctx, c, "alias/k")
		w.traces.err = errors.New("disk gone")
		return err
	})
	wantKind(t, err, kms.KindOutcomeUnknown)
	if key, _ := w.replica.Root().KeyByName(w.project, "k"); key.State != state.Disabled {
		t.Error("the change was not made")
	}
}

func TestMoreKeysThanAreKeptLoaded(t *testing.T) {
	w := newWorld(t) // keeps two loaded
	sealed := make(map[string][]byte)
	for i := range 6 {
		key := w.createKey(fmt.Sprintf("k%d", i))
		s, err := w.encrypt(key.ID, []byte(key.ID), envelope.NoContext())
		if err != nil {
			t.Fatal(err)
		}
		sealed[key.ID] = s.Ciphertext
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				for id, ciphertext := range sealed {
					opened, err := w.decrypt("", ciphertext, envelope.NoContext())
					if err != nil || string(opened.Plaintext) != id {
						t.Errorf("decrypting under pressure: %v", err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestAlteredRecordIsNotLoaded(t *testing.T) {
	w := newWorld(t)
	// A record that borrows another key's blob: what somebody with write access
	// to the state, but without the module, would try.
	victim := w.createKey("victim")
	version, _ := w.replica.Root().Version(victim.ID, 1)
	thief := fsmtest.CreateKey("thief")
	thief.Blob, thief.MAC = version.Blob, version.MAC
	cmd, err := command.New(command.TypeCreateKey, thief)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Caller = fsmtest.Caller()
	cmd.Proposal.ID = uuid.NewString()
	data, err := command.Encode(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := w.replica.Propose(t.Context(), data); err != nil || result.Refusal != nil {
		t.Fatal(err, result.Refusal)
	}
	_, err = w.encrypt("alias/thief", []byte("x"), envelope.NoContext())
	if err == nil || !errors.Is(err, hsm.ErrMAC) {
		t.Errorf("error = %v, want a record MAC that does not match", err)
	}
}

func TestListKeysPages(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range 5 {
		ids = append([]string{w.createKey(fmt.Sprintf("k%d", i)).ID}, ids...)
	}
	list := func(req kms.ListKeysRequest) (page kms.KeyPage) {
		t.Helper()
		if err := w.call(kms.OpListKeys, func(ctx context.Context, c *kms.Call) (err error) {
			page, err = w.service.ListKeys(ctx, c, req)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return page
	}
	var got []string
	for offset := 0; ; {
		page := list(kms.ListKeysRequest{Limit: 2, Offset: offset})
		if page.Total != 5 {
			t.Errorf("total = %d, want 5", page.Total)
		}
		for _, key := range page.Keys {
			got = append(got, key.ID)
		}
		if page.Next == 0 {
			break
		}
		offset = page.Next
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		t.Errorf("pages give %v, want %v (newest first)", got, ids)
	}
	if page := list(kms.ListKeysRequest{Limit: 2, Offset: 9}); len(page.Keys) != 0 || page.Next != 0 {
		t.Error("an offset past the end is not an empty last page")
	}
	if page := list(kms.ListKeysRequest{Limit: 10, State: state.Disabled}); page.Total != 0 {
		t.Error("a filter that nothing matches found something")
	}
}

// TestNotDoneAfterAnUnknownOutcomeIsUnknown: the first attempt may have been
// carried out, so that "not done" of the second one is no answer to the client.
func TestNotDoneAfterAnUnknownOutcomeIsUnknown(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("k")
	disable := func(ctx context.Context, c *kms.Call) error {
		_, err := w.service.DisableKey(ctx, c, key.ID)
		return err
	}
	w.replica.cutOff = true
	wantKind(t, w.call(kms.OpDisableKey, disable), kms.KindUnavailable)
	w.replica.cutOff, w.replica.unknown, w.replica.thenCutOff = false, 1, true
	wantKind(t, w.call(kms.OpDisableKey, disable), kms.KindOutcomeUnknown)
	if got, _ := w.replica.Root().Key(key.ID); got.State != state.Disabled {
		t.Errorf("the key is %v, although the first attempt was carried out", got.State)
	}
}
