package server

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// must asks what succeeds, and decodes the reply.
func (w *walk) must(path, body, token string, reply any) {
	w.t.Helper()
	rc, _ := w.ask("POST", path, body, token)
	if status := rc.Response.StatusCode(); status != 200 && status != 201 {
		w.t.Fatalf("%s: %d %s", path, status, rc.Response.Body())
	}
	if err := json.Unmarshal(rc.Response.Body(), reply); err != nil {
		w.t.Fatal(err)
	}
}

// What really is another account's (a key, its ciphertexts, its names, a grant
// on it, its grants for others) is answered to whoever may everything in their
// own as what never was, in every byte but those that were sent, and in the same
// time as far as the least of many tries tells.
func TestOthersCannotBeToldFromNothing(t *testing.T) {
	w := newWalk(t)
	owner := w.token(fsmtest.UserID, fsmtest.ProjectID)
	stranger := w.token(fsmtest.ID("other/admin"), fsmtest.ID("other/project"))
	theirs := "/v1.0/" + fsmtest.ProjectID + "/kms/"
	var made struct {
		Key struct {
			ID string `json:"key_id"`
		} `json:"key_info"`
	}
	w.must(theirs+"create-key", `{"key_alias":"payroll"}`, owner, &made)
	key := made.Key.ID
	var sealed struct {
		CipherText string `json:"cipher_text"`
	}
	w.must(theirs+"encrypt-data", `{"key_id":"`+key+`","plain_text":"secret"}`, owner, &sealed)
	var dataKey struct {
		CipherText string `json:"cipher_text"`
	}
	w.must(theirs+"create-datakey", `{"key_id":"`+key+`","datakey_length":"256"}`, owner, &dataKey)
	var granted struct {
		ID string `json:"grant_id"`
	}
	w.must(theirs+"create-grant", `{"key_id":"`+key+`","grantee_principal":"`+fsmtest.ID("nobody")+`","operations":["describe-key","decrypt-data"]}`, owner, &granted)

	// Counterparts that never were: the ciphertexts name a key that there is not.
	none := uuid.New()
	absent := none.String()
	theirID, err := uuid.Parse(key)
	if err != nil {
		t.Fatal(err)
	}
	renamed := func(raw []byte) []byte {
		out := bytes.Replace(raw, theirID[:], none[:], 1)
		if bytes.Equal(out, raw) {
			t.Fatal("the ciphertext does not name its key")
		}
		return out
	}
	data, err := base64.StdEncoding.DecodeString(sealed.CipherText)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := hex.DecodeString(dataKey.CipherText)
	if err != nil {
		t.Fatal(err)
	}
	otherData, otherKey := base64.StdEncoding.EncodeToString(renamed(data)), hex.EncodeToString(renamed(raw))
	noGrant := strings.Repeat("7", 64)

	f := func(verb, about, instead string) {
		t.Helper()
		path := "/v1.0/" + fsmtest.ID("other/project") + "/kms/" + verb
		ask := func(body string) (string, time.Duration) {
			start := time.Now()
			rc, _ := w.ask("POST", path, body, stranger)
			took := time.Since(start)
			if status := rc.Response.StatusCode(); status < 400 || status >= 500 {
				t.Fatalf("%s: %d %s", verb, status, rc.Response.Body())
			}
			text := fmt.Sprintf("%d %s", rc.Response.StatusCode(), requestIDMember.ReplaceAll(rc.Response.Body(), nil))
			for _, id := range []string{key, absent, granted.ID, noGrant} {
				text = strings.ReplaceAll(text, id, "ID")
			}
			return text, took
		}
		least := [2]time.Duration{time.Hour, time.Hour}
		var answers [2]string
		for range 200 {
			for i, body := range []string{about, instead} {
				text, took := ask(body)
				answers[i], least[i] = text, min(least[i], took)
			}
		}
		if answers[0] != answers[1] {
			t.Errorf("%s:\n%s of another's\n%s of what never was", verb, answers[0], answers[1])
		}
		if least[0] > 2*least[1]+20*time.Microsecond || least[1] > 2*least[0]+20*time.Microsecond {
			t.Errorf("%s: %v of another's, %v of what never was", verb, least[0], least[1])
		}
	}
	named := func(verb, more string) { f(verb, `{"key_id":"`+key+`"`+more+`}`, `{"key_id":"`+absent+`"`+more+`}`) }
	named("describe-key", "")
	named("create-datakey", `,"datakey_length":"256"`)
	named("create-datakeys", `,"count":2`)
	named("encrypt-data", `,"plain_text":"x"`)
	named("disable-key", "")
	named("schedule-key-deletion", `,"pending_days":"7"`)
	named("list-grants", "")
	named("get-key-rotation-status", "")
	named("create-grant", `,"grantee_principal":"`+fsmtest.ID("other/admin")+`","operations":["describe-key"]`)
	f("decrypt-data", `{"cipher_text":"`+sealed.CipherText+`"}`, `{"cipher_text":"`+otherData+`"}`)
	f("decrypt-datakey", `{"key_id":"`+key+`","cipher_text":"`+dataKey.CipherText+`","datakey_cipher_length":"32"}`,
		`{"key_id":"`+absent+`","cipher_text":"`+otherKey+`","datakey_cipher_length":"32"}`)
	for _, verb := range []string{"revoke-grant", "retire-grant"} {
		f(verb, `{"key_id":"`+key+`","grant_id":"`+granted.ID+`"}`, `{"key_id":"`+absent+`","grant_id":"`+noGrant+`"}`)
		f(verb, `{"key_id":"`+key+`","grant_id":"`+granted.ID+`"}`, `{"key_id":"`+key+`","grant_id":"`+noGrant+`"}`)
	}
	f("alias/associate", `{"target_key_id":"`+key+`","alias":"alias/mine"}`, `{"target_key_id":"`+absent+`","alias":"alias/mine"}`)
	f("describe-key", `{"key_id":"alias/payroll"}`, `{"key_id":"alias/nothing"}`)
	f("re-encrypt", `{"cipher_text":"`+sealed.CipherText+`","destination_key_id":"`+key+`"}`, `{"cipher_text":"`+otherData+`","destination_key_id":"`+absent+`"}`)

	// The grantee's own project learns of the key by the grant; of a grant for
	// somebody else on it nothing.
	var mine struct {
		Grants []any `json:"grants"`
	}
	w.must("/v1.0/"+fsmtest.ID("other/project")+"/kms/list-retirable-grants", `{"limit":"10"}`, stranger, &mine)
	if len(mine.Grants) != 0 {
		t.Errorf("a stranger may retire %v", mine.Grants)
	}
}
