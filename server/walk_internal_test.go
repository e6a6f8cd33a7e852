package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"regexp"
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
	"github.com/raftkms/raftkms/server/gate"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/kms"
)

// alone is a replica of a cluster of one: what is proposed is applied at once.
type alone struct {
	mu      sync.Mutex
	machine *fsm.Machine
	index   uint64
}

func (*alone) Barrier(context.Context) error          { return nil }
func (*alone) Serving() bool                          { return true }
func (*alone) Age() (time.Duration, bool)             { return 0, true }
func (*alone) LeaderTime() time.Time                  { return time.Now() }
func (*alone) Released(context.Context, uint64) error { return nil }
func (r *alone) Root() *state.Root                    { return r.machine.State() }

func (r *alone) Propose(_ context.Context, data []byte) (fsm.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index++
	stamped, err := command.Stamp(data, time.Now().UnixMilli())
	if err != nil {
		return fsm.Result{}, err
	}
	results, err := r.machine.Apply([]fsm.Entry{{Index: r.index, Term: 1, Data: stamped}})
	if err != nil {
		return fsm.Result{}, err
	}
	return results[0], nil
}

// kept are the traces that were written.
type kept struct{ records []*audit.Record }

func (k *kept) Append(_ context.Context, r *audit.Record) error {
	k.records = append(k.records, r)
	return nil
}

func (k *kept) Reserve(context.Context) (*audit.Room, error) { return nil, nil }

func (k *kept) AppendTo(ctx context.Context, _ *audit.Room, r *audit.Record) error {
	return k.Append(ctx, r)
}

// moduleSeals seal tokens by the module, as a node does that has one.
type moduleSeals struct{ module hsm.Module }

func (m moduleSeals) with(ctx context.Context, do func(key *envelope.Key) ([]byte, error)) ([]byte, error) {
	raw, err := m.module.Seal(ctx)
	if err != nil {
		return nil, err
	}
	key, err := envelope.NewKey(ctx, raw)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	return do(key)
}

func (m moduleSeals) SealToken(ctx context.Context, root *state.Root, token []byte) ([]byte, error) {
	return m.with(ctx, func(key *envelope.Key) ([]byte, error) {
		return envelope.SealSecret(ctx, key, 1, token, []byte(root.Cluster().ID))
	})
}

func (m moduleSeals) OpenToken(ctx context.Context, root *state.Root, sealed []byte) ([]byte, error) {
	return m.with(ctx, func(key *envelope.Key) ([]byte, error) {
		return envelope.OpenSecret(ctx, key, sealed, []byte(root.Cluster().ID))
	})
}

func (m moduleSeals) TokenCheck(ctx context.Context, root *state.Root, _ uint32) ([]byte, error) {
	return m.module.MAC(ctx, []byte(root.Cluster().ID))
}

// walk is every route of the API over the real services, state machine and
// module: of the account that runs the cluster, with a key, a user who may
// nothing, and another account whose administrator may everything there.
type walk struct {
	t       *testing.T
	replica *alone
	service *kms.Service
	traces  *kept
	routes  []route
	table   routeTable
	applied int
}

const walkPassword = "correct horse battery staple"

func newWalk(t *testing.T) *walk {
	t.Helper()
	module := softtest.Open(t)
	if err := module.CreateRoots(t.Context(), hsm.ClusterID(uuid.MustParse(fsmtest.ClusterID)), 1); err != nil {
		t.Fatal(err)
	}
	none := func(context.Context, kms.TraceQuery) (kms.TracePage, error) { return kms.TracePage{}, nil }
	w := &walk{t: t, replica: &alone{machine: fsm.New()}, traces: &kept{}}
	w.service = kms.New(kms.Config{
		NodeID: fsmtest.NodeID, Replica: w.replica, Module: module, Traces: w.traces, Logger: slog.New(slog.DiscardHandler), Search: none, Follow: none,
		RefusalAlarm: -1, // everything is refused here, and each request has one trace
	})
	t.Cleanup(w.service.Close)
	bootstrap := fsmtest.Bootstrap()
	bootstrap.PasswordHash = iam.HashPassword(walkPassword)
	if err := w.service.Bootstrap(t.Context(), bootstrap, "test"); err != nil {
		t.Fatal(err)
	}
	m := &member{service: w.service, seal: &sealer{module: module}}
	m.secrets = iam.NewSecrets(func(context.Context, *state.AccessKey) ([]byte, error) { return []byte("secret"), nil })
	t.Cleanup(func() {
		if err := m.secrets.Close(); err != nil {
			t.Error(err)
		}
	})
	tokens := iam.NewTokens(moduleSeals{module})
	door := iam.NewDoor(iam.NewVerifier(m.secrets, time.Now), tokens)
	m.dialect = huawei.New(w.service, door)
	m.keystone = keystone.New(keystone.Config{
		Service: w.service, Door: door, Tokens: tokens, Passwords: iam.NewPasswords(1, time.Now), URL: "https://kms.test", Clock: time.Now,
		SealSecret: m.seal.sealAccessKey, SealFactor: m.seal.sealFactor, OpenFactor: m.seal.openFactor,
	})
	w.routes = (&Server{gate: gate.New(gate.Config{}, time.Now)}).routes(m)
	w.table = newRouteTable(w.routes)

	nobody, other := fsmtest.CreateUser("nobody"), fsmtest.CreateAccount("other")
	nobody.PasswordHash, other.PasswordHash = bootstrap.PasswordHash, bootstrap.PasswordHash
	w.apply(fsmtest.Caller(), fsmtest.CreateKey("theirs"), fsmtest.CreateAlias("theirs", "theirs-too"), nobody, other, fsmtest.CreateGroup("g"), fsmtest.CreatePolicy("p", fsmtest.Allow("kms:*")),
		command.SetTags{ProjectID: fsmtest.ProjectID, KeyID: fsmtest.KeyID("theirs"), Most: 20, Tags: []state.Tag{{Key: "stage", Value: "test"}}})
	stranger := fsmtest.Caller()
	stranger.UserID, stranger.CredentialID, stranger.ProjectID = fsmtest.ID("other/admin"), fsmtest.AccessKey("other/admin"), ""
	w.apply(stranger, fsmtest.CreatePolicy("all", fsmtest.Allow("*")),
		command.AttachPolicy{Binding: command.Binding{UserID: stranger.UserID, Policy: fsmtest.ID("all")}})
	return w
}

func (w *walk) apply(caller command.Caller, bodies ...command.Body) {
	w.t.Helper()
	for _, body := range bodies {
		w.applied++
		cmd := fsmtest.New(w.t).Command(body)
		cmd.Proposal.ID, cmd.Proposal.First, cmd.Caller = fmt.Sprintf("apply %d", w.applied), 0, caller
		data, err := command.Encode(cmd)
		if err != nil {
			w.t.Fatal(err)
		}
		if result, err := w.replica.Propose(w.t.Context(), data); err != nil || result.Refusal != nil {
			w.t.Fatal(body.Type(), err, result.Refusal)
		}
	}
}

// token returns a token of a user for a project.
func (w *walk) token(userID, projectID string) string {
	w.t.Helper()
	return w.tokenFor(userID, `{"project":{"id":"`+projectID+`"}}`)
}

// ofProject tells whether a route is about what belongs to a project; what is
// not is about an account, and takes a token for that.
func (r *route) ofProject() bool {
	return strings.Contains(r.path, "/kms/") || strings.Contains(r.path, "trace")
}

// tokenFor returns a token of a user with a scope.
func (w *walk) tokenFor(userID, scope string) string {
	w.t.Helper()
	rc, _ := w.ask("POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"`+userID+`","password":"`+walkPassword+`"}}},"scope":`+scope+`}}`, "")
	token := string(rc.Response.Header.Peek("X-Subject-Token"))
	if token == "" {
		w.t.Fatalf("no token: %s", rc.Response.Body())
	}
	return token
}

// ask asks a route, which names the operation that it is.
func (w *walk) ask(method, uri, body, token string) (rc *fasthttp.RequestCtx, operation string) {
	w.t.Helper()
	rc = new(fasthttp.RequestCtx)
	rc.Request.Header.SetMethod(method)
	rc.Request.SetRequestURI(uri)
	rc.Request.SetBodyString(body)
	if token != "" {
		rc.Request.Header.Set("X-Auth-Token", token)
	}
	r, values := w.table.find(method, string(rc.Path()))
	if r == nil {
		w.t.Fatalf("no route: %s %s", method, uri)
	}
	return rc, r.handler(w.t.Context(), incoming{rc: rc, requestID: uuid.NewString(), path: values})
}

// things are the values that paths and bodies name things by.
type things struct{ project, key, alias, user, group, role, domain, accessKey, grant string }

func (x things) path(pattern string) string {
	return strings.NewReplacer(
		"{project_id}", x.project, "{key_id}", x.key, "{tag_key}", "stage", "{tracker_name}", "system", "{user_id}", x.user,
		"{group_id}", x.group, "{role_id}", x.role, "{domain_id}", x.domain, "{access_key}", x.accessKey,
	).Replace(pattern)
}

// query is one that suits every route that has one.
func (x things) query() string {
	return "?user_id=" + x.user + "&action=kms:cmk:get&user.id=" + x.user + "&key=" + x.key + "&project_id=" + x.project + "&key_id=" + x.key
}

// body is one that suits the route: what an operation does not know it passes
// over, and what some read differently stands behind their path.
func (x things) body(pattern string) string {
	key := bytes.Repeat([]byte{7}, 32)
	digest := sha256.Sum256(key)
	members := map[string]string{
		"key_id": `"` + x.key + `"`, "target_key_id": `"` + x.key + `"`, "destination_key_id": `"` + x.key + `"`,
		"key_alias": `"fresh"`, "alias": `"alias/fresh"`, "aliases": `["alias/` + x.alias + `"]`, "key_description": `"x"`,
		"pending_days": `"7"`, "rotation_interval": `30`, "limit": `"10"`, "random_data_length": `"256"`,
		"datakey_length": `"256"`, "datakey_plain_length": `"32"`, "datakey_cipher_length": `"32"`,
		"count": `2`, "plain_text": `"text"`, "cipher_text": `"00aa"`, "message": `"AAAA"`, "signature": `"AAAA"`, "mac": `"AAAA"`, "public_key": `"AAAA"`,
		"message_type": `"RAW"`, "mac_algorithm": `"HMAC_SHA_256"`, "signing_algorithm": `"ECDSA_SHA_256"`, "key_agreement_algorithm": `"ECDH"`,
		"wrapping_algorithm": `"RSAES_OAEP_SHA_256"`, "import_token": `"AAAA"`, "encrypted_key_material": `"AAAA"`,
		"tags": `[{"key":"stage","value":"x"}]`, "tag": `{"key":"stage","value":"x"}`, "resources": `[{"type":"CMK","quota":5}]`,
		"grant_id": `"` + x.grant + `"`, "grantee_principal": `"` + x.user + `"`, "operations": `["describe-key"]`,
		"credential": `{"user_id":"` + x.user + `"}`,
		"role":       `{"display_name":"q","policy":{"Version":"1.1","Statement":[{"Effect":"Allow","Action":"kms:*"}]}}`,
	}
	switch pattern[strings.LastIndexByte(pattern, '/')+1:] {
	case "action":
		members["action"] = `"create"`
		if strings.HasSuffix(pattern, "resource_instances/action") {
			members["action"], members["tags"] = `"filter"`, `[{"key":"stage","values":["x"]}]`
		}
	case "encrypt-datakey":
		members["plain_text"] = `"` + hex.EncodeToString(key) + hex.EncodeToString(digest[:]) + `"`
	case "decrypt-data", "re-encrypt":
		members["cipher_text"] = `"AAAA"`
	case "create-rsa-datakey-pair":
		members["key_spec"] = `"RSA_2048"`
	case "create-ec-datakey-pair":
		members["key_spec"] = `"ECC_NIST_P256"`
	}
	written := make([]string, 0, len(members))
	for name, value := range members {
		written = append(written, `"`+name+`":`+value)
	}
	return "{" + strings.Join(written, ",") + "}"
}

// public is what asks for no credentials, or lets everybody do something about
// themselves.
var public = map[string]bool{
	"livez": true, "readyz": true, "leader": true, "metrics": true, "version": true,
	kms.OpCreateToken.Name: true, kms.OpValidateToken.Name: true, kms.OpRevokeToken.Name: true, kms.OpShowCatalog.Name: true,
	kms.OpFindProjects.Name: true, kms.OpFindDomains.Name: true, kms.OpChangePassword.Name: true,
}

// Whoever may nothing is refused by every route there is, and so is whoever is
// nobody; and every attempt leaves its trace.
func TestNobodyGetsThrough(t *testing.T) {
	w := newWalk(t)
	inProject := w.token(fsmtest.ID("nobody"), fsmtest.ProjectID)
	inAccount := w.tokenFor(fsmtest.ID("nobody"), `{"domain":{"id":"`+fsmtest.DomainID+`"}}`)
	own := things{
		project: fsmtest.ProjectID, key: fsmtest.KeyID("theirs"), alias: "theirs-too", user: fsmtest.UserID, group: fsmtest.ID("g"), role: fsmtest.ID("p"),
		domain: fsmtest.DomainID, accessKey: fsmtest.AccessKeyID, grant: strings.Repeat("0", 64),
	}
	before, walked := w.replica.Root().Hash(), 0
	for _, r := range w.routes {
		path := own.path(r.path)
		if !strings.HasPrefix(path, "/v1.0/") && !strings.HasPrefix(path, "/v2.0/") && !strings.HasPrefix(path, "/v3/") && !strings.HasPrefix(path, "/v3.0/") {
			continue // about the node, for everybody
		}
		nobody := inAccount
		if r.ofProject() {
			nobody = inProject
		}
		for _, caller := range []struct {
			token  string
			status int
		}{{nobody, 403}, {"", 401}, {"nonsense", 401}} {
			traced := len(w.traces.records)
			rc, operation := w.ask(r.method, path+own.query(), own.body(r.path), caller.token)
			if public[operation] {
				break
			}
			walked++
			if got := rc.Response.StatusCode(); got != caller.status {
				t.Errorf("%s %s (%s) with %.8q: %d %s", r.method, r.path, operation, caller.token, got, rc.Response.Body())
			}
			if len(w.traces.records) != traced+1 {
				t.Errorf("%s %s: %d traces", r.method, r.path, len(w.traces.records)-traced)
				continue
			}
			record := w.traces.records[traced]
			if strings.HasSuffix(r.path, "kms/{key_id}/tags/action") && caller.status == 403 {
				operation = "batchCreateKeyTags" // as the body says
			}
			if record.TraceName != operation || record.Rating != audit.RatingWarning || record.Code != fmt.Sprint(caller.status) ||
				(record.User.ID == fsmtest.ID("nobody")) != (caller.status == 403) {
				t.Errorf("%s %s: traced as %+v", r.method, r.path, record)
			}
		}
	}
	if walked < 250 {
		t.Errorf("%d requests: routes are missing", walked)
	}
	if w.replica.Root().Hash() != before {
		t.Error("the state has changed")
	}
}

// What belongs to another account cannot be told from what does not exist, by
// any route, in any byte but those that were sent: whoever may everything in
// their own account is answered the same about either. No key is loaded for it.
func TestOthersAreAbsent(t *testing.T) {
	w := newWalk(t)
	inProject := w.token(fsmtest.ID("other/admin"), fsmtest.ID("other/project"))
	inAccount := w.tokenFor(fsmtest.ID("other/admin"), `{"domain":{"id":"`+fsmtest.ID("other")+`"}}`)
	theirs := things{
		project: fsmtest.ProjectID, key: fsmtest.KeyID("theirs"), alias: "theirs-too", user: fsmtest.UserID, group: fsmtest.ID("g"), role: fsmtest.ID("p"),
		domain: fsmtest.DomainID, accessKey: fsmtest.AccessKeyID, grant: strings.Repeat("0", 64),
	}
	absent := things{
		project: fsmtest.ID("none"), key: fsmtest.KeyID("none"), alias: "is-not-there", user: fsmtest.ID("nobody there"), group: fsmtest.ID("none"), role: fsmtest.ID("none"),
		domain: fsmtest.ID("none"), accessKey: fsmtest.AccessKey("none"), grant: strings.Repeat("1", 64),
	}
	// What makes something of the stranger's own is answered with what it made.
	own := map[string]bool{"createKey": true, "createProject": true, "createUser": true, "createGroup": true, "createPolicy": true, "createAccount": true, "genRandom": true}
	compared := 0
	for _, r := range w.routes {
		if !strings.HasPrefix(r.path, "/v1.0/{") && !strings.HasPrefix(r.path, "/v2.0/") && !strings.HasPrefix(r.path, "/v3/") && !strings.HasPrefix(r.path, "/v3.0/") {
			continue
		}
		var answers []string
		operation := ""
		for _, x := range []things{theirs, absent} {
			of, stranger := x, inAccount
			if r.ofProject() {
				of.project, stranger = fsmtest.ID("other/project"), inProject // their own; it is the key that is not
			}
			var rc *fasthttp.RequestCtx
			rc, operation = w.ask(r.method, of.path(r.path)+of.query(), of.body(r.path), stranger)
			text := fmt.Sprintf("%d %s", rc.Response.StatusCode(), rc.Response.Body())
			for _, id := range []string{x.project, x.key, x.alias, x.user, x.group, x.role, x.domain, x.accessKey, x.grant} {
				text = strings.ReplaceAll(text, id, "ID")
			}
			answers = append(answers, requestIDMember.ReplaceAllString(text, ""))
		}
		if public[operation] || own[operation] {
			continue
		}
		compared++
		if answers[0] != answers[1] {
			t.Errorf("%s %s (%s):\n%s of another's\n%s of what is not there", r.method, r.path, operation, answers[0], answers[1])
		}
	}
	if compared < 80 {
		t.Errorf("%d routes compared", compared)
	}
	if n := w.service.LoadedKeys(); n != 0 {
		t.Errorf("%d keys were loaded", n)
	}
}

var requestIDMember = regexp.MustCompile(`"request_id":"[^"]*"`)
