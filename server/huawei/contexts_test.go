package huawei_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Wherever a ciphertext is bound to something, that is a string or an object, as
// the client has it: what was sealed opens with the same, an object in any
// order, and with nothing else.
func TestContextsInEveryForm(t *testing.T) {
	w := newWorld(t)
	w.must("PUT user-quotas", `{"resources":[{"type":"CMK","quota":"100000"}]}`, nil)
	makers := w.makers()
	contexts := []string{
		`"additional_authenticated_data":"a=1"`, `"encryption_context":{"a":"1","b":"2"}`, `"encryption_context":{"a":"1"}`, `"encryption_context":"{\"a\":\"1\"}"`, `"sequence":""`,
	}
	same := map[string][]string{ // besides itself
		contexts[0]: {`"encryption_context":"a=1"`},
		contexts[1]: {`"encryption_context":{"b":"\u0032","a":"1"}`},
		contexts[4]: {`"encryption_context":null`, `"encryption_context":""`, `"encryption_context":{}`, `"additional_authenticated_data":""`},
	}
	opening := map[string]string{"encrypt-data": "decrypt-data", "create-rsa-datakey-pair": "decrypt-data", "create-ec-datakey-pair": "decrypt-data"}
	sealing := []string{
		"create-datakey", "create-datakey-without-plaintext", "create-datakeys", "create-datakeys-without-plaintext", "encrypt-datakey",
		"encrypt-data", "create-rsa-datakey-pair", "create-ec-datakey-pair",
	}
	for verb, e := range endpoints {
		request, _ := e.Types()
		if _, binds := request.FieldByName("Associated"); binds && !slices.Contains(sealing, verb) && !strings.HasPrefix(verb, "decrypt-") {
			t.Errorf("%s binds to a context and is not tried", verb)
		}
	}
	for _, verb := range sealing {
		for _, context := range contexts {
			_, b := makers["POST "+verb]()
			for _, member := range []string{"encryption_context", "additional_authenticated_data"} {
				delete(b, member)
			}
			sealed := w.must(verb, strings.TrimSuffix(b.json(), "}")+","+context+"}", nil)
			var reply struct {
				KeyID    string `json:"key_id"`
				Text     string `json:"cipher_text"`
				Private  string `json:"private_key_cipher_text"`
				Datakeys []struct {
					Text string `json:"cipher_text"`
				} `json:"datakeys"`
			}
			if err := json.Unmarshal([]byte(sealed), &reply); err != nil {
				t.Fatal(err)
			}
			text := reply.Text + reply.Private
			if len(reply.Datakeys) > 0 {
				text = reply.Datakeys[0].Text
			}
			opens, more := opening[verb], ""
			if opens == "" {
				opens, more = "decrypt-datakey", fmt.Sprintf(`"datakey_cipher_length":%d,`, dataKeyLength(b))
			}
			ask := func(with string) answered {
				return w.ask(opens, fmt.Sprintf(`{"key_id":%q,"cipher_text":%q,%s%s}`, reply.KeyID, text, more, with))
			}
			for _, with := range append(same[context], context) {
				if a := ask(with); a.status != 200 {
					t.Errorf("%s with %s, %s with %s: %d %s", verb, context, opens, with, a.status, a.body)
				}
			}
			for _, other := range contexts {
				if other == context {
					continue
				}
				if a := ask(other); a.status != 400 || a.code(t) != "KMS.2201" {
					t.Errorf("%s with %s, %s with %s: %d %.100s", verb, context, opens, other, a.status, a.body)
				}
			}
		}
	}
}

// dataKeyLength is how many bytes a data key has that is asked for so.
func dataKeyLength(b body) int {
	switch {
	case b["datakey_plain_length"] != nil:
		return b["datakey_plain_length"].(int)
	case b["datakey_length"] != nil:
		return b["datakey_length"].(int) / 8
	case b["key_spec"] == "AES_128":
		return 16
	}
	return 32
}
