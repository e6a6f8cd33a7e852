package huawei_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/huawei/huaweitest"
	"github.com/raftkms/raftkms/server/wire"
)

// body is a request that is to be written in several ways; numbers are ints.
type body map[string]any

// spellings are ways to write the same request.
var spellings = map[string]func(b body, request reflect.Type) string{
	"numbers":   func(b body, _ reflect.Type) string { return b.json() },
	"strings":   func(b body, _ reflect.Type) string { return b.with(asStrings).json() },
	"unknown":   func(b body, request reflect.Type) string { return b.joined(strangers(request)).json() },
	"null":      func(b body, request reflect.Type) string { return b.joined(absent(b, request, nil)).json() },
	"empty":     func(b body, request reflect.Type) string { return b.joined(absent(b, request, "")).json() },
	"line ends": func(b body, _ reflect.Type) string { return "\r\n\t " + b.json() + "\n" },
	"sequence": func(b body, _ reflect.Type) string {
		return b.joined(body{"sequence": "919c82d4-8046-4722-9094-35c3c6524cff"}).json()
	},
	"escaped name": func(b body, _ reflect.Type) string { return strings.Replace(b.json(), `"key_`, `"\u006bey_`, 1) },
}

// Every operation takes its request however clients write it, with any charset
// in the content type, and answers with exact types each time.
func TestLenientInStrictOut(t *testing.T) {
	w := newWorld(t)
	w.must("PUT user-quotas", `{"resources":[{"type":"CMK","quota":"100000"}]}`, nil)
	document := huaweitest.NewDocument(t)
	makers := w.makers()
	for _, verb := range slices.Sorted(maps.Keys(endpoints)) {
		fresh, known := makers["POST "+verb]
		if !known {
			t.Errorf("nobody knows a request of %s", verb)
			continue
		}
		for name, spell := range spellings {
			w.taken(document, name, "POST", verb, endpoints[verb], fresh, spell)
		}
	}
	for _, asked := range slices.Sorted(maps.Keys(others)) {
		method, verb, _ := strings.Cut(asked, " ")
		fresh, known := makers[asked]
		if !known {
			t.Errorf("nobody knows a request of %s", asked)
			continue
		}
		for name, spell := range spellings {
			if method == "GET" && name != "numbers" {
				continue // no body but what SDKs send by habit
			}
			w.taken(document, name, method, verb, others[asked], fresh, spell)
		}
	}
}

// taken asks once and wants a success whose reply is as it is described.
func (w *world) taken(document *huaweitest.Document, name, method, verb string, e huawei.Endpoint, fresh func() (key string, b body), spell func(body, reflect.Type) string) {
	w.t.Helper()
	request, _ := e.Types()
	key, b := fresh()
	path := strings.NewReplacer("{key_id}", key, "{tag_key}", "stage").Replace(verb)
	text := spell(b, request)
	a := w.ask(method+" "+path, text, func(r *http.Request) { r.Header.Set("Content-Type", "application/json;charset=UTF-8") })
	if a.status/100 != 2 {
		w.t.Errorf("%s %s, %s: %.300s: %d %s", method, verb, name, text, a.status, a.body)
		return
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, endpoint+"/v1.0/p/kms/"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	document.CheckReply(huaweitest.Exchange{Request: r, Status: a.status, Header: a.header, Reply: []byte(a.body)})
}

func (b body) json() string {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // strings, numbers, lists and objects of them
	}
	return string(text)
}

func (b body) joined(more body) body {
	all := body{}
	maps.Copy(all, b)
	maps.Copy(all, more)
	return all
}

func (b body) with(f func(v any) any) body {
	all := body{}
	for name, v := range b {
		all[name] = f(v)
	}
	return all
}

func asStrings(v any) any {
	if n, ok := v.(int); ok {
		return fmt.Sprint(n)
	}
	return v
}

// strangers are members that some clients send and this request does not have.
func strangers(request reflect.Type) body {
	all := body{
		"realm": "x", "enterprise_project_id": "0", "keystore_id": "0", "pin": "1234", "pin_type": "CipherText", "vm_id": []any{nil, map[string]any{"a": 1.5}},
		"rotation_interval": 0, "Key_Id": "names are told apart by case",
	}
	members := map[string]reflect.Type{}
	gather(request, members)
	for name := range members {
		delete(all, name)
	}
	return all
}

// absent has the members that a request could have and does not, with a value
// that says so.
func absent(b body, request reflect.Type, v any) body {
	all, members := body{}, map[string]reflect.Type{}
	gather(request, members)
	for name, member := range members {
		if _, given := b[name]; !given && !(v == "" && member == reflect.TypeFor[*string]()) { // where empty is something
			all[name] = v
		}
	}
	return all
}

// makers make a request of each operation that succeeds, each time anew.
func (w *world) makers() map[string]func() (key string, b body) {
	n := 0
	name := func() string { n++; return fmt.Sprint("lenient-", n) }
	aes, rsa, signer, mac, agreement := w.createKey("aes"), w.createOf("RSA_2048", "ENCRYPT_DECRYPT"), w.createOf("EC_P256", ""), w.createOf("HMAC_256", ""), w.createOf("EC_P256", "KEY_AGREEMENT")
	digest := b64(make([]byte, 32))
	fixed := func(b body) func() (string, body) { return func() (string, body) { return aes, b } }
	onKey := func(before ...string) func() (string, body) { // on a new key, after other operations on it
		return func() (string, body) {
			id := w.createKey(name())
			for _, verb := range before {
				w.must(verb, fmt.Sprintf(`{"key_id":%q,"pending_days":7}`, id), nil)
			}
			return id, body{"key_id": id}
		}
	}
	with := func(f func() (string, body), more body) func() (string, body) {
		return func() (string, body) {
			id, b := f()
			return id, b.joined(more)
		}
	}
	var dataKey wire.CreateDataKeyReply
	w.must("create-datakey", `{"key_id":"`+aes+`","encryption_context":{"a":"1"}}`, &dataKey)
	var sealed wire.EncryptDataReply
	w.must("encrypt-data", `{"key_id":"`+aes+`","plain_text":"x","encryption_context":"a=1"}`, &sealed)
	var signature wire.SignReply
	w.must("sign", `{"key_id":"`+signer+`","message":"`+digest+`","signing_algorithm":"ECDSA_SHA_256"}`, &signature)
	tagged := func() (string, body) {
		id := w.createKey(name())
		if a := w.ask(id+"/tags", `{"tag":{"key":"stage","value":"test"}}`); a.status != 204 {
			w.t.Fatal(a.body)
		}
		return id, body{}
	}
	aliased := func(member string) func() (string, body) {
		return func() (string, body) {
			id, alias := w.createKey(name()), name()
			w.must("aliases", fmt.Sprintf(`{"key_id":%q,"alias":%q}`, id, alias), nil)
			if member == "aliases" {
				return id, body{"key_id": id, "aliases": []string{alias}}
			}
			return id, body{"target_key_id": aes, "alias": alias}
		}
	}
	imported := func() (string, body) {
		id := w.external("AES_256")
		token, public := w.parameters(id, "RSAES_OAEP_SHA_256")
		return id, body{"key_id": id, "import_token": token, "encrypted_key_material": wrap(w.t.(*testing.T), "RSAES_OAEP_SHA_256", public, make([]byte, 32)), "expiration_time": 4102444800}
	}
	granted := func() (string, body) {
		id := w.createKey(name())
		var made wire.CreateGrantReply
		w.must("create-grant", fmt.Sprintf(`{"key_id":%q,"grantee_principal":%q,"operations":["encrypt-data"]}`, id, fsmtest.UserID), &made)
		return id, body{"key_id": id, "grant_id": made.GrantID}
	}
	on := func(id string, b body) func() (string, body) { return fixed(b.joined(body{"key_id": id})) }
	return map[string]func() (string, body){
		"POST create-key":                      func() (string, body) { return "", body{"key_alias": name()} },
		"POST describe-key":                    on(aes, nil),
		"POST list-keys":                       fixed(body{"limit": 10, "marker": 0, "key_state": 2, "key_spec": "ALL"}),
		"POST enable-key":                      onKey("disable-key"),
		"POST disable-key":                     onKey(),
		"POST update-key-alias":                func() (string, body) { return "", body{"key_id": aes, "key_alias": name()} },
		"POST update-key-description":          on(aes, body{"key_description": "x"}),
		"POST schedule-key-deletion":           with(onKey(), body{"pending_days": 7}),
		"POST cancel-key-deletion":             onKey("schedule-key-deletion"),
		"POST enable-key-deletion-protection":  onKey(),
		"POST disable-key-deletion-protection": onKey("enable-key-deletion-protection"),
		"POST aliases":                         func() (string, body) { return "", body{"key_id": w.createKey(name()), "alias": name()} },
		"DELETE aliases":                       aliased("aliases"),
		"GET aliases":                          fixed(body{}),
		"POST alias/associate":                 aliased("alias"),
		"POST enable-key-rotation":             onKey(),
		"POST update-key-rotation-interval":    with(onKey("enable-key-rotation"), body{"rotation_interval": 90}),
		"POST disable-key-rotation":            onKey("enable-key-rotation"),
		"POST get-key-rotation-status":         on(aes, nil),
		"POST rotate-on-demand":                onKey(),
		"POST list-key-versions":               on(aes, body{"limit": 1, "marker": 2}),
		"POST create-grant":                    with(onKey(), body{"grantee_principal": fsmtest.UserID, "operations": []string{"encrypt-data"}}),
		"POST revoke-grant":                    granted,
		"POST retire-grant":                    granted,
		"POST list-grants":                     on(aes, body{"limit": 10, "marker": 0}),
		"POST list-retirable-grants":           fixed(body{"limit": 10, "marker": 0}),
		"GET tags":                             fixed(body{}),
		"GET {key_id}/tags":                    fixed(body{}),
		"POST {key_id}/tags":                   fixed(body{"tag": map[string]any{"key": "stage", "value": "test", "more": 1}}),
		"POST {key_id}/tags/action":            fixed(body{"action": "create", "tags": []any{map[string]any{"key": "stage", "more": nil}}}),
		"DELETE {key_id}/tags/{tag_key}":       tagged,
		"POST resource_instances/action":       fixed(body{"action": "filter", "limit": 10, "offset": 0}),
		"GET user-instances":                   fixed(body{}),
		"GET user-quotas":                      fixed(body{}),
		"PUT user-quotas":                      fixed(body{"resources": []any{map[string]any{"type": "CMK", "quota": 100000}}}),
		"POST create-datakey":                  on(aes, body{"datakey_length": 512, "encryption_context": "a=1"}),
		"POST create-datakey-without-plaintext": on(aes, body{
			"datakey_length": 512, "encryption_context": map[string]string{"a": "1", "b": "2"},
		}),
		"POST create-datakeys":                   on(aes, body{"count": 3, "datakey_length": 512, "encryption_context": "a=1"}),
		"POST create-datakeys-without-plaintext": on(aes, body{"count": 2, "key_spec": "AES_128", "encryption_context": map[string]string{"a": "1", "b": "2"}}),
		"POST encrypt-datakey":                   on(aes, body{"plain_text": zeroKey, "datakey_plain_length": 64}),
		"POST decrypt-datakey": on(aes, body{
			"cipher_text": fmt.Sprintf("%x", []byte(dataKey.CipherText)), "datakey_cipher_length": 32, "encryption_context": map[string]string{"a": "1"},
		}),
		"POST encrypt-data":            on(aes, body{"plain_text": "x", "additional_authenticated_data": "a=1"}),
		"POST decrypt-data":            fixed(body{"cipher_text": b64(sealed.CipherText), "additional_authenticated_data": "a=1"}),
		"POST gen-random":              fixed(body{"random_data_length": 512}),
		"POST re-encrypt":              fixed(body{"destination_key_id": rsa, "destination_encryption_algorithm": "RSAES_OAEP_SHA_256", "cipher_text": b64(sealed.CipherText), "source_additional_authenticated_data": "a=1"}),
		"POST create-rsa-datakey-pair": on(aes, body{"key_spec": "RSA_2048", "with_plain_text": false}),
		"POST create-ec-datakey-pair":  on(aes, body{"key_spec": "ECC_NIST_P256", "with_plain_text": "true"}),
		"POST get-parameters-for-import": func() (string, body) {
			id := w.external("AES_256")
			return id, body{"key_id": id, "wrapping_algorithm": "RSAES_OAEP_SHA_256"}
		},
		"POST import-key-material": imported,
		"POST delete-imported-key-material": func() (string, body) {
			id, b := imported()
			w.must("import-key-material", b.json(), nil)
			return id, body{"key_id": id}
		},
		"POST get-publickey":        on(signer, nil),
		"POST sign":                 on(signer, body{"message": digest, "signing_algorithm": "ECDSA_SHA_256"}),
		"POST verify":               on(signer, body{"message": digest, "signing_algorithm": "ECDSA_SHA_256", "signature": b64(signature.Signature)}),
		"POST generate-mac":         on(mac, body{"message": digest, "mac_algorithm": "HMAC_SHA_256"}),
		"POST verify-mac":           on(mac, body{"message": digest, "mac_algorithm": "HMAC_SHA_256", "mac": strings.Repeat("aB", 32)}),
		"POST derive-shared-secret": on(agreement, body{"key_agreement_algorithm": "ECDH", "public_key": b64(w.publicKey(signer))}),
	}
}
