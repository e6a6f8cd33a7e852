package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/client/aksk"
	"github.com/raftkms/raftkms/server/wire"
)

// A revoker makes somebody with one right, has the right used on every node,
// takes it away on one of them while that goes on, and has it tried everywhere
// once more. Making somebody is not judged; it is tried until it has worked.

const (
	// usesAfter is how often a right is tried on each node once its revocation
	// was acknowledged, and usesRefused how often one user of it is told no
	// before it stops.
	usesAfter   = 3
	usesRefused = 5
	// setupPatience bounds the making of somebody; one that takes longer is left.
	setupPatience = 20 * time.Second
)

// revoker works through the kinds of right, again and again.
type revoker struct {
	random   *rand.Rand
	prefix   string
	nodes    []*direct
	recorder *history.Recorder
	made     int
	crypto   string // a policy that allows what is tried
}

// subject is somebody with one right.
type subject struct {
	name, userID string
	right        history.Right
	signer       *aksk.Signer // of the user's access key, or
	token        string       // the user's token; of neither: the administrator has the right
	key          string       // that is used; empty: none is needed
	// revoke takes the right away, on a node.
	revoke func(ctx context.Context, d *direct) verdict
}

// work makes and revokes until ctx ends. What has begun is finished.
func (v *revoker) work(ctx context.Context) {
	whole := context.WithoutCancel(ctx)
	for i := 0; ctx.Err() == nil; i++ {
		right := history.Rights()[i%len(history.Rights())]
		setup, cancel := context.WithTimeout(whole, setupPatience)
		s, err := v.make(setup, ctx, right)
		cancel()
		if err == nil {
			v.try(whole, s)
		} else {
			time.Sleep(breath)
		}
	}
}

// try has a subject's right used on every node, and taken away meanwhile.
func (v *revoker) try(ctx context.Context, s *subject) {
	stop := make(chan struct{})
	var users sync.WaitGroup
	for _, d := range v.nodes {
		users.Go(func() {
			for refused := 0; refused < usesRefused; {
				select {
				case <-stop:
					return
				default:
				}
				switch v.use(ctx, s, d) {
				case history.Refused:
					refused++
				case history.NotDone, history.Unknown:
					time.Sleep(breath)
				}
			}
		})
	}
	time.Sleep(time.Duration(10+v.random.IntN(100)) * time.Millisecond)
	d := pick(v.random, v.nodes...)
	begin := v.recorder.Now()
	told := s.revoke(ctx, d)
	v.record(s, d, true, begin, told)
	close(stop)
	if told.outcome == history.OK {
		for _, d := range v.nodes {
			users.Go(func() {
				for range usesAfter {
					v.use(ctx, s, d)
				}
			})
		}
	}
	users.Wait()
}

// use tries a right: what it allows is answered by a node from its own state,
// while it holds a lease.
func (v *revoker) use(ctx context.Context, s *subject, d *direct) history.Outcome {
	prove := s.prove
	if s.token == "" && s.signer == nil {
		prove = d.sign
	}
	operation, body := "gen-random", map[string]string{"random_data_length": "512"}
	if s.key != "" {
		operation, body = "create-datakey-without-plaintext", map[string]string{"key_id": s.key, "datakey_length": "256"}
	}
	begin := v.recorder.Now()
	told := d.send(ctx, "POST", kmsPath(d, operation), body, nil, prove)
	v.record(s, d, false, begin, told)
	return told.outcome
}

func (v *revoker) record(s *subject, d *direct, revokes bool, begin time.Duration, told verdict) {
	e := history.Entry{
		Subject: s.name, Right: s.right, Node: d.node, Revokes: revokes, Begin: begin, End: v.recorder.Now(), Outcome: told.outcome, Code: told.code,
		Request: told.request, Age: told.age,
	}
	if told.err != nil {
		e.Error = told.err.Error()
	}
	v.recorder.Entry(e)
}

// prove puts into a request that it is the subject's.
func (s *subject) prove(r *http.Request, body []byte) {
	if s.token != "" {
		r.Header.Set("X-Auth-Token", s.token)
		return
	}
	sign(r, s.signer, body)
}

func kmsPath(d *direct, operation string) string { return "/v1.0/" + d.project + "/kms/" + operation }

// make makes somebody with a right, if it can before load ends.
func (v *revoker) make(ctx, load context.Context, right history.Right) (*subject, error) {
	v.made++
	name := fmt.Sprintf("%s-%d", v.prefix, v.made)
	m := &maker{revoker: v, ctx: ctx, load: load}
	switch right {
	case history.Key, history.Material:
		s := &subject{name: name, right: right}
		m.key(s)
		return s, m.err
	}
	if v.crypto == "" {
		v.crypto = m.id("POST", "/v3.0/OS-ROLE/roles", `{"role":{"display_name":"random-`+name+`","type":"XA","description":"","policy":{"Version":"1.1","Statement":[{"Effect":"Allow","Action":["kms:cmk:generate"]}]}}}`, "role", "id")
	}
	password := "correct horse of " + name
	v.nodes[0].secrets.add("a password", []byte(password))
	user := m.id("POST", "/v3/users", `{"user":{"name":"`+name+`","password":"`+password+`"}}`, "user", "id")
	s := &subject{name: name, userID: user, right: right}
	attached := "/users/" + user
	if right == history.Membership {
		group := m.id("POST", "/v3/groups", `{"group":{"name":"`+name+`"}}`, "group", "id")
		member := "/v3/groups/" + group + "/users/" + user
		m.do("PUT", member)
		attached = "/groups/" + group
		s.revoke = deleting(member)
	}
	binding := "/v3/projects/" + v.nodes[0].project + attached + "/roles/" + v.crypto
	if right != history.OwnGrant {
		m.do("PUT", binding)
	}
	switch right {
	case history.OwnGrant:
		m.grant(s)
	case history.Policy:
		s.revoke = deleting(binding)
	case history.User:
		s.revoke = func(ctx context.Context, d *direct) verdict {
			return d.send(ctx, "PATCH", "/v3/users/"+user, json.RawMessage(`{"user":{"enabled":false}}`), nil, d.sign)
		}
	case history.Token:
		m.token(s, `{"auth":{"identity":{"methods":["password"],"password":{"user":{"id":"`+user+`","password":"`+password+`"}}},"scope":{"project":{"id":"`+v.nodes[0].project+`"}}}}`)
		s.revoke = func(ctx context.Context, d *direct) verdict {
			return d.send(ctx, "DELETE", "/v3/auth/tokens", nil, nil, func(r *http.Request, body []byte) {
				d.sign(r, body)
				r.Header.Set("X-Subject-Token", s.token)
			})
		}
	}
	if right != history.Token {
		var reply struct {
			Credential struct{ Access, Secret string }
		}
		m.ask("POST", "/v3.0/OS-CREDENTIAL/credentials", `{"credential":{"user_id":"`+user+`"}}`, &reply, nil)
		v.nodes[0].secrets.add("a user's secret key", []byte(reply.Credential.Secret))
		s.signer = aksk.NewSigner(reply.Credential.Access, reply.Credential.Secret)
		if right == history.AccessKey {
			s.revoke = deleting("/v3.0/OS-CREDENTIAL/credentials/" + reply.Credential.Access)
		}
	}
	return s, m.err
}

// deleting revokes by deleting what is at a path. Whoever tries a second time
// after an unknown outcome may find it gone.
func deleting(path string) func(ctx context.Context, d *direct) verdict {
	return func(ctx context.Context, d *direct) verdict { return d.send(ctx, "DELETE", path, nil, nil, d.sign) }
}

// maker does one thing after the other, and nothing more once one has failed
// for good.
type maker struct {
	*revoker
	ctx, load context.Context
	err       error
}

// ask does one thing on any node until it has worked: what was made before
// without an answer is told apart by being refused as there already, or by the
// headers that are more.
func (m *maker) ask(method, path, body string, reply any, more http.Header) {
	for m.err == nil {
		d := pick(m.random, m.nodes...)
		told := d.send(m.ctx, method, path, json.RawMessage(body), reply, func(r *http.Request, body []byte) {
			d.sign(r, body)
			maps.Copy(r.Header, more)
		})
		switch {
		case told.outcome == history.OK:
			return
		case told.outcome == history.Refused, m.ctx.Err() != nil, m.load.Err() != nil:
			m.err = errors.Join(told.err, m.ctx.Err(), m.load.Err())
			return
		}
		time.Sleep(breath)
	}
}

func (m *maker) do(method, path string) { m.ask(method, path, "null", nil, nil) }

// id makes something and returns its id.
func (m *maker) id(method, path, body, kind, member string) string {
	reply := make(map[string]map[string]any)
	m.ask(method, path, body, &reply, nil)
	id, ok := reply[kind][member].(string)
	if m.err == nil && !ok {
		m.err = fmt.Errorf("%s %s answers without %s.%s", method, path, kind, member)
	}
	return id
}

// token gets the token of a subject.
func (m *maker) token(s *subject, body string) {
	if m.err != nil {
		return
	}
	d := pick(m.random, m.nodes...)
	var header http.Header
	told := d.exchange(m.ctx, "POST", "/v3/auth/tokens", json.RawMessage(body), nil, func(*http.Request, []byte) {}, &header)
	if s.token = header.Get("X-Subject-Token"); told.outcome != history.OK || s.token == "" {
		m.err = errors.Join(errors.New("no token"), told.err)
	}
	d.secrets.add("a token", []byte(s.token))
}

// sign signs as the administrator.
func (d *direct) sign(r *http.Request, body []byte) { sign(r, d.signer, body) }

func sign(r *http.Request, signer *aksk.Signer, body []byte) {
	date := aksk.FormatDate(time.Now())
	r.Header.Set(aksk.DateHeader, date)
	r.Header.Set("Authorization", signer.Authorization(aksk.Request{
		Method: r.Method, Path: r.URL.Path, Headers: map[string]string{"host": r.URL.Host}, Body: body, Date: date,
	}))
}

// send asks this node for anything, once.
func (d *direct) send(ctx context.Context, method, path string, request, reply any, prove func(r *http.Request, body []byte)) verdict {
	return d.exchange(ctx, method, path, request, reply, prove, nil)
}

func (d *direct) exchange(ctx context.Context, method, path string, request, reply any, prove func(r *http.Request, body []byte), header *http.Header) verdict {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	var body []byte
	var err error
	if raw, is := request.(json.RawMessage); request != nil && !(is && string(raw) == "null") {
		if body, err = json.Marshal(request); err != nil {
			return verdict{outcome: history.NotDone, err: err}
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, d.url+path, bytes.NewReader(body))
	if err != nil {
		return verdict{outcome: history.NotDone, err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	prove(r, body)
	answer, err := d.http.Do(r)
	if err != nil {
		return unanswered(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	good := answer.StatusCode/100 == 2
	if err == nil && good && reply != nil {
		err = json.Unmarshal(text, reply)
	}
	if err != nil {
		return verdict{outcome: history.Unknown, err: err}
	}
	if header != nil {
		*header = answer.Header
	}
	told := verdict{outcome: history.OK}
	if !good {
		told = answered(answer.StatusCode, errorOf(text))
	}
	told.request, told.age = answer.Header.Get("X-Request-Id"), ageOf(answer.Header)
	return told
}

// errorOf is an answer of the identity service as the dialect for keys would
// give it: its error has a number for a code, beside the flat one.
func errorOf(text []byte) []byte {
	var said wire.IdentityError
	if strings.Contains(string(text), `"error_code"`) && json.Unmarshal(text, &said) == nil && said.ErrorCode != "" {
		return wire.NewError(said.ErrorCode, said.ErrorMsg, said.RequestID).AppendJSON(nil)
	}
	return text
}
