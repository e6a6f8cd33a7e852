package huawei_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/wire"
)

// under has the request carry an idempotency token.
func under(token string) asking {
	return func(r *http.Request) { r.Header.Set(wire.HeaderIdempotencyToken, token) }
}

// onceToken is the n-th token.
func onceToken(n int) string { return fmt.Sprintf("0123456789abcdef.%d", n) }

// Every change, repeated under its token, is done once and gets the first
// answer, whatever the first time has made of what it is about. To every other
// call a token is nothing, but for one that refuses it.
func TestEveryChangeIsDoneOnceUnderItsToken(t *testing.T) {
	w := newWorld(t)
	changes := 0
	for asked, fresh := range w.makers() {
		method, verb, _ := strings.Cut(asked, " ")
		e, known := others[asked]
		if method == "POST" && !known {
			e = endpoints[verb]
		}
		key, b := fresh()
		path := method + " " + strings.NewReplacer("{key_id}", key, "{tag_key}", "stage").Replace(verb)
		if method == "GET" {
			b = body{}
		}
		before := w.replica.Root().ReplyCount()
		changes++
		mine := under(onceToken(changes))
		first := w.ask(path, b.json(), mine)
		if verb == "get-parameters-for-import" {
			if first.status != 400 || first.code(t) != "KMS.0308" || !strings.Contains(first.body, "without a token") {
				t.Errorf("%s with a token: %d %s", asked, first.status, first.body)
			}
			continue
		}
		if first.status/100 != 2 {
			t.Errorf("%s: %d %s", asked, first.status, first.body)
			continue
		}
		once := w.replica.Root().ReplyCount()
		if changed := once > before; changed != e.Operation.TakesToken() {
			t.Errorf("%s takes a token: %v, changes the state: %v", asked, e.Operation.TakesToken(), changed)
		}
		if !e.Operation.TakesToken() {
			continue
		}
		again := w.ask(path, b.json(), mine)
		if again.status != first.status || again.body != first.body {
			t.Errorf("%s: first %d %s, then %d %s", asked, first.status, first.body, again.status, again.body)
		}
		if now := w.replica.Root().ReplyCount(); now != once {
			t.Errorf("%s: the repeat has changed something: %d answers are kept, %d before", asked, now, once)
		}
	}
}

// One token is for one request of one user.
func TestAnotherRequestUnderTheToken(t *testing.T) {
	w := newWorld(t)
	f := func(a answered, status int, code string) {
		t.Helper()
		if a.status != status || code != "" && a.code(t) != code {
			t.Errorf("%d %s, want %d %s", a.status, a.body, status, code)
		}
	}
	f(w.ask("create-key", `{"key_alias":"a"}`, under(onceToken(1))), 200, "")
	f(w.ask("create-key", `{"key_alias":"b"}`, under(onceToken(1))), 400, "KMS.0308")
	f(w.ask("create-key", `{"key_alias":"a"}`, under(onceToken(2))), 400, "KMS.1104")
	f(w.ask("create-key", `{"key_alias":"a"}`), 400, "KMS.1104")
	key := w.createKey("c")
	disable := `{"key_id":"` + key + `"}`
	f(w.ask("disable-key", disable, under(onceToken(1))), 200, "") // a token is one operation's
	// A refusal is an answer: the repeat gets it although it would be done now.
	f(w.ask("disable-key", disable, under(onceToken(3))), 400, "KMS.1301")
	w.must("enable-key", disable, nil)
	f(w.ask("disable-key", disable, under(onceToken(3))), 400, "KMS.1301")
	f(w.ask("disable-key", disable, under(onceToken(4))), 200, "")
	// Another user's is another one, and a way around no permission.
	_, eve, _ := w.neighbours()
	f(w.askIn(eve.project, eve.accessKey, secretKey, time.Now(), "create-key", `{"key_alias":"a"}`, under(onceToken(1))), 403, "KMS.0306")
	f(w.askIn(eve.project, eve.accessKey, secretKey, time.Now(), "disable-key", disable, under(onceToken(4))), 403, "KMS.0306")
}

// Many at once under one token make one grant, which each of them is told.
func TestRepeatsAtOnce(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("a")
	request := `{"key_id":"` + key + `","grantee_principal":"` + fsmtest.UserID + `","operations":["encrypt-data"]}`
	var all sync.WaitGroup
	answers := make([]answered, 16)
	for i := range answers {
		all.Go(func() { answers[i] = w.ask("create-grant", request, under(onceToken(1))) })
	}
	all.Wait()
	for _, a := range answers {
		if a.status != 200 || a.body != answers[0].body {
			t.Errorf("%d %s, and %s", a.status, a.body, answers[0].body)
		}
	}
	if k, _ := w.replica.Root().Key(key); k.Grants != 1 {
		t.Errorf("%d grants", k.Grants)
	}
}

// What the state may have forgotten is not done again where the repeat says that
// it is one.
func TestARepeatThatComesTooLate(t *testing.T) {
	w := newWorld(t)
	w.replica.advance(time.Now().UnixMilli())
	key := w.createKey("a")
	request := `{"key_id":"` + key + `","grantee_principal":"` + fsmtest.UserID + `","operations":["encrypt-data"]}`
	first := w.ask("create-grant", request, under(onceToken(1)))
	again := w.ask("create-grant", request, under(onceToken(1)+"; age=60000"))
	if first.status != 200 || again.body != first.body {
		t.Fatalf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	w.replica.advance(time.Now().Add(20 * time.Minute).UnixMilli())
	w.createKey("b") // time passes in the state with a command
	late := w.ask("create-grant", request, under(onceToken(1)+"; age=60000"))
	if late.status != 500 || late.code(t) != "KMS.0103" {
		t.Errorf("too late: %d %s", late.status, late.body)
	}
	if k, _ := w.replica.Root().Key(key); k.Grants != 1 {
		t.Errorf("%d grants", k.Grants)
	}
}

func TestMalformedTokens(t *testing.T) {
	w := newWorld(t)
	for _, bad := range []string{
		"", "short", "0123456789abcde", strings.Repeat("a", 65), "0123456789abcdef g", "0123456789abcdef/", "0123456789abcdefé",
		"0123456789abcdef; age=", "0123456789abcdef; age=-1", "0123456789abcdef; age=1s", "0123456789abcdef; age=1234567890", "0123456789abcdef;age=1", "0123456789abcdef; age=1; age=1",
	} {
		if a := w.ask("create-key", `{"key_alias":"a"}`, under(bad)); a.status != 400 || a.code(t) != "KMS.0308" || !strings.Contains(a.body, wire.HeaderIdempotencyToken) {
			t.Errorf("%q: %d %s", bad, a.status, a.body)
		}
	}
	twice := func(r *http.Request) {
		r.Header.Add(wire.HeaderIdempotencyToken, onceToken(1))
		r.Header.Add(wire.HeaderIdempotencyToken, onceToken(1))
	}
	if a := w.ask("create-key", `{"key_alias":"a"}`, twice); a.status != 400 {
		t.Errorf("two of them: %d %s", a.status, a.body)
	}
}

// The token goes with a request that another node's module has to answer.
func TestAForwardedChangeIsDoneOnce(t *testing.T) {
	w := newWorld(t)
	admin := iam.Principal{UserID: fsmtest.UserID, UserName: fsmtest.UserName, DomainID: fsmtest.DomainID, AccessKeyID: fsmtest.AccessKeyID}
	f := func(token, name string) huawei.Outcome {
		return huawei.CreateKey.Answer(t.Context(), w.dialect, &huawei.Forwarded{
			Method: "POST", URI: "/v1.0/" + fsmtest.ProjectID + "/kms/create-key", Body: []byte(`{"key_alias":"` + name + `"}`), Source: "192.0.2.1", RequestID: "r", Principal: admin, Token: token,
		}, believed, huawei.Path{Project: fsmtest.ProjectID})
	}
	first, again, other, none := f(onceToken(1), "a"), f(onceToken(1), "a"), f(onceToken(1), "b"), f("", "a")
	if first.Status != 200 || string(again.Body) != string(first.Body) || other.Code != "KMS.0308" || none.Code != "KMS.1104" {
		t.Errorf("%+v, %+v, %+v, %+v", first, again, other, none)
	}
	// Whichever node has answered first: here it is asked directly.
	if a := w.ask("create-key", `{"key_alias":"a"}`, under(onceToken(1))); a.body != string(first.Body) {
		t.Errorf("asked directly: %d %s", a.status, a.body)
	}
}
