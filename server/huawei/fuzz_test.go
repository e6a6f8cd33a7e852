package huawei_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/server/wire"
)

// FuzzEndpoints sends any body to any endpoint: what is answered is a success or
// a refusal in all of the forms of one, and never that something broke.
func FuzzEndpoints(f *testing.F) {
	w := newWorld(f)
	key := w.createKey("orders")
	for verb := range endpoints {
		f.Add(uint8(slices.Index(everyEndpoint(), "POST "+verb)), []byte(strings.ReplaceAll(bodyOf(verb), "KEY", key)))
	}
	f.Add(uint8(0), []byte(`{"limit":"10","marker":0,"tags":[{"key":"a","values":["b"]}],"matches":[{"key":"resource_name","value":"x"}],"action":"filter"}`))
	all := everyEndpoint()
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		w.t = t
		asked := strings.NewReplacer("{key_id}", key, "{tag_key}", "stage").Replace(all[int(which)%len(all)])
		if strings.Contains(string(body), "RSA_") && strings.Contains(asked, "create-") {
			return // it takes seconds to make one
		}
		a := w.ask(asked, string(body))
		if a.status/100 == 2 {
			return
		}
		code := strings.TrimPrefix(a.code(t), "KMS.")
		if a.status/100 != 4 || !slices.Contains(strings.Fields(appendix), code) && code != "1403" && code != "0308" {
			t.Fatalf("%s %q: %d %s", asked, body, a.status, a.body)
		}
	})
}

// everyEndpoint names them, each with its method.
func everyEndpoint() []string {
	all := slices.Collect(maps.Keys(others))
	for verb := range endpoints {
		all = append(all, "POST "+verb)
	}
	slices.Sort(all)
	return all
}

// FuzzCiphertext sends anything as a ciphertext: nothing opens that the service
// has not sealed, and what does not open is said in one way.
func FuzzCiphertext(f *testing.F) {
	w := newWorld(f)
	key := w.createKey("orders")
	var dataKey wire.CreateDataKeyReply
	w.must("create-datakey", `{"key_id":"`+key+`"}`, &dataKey)
	var sealed struct {
		CipherText string `json:"cipher_text"`
	}
	w.must("encrypt-data", `{"key_id":"`+key+`","plain_text":"x"}`, &sealed)
	data, err := base64.StdEncoding.DecodeString(sealed.CipherText)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, data, dataKey.CipherText, data[:40], make([]byte, 256), bytes.Repeat([]byte{0xff}, 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		w.t = t
		isData, isDataKey := bytes.Equal(blob, data), bytes.Equal(blob, dataKey.CipherText)
		for verb, asked := range map[string]struct {
			body  string
			opens bool
		}{
			"decrypt-data":    {fmt.Sprintf(`{"cipher_text":%q}`, base64.StdEncoding.EncodeToString(blob)), isData},
			"decrypt-datakey": {fmt.Sprintf(`{"key_id":%q,"cipher_text":%q,"datakey_cipher_length":32}`, key, hex.EncodeToString(blob)), isDataKey},
			"re-encrypt":      {fmt.Sprintf(`{"destination_key_id":%q,"cipher_text":%q}`, key, base64.StdEncoding.EncodeToString(blob)), isData || isDataKey},
		} {
			a := w.ask(verb, asked.body)
			switch opened := a.status == 200; {
			case opened != asked.opens:
				t.Fatalf("%s of %x: %d %s", verb, blob, a.status, a.body)
			case !opened && (a.status/100 != 4 || !slices.Contains([]string{"KMS.2201", "KMS.0204", "KMS.0207", "KMS.0203"}, a.code(t))):
				t.Fatalf("%s of %x: %d %s", verb, blob, a.status, a.body)
			}
		}
	})
}

// FuzzKeySpec sends any text as a key's spec: the specs are the same ones
// wherever there are any.
func FuzzKeySpec(f *testing.F) {
	for _, spec := range []string{"AES_256", "AES_128", "SM4", "RSA_2048", "EC_P256", "ECC_NIST_P256", "EC_P521", "HMAC_256", "ALL", "all", "", "AES_256 ", "aes_256", "\x00"} {
		f.Add(spec)
	}
	w := newWorld(f)
	key := w.createKey("orders")
	f.Fuzz(func(t *testing.T, spec string) {
		w.t = t
		text, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		if json.Unmarshal(text, &spec) != nil { // as it arrives
			return
		}
		known := fsm.Usages(spec) != nil
		f := func(verb, body, code string) {
			t.Helper()
			got := "200"
			if a := w.ask(verb, strings.ReplaceAll(body, "SPEC", string(text))); a.status != 200 {
				got = a.code(t)
			}
			if got != code {
				t.Fatalf("%s of the spec %q: %s, want %s", verb, spec, got, code)
			}
		}
		want := func(is bool, yes, no string) string {
			if is {
				return yes
			}
			return no
		}
		f("create-key", `{"key_alias":"orders","key_spec":SPEC}`, want(known || spec == "", "KMS.1104", "KMS.1110"))
		f("list-keys", `{"key_spec":SPEC}`, want(known || spec == "" || spec == "ALL", "200", "KMS.1110"))
		forDataKeys := slices.Contains([]string{"", "AES_256", "AES_128", "SM4", "HMAC_256", "HMAC_384", "HMAC_512", "HMAC_SM3"}, spec)
		f("create-datakey", `{"key_id":"`+key+`","key_spec":SPEC}`, want(forDataKeys, "200", "KMS.1902"))
		forPairs := slices.Contains([]string{"ECC_NIST_P256", "ECC_NIST_P384", "ECC_NIST_P521", "ECC_SECG_P256K1", "SM2"}, spec)
		if spec != "" {
			f("create-ec-datakey-pair", `{"key_id":"`+key+`","key_spec":SPEC}`, want(forPairs, "200", "KMS.1110"))
		}
	})
}
