package keystone_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/hsm/soft/softtest"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/kms"
)

const password = "correct horse battery staple"

// single is a replica of a cluster of one: what is proposed is applied at once.
type single struct {
	mu      sync.Mutex
	machine *fsm.Machine
	index   uint64
	clock   func() time.Time

	meanwhile func() // comes before the next proposal, as another node's would
}

func (r *single) Barrier(context.Context) error { return nil }

func (r *single) Serving() bool              { return false }
func (r *single) Age() (time.Duration, bool) { return 0, false }
func (r *single) LeaderTime() time.Time      { return r.clock() }

func (r *single) Released(context.Context, uint64) error { return nil }

func (r *single) Root() *state.Root { return r.machine.State() }

func (r *single) Propose(_ context.Context, data []byte) (fsm.Result, error) {
	if meanwhile := r.meanwhile; meanwhile != nil {
		r.meanwhile = nil
		meanwhile()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index++
	stamped, err := command.Stamp(data, r.clock().UnixMilli())
	if err != nil {
		return fsm.Result{}, err
	}
	results, err := r.machine.Apply([]fsm.Entry{{Index: r.index, Term: 1, Data: stamped}})
	if err != nil {
		return fsm.Result{}, err
	}
	return results[0], nil
}

// traces keeps what was traced.
type traces struct {
	mu      sync.Mutex
	records []*audit.Record
}

func (l *traces) Append(_ context.Context, r *audit.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

func (l *traces) Reserve(context.Context) (*audit.Room, error) { return nil, nil }

func (l *traces) AppendTo(ctx context.Context, _ *audit.Room, r *audit.Record) error {
	return l.Append(ctx, r)
}

func (l *traces) last() *audit.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[len(l.records)-1]
}

// seals are those of the module.
type seals struct{ module hsm.Module }

func (s seals) key(ctx context.Context) (*envelope.Key, error) {
	raw, err := s.module.Seal(ctx)
	if err != nil {
		return nil, err
	}
	return envelope.NewKey(ctx, raw)
}

func (s seals) SealToken(ctx context.Context, root *state.Root, token []byte) ([]byte, error) {
	key, err := s.key(ctx)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	return envelope.SealSecret(ctx, key, 1, token, []byte(root.Cluster().ID))
}

func (s seals) OpenToken(ctx context.Context, root *state.Root, sealed []byte) ([]byte, error) {
	key, err := s.key(ctx)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	return envelope.OpenSecret(ctx, key, sealed, []byte(root.Cluster().ID))
}

func (s seals) TokenCheck(ctx context.Context, root *state.Root, _ uint32) ([]byte, error) {
	return s.module.MAC(ctx, []byte(root.Cluster().ID))
}

// world is the identity service and the keys' dialect over the real service,
// state machine and module.
type world struct {
	t       testing.TB
	now     time.Time
	replica *single
	service *kms.Service
	traces  *traces
	api     *keystone.API
	dialect *huawei.Dialect
	values  map[string]string // of the path
	// proposals counts what was applied past the service.
	proposals int
	sealed    int // secrets of second factors that were sealed or opened
}

func newWorld(t testing.TB) *world {
	t.Helper()
	module := softtest.Open(t)
	if err := module.CreateRoots(t.Context(), hsm.ClusterID(uuid.MustParse(fsmtest.ClusterID)), 1); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, now: time.Now(), traces: &traces{}}
	clock := func() time.Time { return w.now }
	w.replica = &single{machine: fsm.New(), clock: clock}
	w.service = kms.New(kms.Config{NodeID: fsmtest.NodeID, Replica: w.replica, Module: module, Traces: w.traces, Logger: slog.New(slog.DiscardHandler),
		RefusalAlarm: -1, // tests look at one trace a request
	})
	t.Cleanup(w.service.Close)
	b := fsmtest.Bootstrap()
	b.PasswordHash = iam.HashPassword(password)
	if err := w.service.Bootstrap(t.Context(), b, "test"); err != nil {
		t.Fatal(err)
	}
	secrets := iam.NewSecrets(func(context.Context, *state.AccessKey) ([]byte, error) { return []byte("secret"), nil })
	t.Cleanup(func() {
		if err := secrets.Close(); err != nil {
			t.Error(err)
		}
	})
	tokens := iam.NewTokens(seals{module})
	door := iam.NewDoor(iam.NewVerifier(secrets, clock), tokens)
	w.dialect = huawei.New(w.service, door)
	w.api = keystone.New(keystone.Config{
		Service: w.service, Door: door, Tokens: tokens, Passwords: iam.NewPasswords(2, clock), URL: "https://kms.test", Clock: clock,
		SealSecret: func(_ context.Context, _ *state.Root, _ string, secret []byte) ([]byte, error) {
			return []byte("sealed"), nil
		},
		SealFactor: func(ctx context.Context, _ *state.Root, id string, secret []byte) ([]byte, error) {
			w.sealed++
			key, err := seals{module}.key(ctx)
			if err != nil {
				return nil, err
			}
			defer key.Close()
			return envelope.SealSecret(ctx, key, 1, secret, []byte(id))
		},
		OpenFactor: func(ctx context.Context, id string, sealed []byte) ([]byte, error) {
			w.sealed++
			key, err := seals{module}.key(ctx)
			if err != nil {
				return nil, err
			}
			defer key.Close()
			return envelope.OpenSecret(ctx, key, sealed, []byte(id))
		},
	})
	return w
}

// path stands for the values in a path: those that a test sets, else the administrator.
func (w *world) path(name string) string {
	if value, ok := w.values[name]; ok {
		return value
	}
	if name == "user_id" {
		return fsmtest.UserID
	}
	return ""
}

// answered is a response.
type answered struct {
	status int
	body   string
	token  string
}

// ask asks one endpoint; headers come in pairs.
func (w *world) ask(e keystone.Endpoint, method, uri, body string, headers ...string) answered {
	w.t.Helper()
	rc := newRequest(method, uri, body, headers...)
	e.Serve(w.t.Context(), w.api, rc, uuid.NewString(), w.path)
	return answered{rc.Response.StatusCode(), string(rc.Response.Body()), string(rc.Response.Header.Peek("X-Subject-Token"))}
}

func newRequest(method, uri, body string, headers ...string) *fasthttp.RequestCtx {
	rc := new(fasthttp.RequestCtx)
	rc.Request.Header.SetMethod(method)
	rc.Request.SetRequestURI(uri)
	rc.Request.SetBodyString(body)
	for i := 0; i < len(headers); i += 2 {
		rc.Request.Header.Add(headers[i], headers[i+1])
	}
	return rc
}

// listKeys asks for the keys of a project with a token, as any call to keys does.
func (w *world) listKeys(project, token string) answered {
	w.t.Helper()
	rc := newRequest("POST", "/v1.0/"+project+"/kms/list-keys", "{}", "X-Auth-Token", token)
	huawei.ListKeys.Serve(w.t.Context(), w.dialect, rc, uuid.NewString(), huawei.Path{Project: project})
	return answered{status: rc.Response.StatusCode(), body: string(rc.Response.Body())}
}

const (
	byName  = `{"name":"admin","domain":{"name":"account"},"password":"` + password + `"}`
	byID    = `{"id":"` + fsmtest.UserID + `","password":"` + password + `"}`
	project = `,"scope":{"project":{"id":"` + fsmtest.ProjectID + `"}}`
)

// ofAccount is the scope of a token for an account.
func ofAccount(name string) string { return `,"scope":{"domain":{"name":"` + name + `"}}` }

// login asks for a token by a password.
func (w *world) login(user, scope string) answered {
	w.t.Helper()
	return w.ask(keystone.CreateToken, "POST", "/v3/auth/tokens",
		`{"auth":{"identity":{"methods":["password"],"password":{"user":`+user+`}}`+scope+`}}`)
}

// mustLogin returns a token for the project.
func (w *world) mustLogin() string {
	w.t.Helper()
	a := w.login(byName, project)
	if a.status != 201 || a.token == "" {
		w.t.Fatalf("no token: %d %s", a.status, a.body)
	}
	return a.token
}

// code is the status in the body of a refusal, and whether it has the right shape.
func (a answered) wantRefused(t testing.TB, status int) {
	t.Helper()
	var e struct {
		Error struct {
			Code    int
			Title   string
			Message string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != status || e.Error.Code != status || e.Error.Message == "" || e.Error.Title == "" {
		t.Errorf("answered %d %s, want %d in the shape of the identity service", a.status, a.body, status)
	}
	if a.token != "" || strings.Contains(a.body, password) {
		t.Errorf("a refusal with a secret: %s", a.body)
	}
}
