package huawei_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
)

const (
	secretKey = "0123456789abcdefghijABCDEFGHIJ0123456789"
	endpoint  = "http://kms.example.com"
	bodyLimit = 64 << 10
)

var endpoints = map[string]huawei.Endpoint{
	"create-key":                        huawei.CreateKey,
	"describe-key":                      huawei.DescribeKey,
	"list-keys":                         huawei.ListKeys,
	"enable-key":                        huawei.EnableKey,
	"disable-key":                       huawei.DisableKey,
	"create-datakey":                    huawei.CreateDataKey,
	"create-datakey-without-plaintext":  huawei.CreateDataKeyWithoutPlaintext,
	"create-datakeys":                   huawei.CreateDataKeys,
	"create-datakeys-without-plaintext": huawei.CreateDataKeysWithoutPlaintext,
	"encrypt-datakey":                   huawei.EncryptDataKey,
	"decrypt-datakey":                   huawei.DecryptDataKey,
	"encrypt-data":                      huawei.EncryptData,
	"decrypt-data":                      huawei.DecryptData,
	"gen-random":                        huawei.GenerateRandom,
	"get-parameters-for-import":         huawei.GetParametersForImport,
	"import-key-material":               huawei.ImportKeyMaterial,
	"delete-imported-key-material":      huawei.DeleteImportedKeyMaterial,
	"re-encrypt":                        huawei.ReEncrypt,
	"create-rsa-datakey-pair":           huawei.CreateRSADataKeyPair,
	"create-ec-datakey-pair":            huawei.CreateECDataKeyPair,
	"get-publickey":                     huawei.GetPublicKey,
	"sign":                              huawei.Sign,
	"verify":                            huawei.Verify,
	"generate-mac":                      huawei.GenerateMAC,
	"verify-mac":                        huawei.VerifyMAC,
	"derive-shared-secret":              huawei.DeriveSharedSecret,

	"update-key-alias":                huawei.UpdateKeyAlias,
	"update-key-description":          huawei.UpdateKeyDescription,
	"schedule-key-deletion":           huawei.ScheduleKeyDeletion,
	"cancel-key-deletion":             huawei.CancelKeyDeletion,
	"enable-key-deletion-protection":  huawei.EnableDeletionProtection,
	"disable-key-deletion-protection": huawei.DisableDeletionProtection,
	"aliases":                         huawei.CreateAlias,
	"alias/associate":                 huawei.AssociateAlias,
	"enable-key-rotation":             huawei.EnableKeyRotation,
	"update-key-rotation-interval":    huawei.UpdateRotationInterval,
	"disable-key-rotation":            huawei.DisableKeyRotation,
	"get-key-rotation-status":         huawei.GetKeyRotationStatus,
	"rotate-on-demand":                huawei.RotateOnDemand,
	"list-key-versions":               huawei.ListKeyVersions,

	"create-grant":          huawei.CreateGrant,
	"revoke-grant":          huawei.RevokeGrant,
	"retire-grant":          huawei.RetireGrant,
	"list-grants":           huawei.ListGrants,
	"list-retirable-grants": huawei.ListRetirableGrants,
}

// withValues takes the key and the tag out of a path about tags.
func withValues(verb string, path *huawei.Path) string {
	parts := strings.Split(verb, "/")
	if len(parts) < 2 || parts[1] != "tags" {
		return verb
	}
	path.Key, parts[0] = parts[0], "{key_id}"
	if len(parts) == 3 && parts[2] != "action" {
		path.Tag, parts[2] = parts[2], "{tag_key}"
	}
	return strings.Join(parts, "/")
}

// others are the endpoints that are not asked with POST, or whose path names
// more than the project.
var others = map[string]huawei.Endpoint{
	"GET tags":                       huawei.ListProjectTags,
	"GET {key_id}/tags":              huawei.ListTags,
	"POST {key_id}/tags":             huawei.CreateTag,
	"POST {key_id}/tags/action":      huawei.BatchTags,
	"DELETE {key_id}/tags/{tag_key}": huawei.DeleteTag,
	"POST resource_instances/action": huawei.FindTagged,
	"GET user-instances":             huawei.UserInstances,
	"GET user-quotas":                huawei.UserQuotas,
	"PUT user-quotas":                huawei.SetUserQuotas,
	"DELETE aliases":                 huawei.DeleteAliases,
	"GET aliases":                    huawei.ListAliases,
}

// single is a replica of a cluster of one: what is proposed is applied at once.
type single struct {
	mu      sync.Mutex
	machine *fsm.Machine
	index   uint64
	now     int64
	// leased: it holds a serving lease; age is how old its state is without. Set
	// while no request is under way.
	leased bool
	age    time.Duration
	apart  bool // it can prove no state to be current
}

func (r *single) Serving() bool              { return r.leased }
func (r *single) Age() (time.Duration, bool) { return r.age, true }

func (r *single) Barrier(context.Context) error {
	if r.apart {
		return context.DeadlineExceeded
	}
	return nil
}

func (r *single) LeaderTime() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.UnixMilli(r.now)
}

func (r *single) Released(context.Context, uint64) error { return nil }

func (r *single) Root() *state.Root { return r.machine.State() }

// time is the replicated one, Unix ms.
func (r *single) time() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// advance lets time pass up to an instant.
func (r *single) advance(to int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = max(r.now, to)
}

func (r *single) Propose(_ context.Context, data []byte) (fsm.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	return results[0], nil
}

// traces keeps what was traced.
type traces struct {
	mu      sync.Mutex
	records []*audit.Record
	err     error
	// through takes the records instead, where it is set: before requests come.
	through func(ctx context.Context, r *audit.Record) error
}

func (l *traces) Append(ctx context.Context, r *audit.Record) error {
	if l.through != nil {
		return l.through(ctx, r)
	}
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

func (l *traces) last(t *testing.T) *audit.Record {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.records) == 0 {
		t.Fatal("nothing was traced")
	}
	return l.records[len(l.records)-1]
}

// named returns the traces of a name.
func (l *traces) named(name string) (found []*audit.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.records {
		if r.TraceName == name {
			found = append(found, r)
		}
	}
	return found
}

// world is the dialect over the real service, state machine and module, and
// behind a real HTTP server on a listener in memory.
type world struct {
	t        testing.TB
	service  *scripted
	config   kms.Config // of the service
	traces   *traces
	search   func(q kms.TraceQuery) (kms.TracePage, error) // of all nodes' traces
	replica  *single
	made     int // keys, for their names
	listener *fasthttputil.InmemoryListener
	client   *http.Client
	dialect  *huawei.Dialect
	// before and seen are given the request's context before the dialect gets
	// it, and after it has answered.
	before, seen func(rc *fasthttp.RequestCtx)
}

// scripted is the real service, unless it is told to fail.
type scripted struct {
	*kms.Service
	err error
}

func (s *scripted) DescribeKey(ctx context.Context, c *kms.Call, ref string) (*state.Key, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Service.DescribeKey(ctx, c, ref)
}

func (s *scripted) EnableKey(ctx context.Context, c *kms.Call, ref string) (*state.Key, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Service.EnableKey(ctx, c, ref)
}

func (s *scripted) DisableKey(ctx context.Context, c *kms.Call, ref string) (*state.Key, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Service.DisableKey(ctx, c, ref)
}

func (s *scripted) EncryptData(ctx context.Context, c *kms.Call, r kms.EncryptRequest) (*kms.Sealed, error) {
	if s.err != nil {
		return nil, s.err
	}
	return s.Service.EncryptData(ctx, c, r)
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOver(t, softModule(t))
}

// newWorldOver is a world whose keys are in that module.
func newWorldOver(t testing.TB, module hsm.Module) *world {
	t.Helper()
	w := &world{t: t, traces: &traces{}, replica: &single{machine: fsm.New(), now: fsmtest.Start}, listener: fasthttputil.NewInmemoryListener()}
	w.config = kms.Config{
		NodeID: fsmtest.NodeID, Replica: w.replica, Module: module, Traces: w.traces,
		Search: func(_ context.Context, q kms.TraceQuery) (kms.TracePage, error) { return w.search(q) },
		Follow: func(_ context.Context, q kms.TraceQuery) (kms.TracePage, error) { return w.search(q) }, Logger: slog.New(slog.DiscardHandler),
		RefusalAlarm: -1, // tests refuse more than anybody would
	}
	w.search = func(kms.TraceQuery) (kms.TracePage, error) { return kms.TracePage{}, nil }
	w.service = &scripted{Service: kms.New(w.config)}
	t.Cleanup(w.service.Close)
	if err := w.service.Bootstrap(t.Context(), fsmtest.Bootstrap(), "test"); err != nil {
		t.Fatal(err)
	}
	secrets := iam.NewSecrets(func(context.Context, *state.AccessKey) ([]byte, error) { return []byte(secretKey), nil })
	t.Cleanup(func() {
		if err := secrets.Close(); err != nil {
			t.Error(err)
		}
	})
	w.dialect = huawei.New(w.service, iam.NewDoor(iam.NewVerifier(secrets, time.Now), nil))
	w.serve(w.dialect)
	return w
}

// serve answers as the front end does.
func (w *world) serve(d *huawei.Dialect) {
	server := &fasthttp.Server{
		ErrorHandler:       huawei.WriteProtocolError,
		MaxRequestBodySize: bodyLimit,
		ReadBufferSize:     16 << 10,
		ReadTimeout:        10 * time.Second,
		Logger:             slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		Handler: func(rc *fasthttp.RequestCtx) {
			requestID := uuid.NewString()
			rc.Response.Header.Set(huawei.HeaderRequestID, requestID)
			if w.before != nil {
				w.before(rc)
			}
			project, verb, _ := strings.Cut(strings.TrimPrefix(string(rc.Path()), "/v1.0/"), "/kms/")
			path := huawei.Path{Project: project}
			verb = withValues(verb, &path)
			e, ok := endpoints[verb]
			other, differs := others[string(rc.Method())+" "+verb]
			switch {
			case string(rc.Path()) == "/":
				huawei.Versions(rc)
			case string(rc.Path()) == "/v1.0":
				huawei.Version(rc)
			case string(rc.Path()) == "/openapi.yaml":
				huawei.Document(rc)
			case string(rc.Path()) == "/panic":
				huawei.WriteInternal(rc, requestID)
			case strings.HasSuffix(string(rc.Path()), "/traces"):
				parts := strings.Split(string(rc.Path()), "/")
				huawei.ListTraces.Serve(rc, d, rc, requestID, huawei.Path{Project: parts[2]})
			case strings.HasSuffix(string(rc.Path()), "/traces/follow"):
				parts := strings.Split(string(rc.Path()), "/")
				huawei.FollowTraces.Serve(rc, d, rc, requestID, huawei.Path{Project: parts[2]})
			case strings.HasSuffix(string(rc.Path()), "/trace"):
				parts := strings.Split(string(rc.Path()), "/")
				huawei.ListTracesOfTracker.Serve(rc, d, rc, requestID, huawei.Path{Project: parts[2], Tracker: parts[3]})
			case differs:
				other.Serve(rc, d, rc, requestID, path)
			case !ok:
				huawei.WriteNotFound(rc, requestID)
			case !rc.IsPost():
				huawei.WriteMethodNotAllowed(rc, requestID)
			default:
				e.Serve(rc, d, rc, requestID, path)
			}
			if w.seen != nil {
				w.seen(rc)
			}
		},
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(w.listener) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return w.listener.Dial() }}
	w.client = &http.Client{Transport: transport}
	w.t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := w.listener.Close(); err != nil {
			w.t.Error(err)
		}
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// answered is a response.
type answered struct {
	status int
	header http.Header
	body   string
}

// code is the error code in the body, which must be in all of its places.
func (a answered) code(t *testing.T) string {
	t.Helper()
	var e struct {
		Error struct {
			Code    string `json:"error_code"`
			Message string `json:"error_msg"`
		} `json:"error"`
		Code      string `json:"error_code"`
		Message   string `json:"error_msg"`
		RequestID string `json:"request_id"`
	}
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("%q: %v", a.body, err)
	}
	if e.Code != e.Error.Code || e.Message != e.Error.Message || e.Message == "" || e.RequestID == "" || e.RequestID != a.header.Get("X-Request-Id") {
		t.Errorf("the error is not the same in all places: %s, X-Request-Id %s", a.body, a.header.Get("X-Request-Id"))
	}
	return e.Code
}

// asking changes a request after it has been signed.
type asking func(r *http.Request)

// agent has the request come from a program of that name.
func agent(name string) asking { return func(r *http.Request) { r.Header.Set("User-Agent", name) } }

// ask signs a request as the vendor's SDK does, sends it and checks what is the
// same for all answers. The verb may have another method than POST in front of
// it, and a query behind it.
func (w *world) ask(verb, body string, alter ...asking) answered {
	w.t.Helper()
	return w.askIn(fsmtest.ProjectID, fsmtest.AccessKeyID, secretKey, time.Now(), verb, body, alter...)
}

func (w *world) askIn(project, ak, sk string, at time.Time, verb, body string, alter ...asking) answered {
	w.t.Helper()
	method := "POST"
	if m, rest, ok := strings.Cut(verb, " "); ok {
		method, verb = m, rest
	}
	verb, query, _ := strings.Cut(verb, "?")
	path := "/v1.0/" + project + "/kms/" + verb
	b := request.NewHttpRequestBuilder().WithEndpoint(endpoint).WithMethod(method).WithPath(path).
		AddHeaderParam("Content-Type", "application/json").AddHeaderParam("X-Sdk-Date", at.UTC().Format("20060102T150405Z"))
	if body != "" {
		b = b.WithBody("body", body)
	}
	for pair := range strings.SplitSeq(query, "&") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			value, err := url.QueryUnescape(value)
			if err != nil {
				w.t.Fatal(err)
			}
			b = b.AddQueryParam(name, reflect.ValueOf(value))
		}
	}
	signed := b.Build()
	headers, err := signer.Sign(signed, ak, sk)
	if err != nil {
		w.t.Fatal(err)
	}
	if query != "" {
		path += "?" + query
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, endpoint+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "test/1.0")
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	for _, f := range alter {
		f(r)
	}
	return w.send(r)
}

func (w *world) send(r *http.Request) answered {
	w.t.Helper()
	response, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		w.t.Errorf("Content-Type %q", got)
	}
	if _, err := uuid.Parse(response.Header.Get("X-Request-Id")); err != nil {
		w.t.Errorf("X-Request-Id: %v", err)
	}
	return answered{response.StatusCode, response.Header, string(body)}
}

// must asks for what succeeds and decodes the reply.
func (w *world) must(verb, body string, reply any) string {
	w.t.Helper()
	a := w.ask(verb, body)
	if a.status/100 != 2 {
		w.t.Fatalf("%s %.200s: %d %s", verb, body, a.status, a.body)
	}
	if reply != nil {
		clear := reflect.ValueOf(reply).Elem()
		clear.SetZero()
		if err := json.Unmarshal([]byte(a.body), reply); err != nil {
			w.t.Fatalf("%s: %s: %v", verb, a.body, err)
		}
	}
	return a.body
}

// createKey makes a key and returns its id.
func (w *world) createKey(name string) string {
	w.t.Helper()
	var reply struct {
		KeyInfo struct {
			KeyID string `json:"key_id"`
		} `json:"key_info"`
	}
	w.must("create-key", `{"key_alias":"`+name+`"}`, &reply)
	return reply.KeyInfo.KeyID
}
