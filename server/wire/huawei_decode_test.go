package wire_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/server/wire"
)

func TestDecode(t *testing.T) {
	f := func(body string, want wire.Request) {
		t.Helper()
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(wire.Request)
		if err := wire.Decode([]byte(body), got); err != nil {
			t.Errorf("%s: %v", body, err)
		} else if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got+want):\n%s", body, diff)
		}
	}
	serial := wire.Sequenced{Sequence: "919c82d4-8046-4722-9094-35c3c6524cff"}
	f(``, &wire.ListKeysRequest{})
	f(" \n", &wire.ListKeysRequest{})
	f(`{}`, &wire.ListKeysRequest{})
	f(" { \"key_id\" :\t\"k\" , \"sequence\":\"919c82d4-8046-4722-9094-35c3c6524cff\"}\r\n", &wire.KeyRequest{Sequenced: serial, KeyID: "k"})
	f(`{"key_\u0069d":"a\/b\u00e9\ud83d\ude00\"\\\b\f\n\r\t"}`, &wire.KeyRequest{KeyID: "a/bé😀\"\\\b\f\n\r\t"})
	f(`{"key_id":null,"pin":[1,{"a":[]},-0.5e+7,true,false,null,"x"],"realm":{"key_id":"inner","key_id":"inner"}}`, &wire.KeyRequest{})
	f(`{"KEY_ID":"k"}`, &wire.KeyRequest{}) // names are told apart by case
	f(`{"limit":10,"marker":"20","key_state":2}`, &wire.ListKeysRequest{Limit: wire.Int(10), Marker: wire.Int(20), KeyState: "2"})
	f(`{"limit":"","marker":null,"key_state":"3","key_spec":"ALL"}`, &wire.ListKeysRequest{KeyState: "3", KeySpec: "ALL"})
	f(`{"limit":-1}`, &wire.ListKeysRequest{Limit: wire.Int(-1)})
	f(`{"key_alias":"a","key_description":"","key_spec":"AES_256","key_usage":"ENCRYPT_DECRYPT","origin":"kms","keystore_id":"0"}`,
		&wire.CreateKeyRequest{KeyAlias: "a", KeySpec: "AES_256", KeyUsage: "ENCRYPT_DECRYPT", Origin: "kms"})
	f(`{"key_id":"k","datakey_length":"512","key_spec":"AES_128","encryption_context":"text"}`,
		&wire.CreateDataKeyRequest{KeyID: "k", DatakeyLength: wire.Int(512), KeySpec: "AES_128", Associated: wire.Associated{EncryptionContext: wire.Context{String: "text"}}})
	f(`{"encryption_context":{"b":"2","a":"\u0031"},"additional_authenticated_data":"aad"}`,
		&wire.CreateDataKeyRequest{Associated: wire.Associated{EncryptionContext: wire.Context{Map: map[string]string{"a": "1", "b": "2"}}, AdditionalAuthenticatedData: "aad"}})
	f(`{"key_id":"k","plain_text":"00fFA1","datakey_plain_length":3}`, &wire.EncryptDataKeyRequest{KeyID: "k", PlainText: wire.Hex{0, 255, 161}, DatakeyPlainLength: wire.Int(3)})
	f(`{"cipher_text":"","datakey_cipher_length":"64"}`, &wire.DecryptDataKeyRequest{CipherText: wire.Hex{}, DatakeyCipherLength: wire.Int(64)})
	f(`{"plain_text":"é\u0000","encryption_algorithm":"SYMMETRIC_DEFAULT"}`, &wire.EncryptDataRequest{PlainText: wire.Text("é\x00"), EncryptionAlgorithm: "SYMMETRIC_DEFAULT"})
	empty := ""
	f(`{"key_id":"k","key_description":""}`, &wire.UpdateKeyDescriptionRequest{KeyID: "k", KeyDescription: &empty})
	f(`{"key_id":"k","key_description":null}`, &wire.UpdateKeyDescriptionRequest{KeyID: "k"})
	f(`{"key_id":"k","pending_days":"7"}`, &wire.ScheduleDeletionRequest{KeyID: "k", PendingDays: wire.Int(7)})
	f(`{"key_id":"k","aliases":[ "a" , "\u0062" ]}`, &wire.DeleteAliasesRequest{KeyID: "k", Aliases: []string{"a", "b"}})
	f(`{"aliases":[]}`, &wire.DeleteAliasesRequest{Aliases: []string{}})
	f(`{"aliases":null}`, &wire.DeleteAliasesRequest{})
	f(`{"key_id":"k","grantee_principal":"u","grantee_principal_type":"domain","operations":["a","a"],"name":"n","retiring_principal":"r"}`,
		&wire.CreateGrantRequest{KeyID: "k", GranteePrincipal: "u", GranteePrincipalType: "domain", Operations: []string{"a", "a"}, Name: "n", RetiringPrincipal: "r"})
	f(`{"key_id":"k","grant_id":"g"}`, &wire.EndGrantRequest{KeyID: "k", GrantID: "g"})
	f(`{"key_id":"k","limit":"2","marker":7}`, &wire.ListGrantsRequest{KeyID: "k", Limit: wire.Int(2), Marker: wire.Int(7)})
	f(`{"key_alias":"a","protection_level":"HSM","deletion_protection":"true"}`, &wire.CreateKeyRequest{KeyAlias: "a", ProtectionLevel: "HSM", DeletionProtection: true})
	for _, absent := range []string{`null`, `""`} {
		f(`{"key_id":"k","with_plain_text":`+absent+`}`, &wire.DataKeyPairRequest{KeyID: "k"})
		f(`{"aliases":`+absent+`}`, &wire.DeleteAliasesRequest{})
		f(`{"tag":`+absent+`}`, &wire.TagRequest{})
		f(`{"tags":`+absent+`,"matches":`+absent+`}`, &wire.FindTaggedRequest{})
	}
	f(`{"cipher_text":"\/+8="}`, &wire.DecryptDataRequest{CipherText: wire.Base64{0xff, 0xef}})
	f(`{"random_data_length":"512"}`, &wire.RandomRequest{RandomDataLength: wire.Int(512)})
}

func TestDecodeRefusesJSON(t *testing.T) {
	f := func(body string) {
		t.Helper()
		for name, request := range requests {
			if err := wire.Decode([]byte(body), request()); !errors.Is(err, wire.ErrSyntax) {
				t.Errorf("%.80q as %s: %v, want a syntax error", body, name, err)
			}
		}
	}
	for _, body := range []string{
		`{`, `}`, `[]`, `"x"`, `1`, `null`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{a:1}`, `{'a':1}`, `{"a":1}x`, `{"a":1}{}`,
		`{"a":01}`, `{"a":1.}`, `{"a":.1}`, `{"a":+1}`, `{"a":-}`, `{"a":1e}`, `{"a":0x1}`, `{"a":NaN}`, `{"a":tru}`, `{"a":nul}`,
		`{"a":"` + "\n" + `"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\u12g4"}`, `{"a":"`, `{"a":"\`, `{"a":"\"}`, `{"a":[1,]}`, `{"a":[1 2]}`, `{"a":[}`, `{"a":{]}`,
		"{\"a\":\"\xff\"}", "\xef\xbb\xbf{}", `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `{"\ud800":1}`,
		`{"a":` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `}`,
		`{"a":` + strings.Repeat(`{"a":`, 20) + `1` + strings.Repeat("}", 20) + `}`,
		strings.Repeat("[", 100000),
	} {
		f(body)
	}
	var many strings.Builder
	for i := range 65 {
		fmt.Fprintf(&many, `,"m%d":0`, i)
	}
	f("{" + many.String()[1:] + "}")
}

func TestDecodeArguments(t *testing.T) {
	decode := func(query ...string) (*wire.ListTracesRequest, error) {
		into := &wire.ListTracesRequest{}
		err := wire.DecodeArguments(func(yield func(name, value []byte) bool) {
			for i := 0; i < len(query) && yield([]byte(query[i]), []byte(query[i+1])); i += 2 {
			}
		}, into)
		return into, err
	}
	got, err := decode("user", "älice", "limit", "7", "of whoever", "1", "USER", "bob")
	if want := (&wire.ListTracesRequest{User: "älice", Limit: wire.Int(7)}); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v: %s", err, cmp.Diff(got, want))
	}
	many := make([]string, 0, 130)
	for i := range 65 {
		many = append(many, fmt.Sprint("x", i), "")
	}
	if _, err := decode(many[:128]...); err != nil {
		t.Error(err)
	}
	for _, query := range [][]string{{"user", "alice", "limit", "1", "user", "bob"}, {"x", "", "x", ""}, {"user", "\xff"}, {"us\xffer", "alice"}, {"x", "\xc0\x80"}, many} {
		if _, err := decode(query...); !errors.Is(err, wire.ErrQuery) {
			t.Errorf("%.60q: %v", query, err)
		}
	}
}

func TestDecodeRefusesTypes(t *testing.T) {
	f := func(request, body, member string) {
		t.Helper()
		err := wire.Decode([]byte(body), requests[request]())
		if refused, ok := errors.AsType[*wire.MemberError](err); !ok || refused.Member != member {
			t.Errorf("%s %s: %v, want a refusal of %s", request, body, err, member)
		}
	}
	for _, value := range []string{`1`, `true`, `[]`, `{}`} {
		f("describe-key", `{"key_id":`+value+`}`, "key_id")
		f("describe-key", `{"sequence":`+value+`}`, "sequence")
		f("create-key", `{"key_alias":`+value+`}`, "key_alias")
		f("encrypt-data", `{"plain_text":`+value+`}`, "plain_text")
		f("encrypt-datakey", `{"plain_text":`+value+`}`, "plain_text")
		f("decrypt-data", `{"cipher_text":`+value+`}`, "cipher_text")
		f("create-datakey", `{"additional_authenticated_data":`+value+`}`, "additional_authenticated_data")
	}
	for _, value := range []string{`1.5`, `1e2`, `true`, `[]`, `{}`, `"x"`, `"1.0"`, `" 1"`, `"+1"`, `99999999999999999999`} {
		f("list-keys", `{"limit":`+value+`}`, "limit")
		f("list-keys", `{"marker":`+value+`}`, "marker")
		f("create-datakey", `{"datakey_length":`+value+`}`, "datakey_length")
		f("encrypt-datakey", `{"datakey_plain_length":`+value+`}`, "datakey_plain_length")
		f("decrypt-datakey", `{"datakey_cipher_length":`+value+`}`, "datakey_cipher_length")
		f("gen-random", `{"random_data_length":`+value+`}`, "random_data_length")
	}
	f("list-keys", `{"key_state":true}`, "key_state")
	f("encrypt-data", `{"plain_text":"\ud800"}`, "plain_text")
	f("encrypt-data", `{"plain_text":"\ud800\u0041"}`, "plain_text")
	f("encrypt-data", `{"plain_text":"\udc00\ud800"}`, "plain_text")
	for _, value := range []string{`"0"`, `"0g"`, `"ZZ"`, `"\u0030\u0030"`} {
		f("encrypt-datakey", `{"plain_text":`+value+`}`, "plain_text")
		f("decrypt-datakey", `{"cipher_text":`+value+`}`, "cipher_text")
	}
	for _, value := range []string{`"A"`, `"AA"`, `"AB=="`, `"A-_="`, `"QUJD\n"`, `"QUJD\r\n"`, `"====", `} {
		f("decrypt-data", `{"cipher_text":`+strings.TrimSuffix(value, ", ")+`}`, "cipher_text")
	}
	for _, value := range []string{`1`, `["a"]`, `{"a":1}`, `{"a":null}`, `{"a":{"b":"c"}}`, `{"a":"1","a":"2"}`, `{"a":"\ud800"}`} {
		f("create-datakey", `{"encryption_context":`+value+`}`, "encryption_context")
	}
}

// What is left out stays out.
func TestRequestsLeaveOut(t *testing.T) {
	for request, want := range map[wire.Request]string{
		&wire.ListKeysRequest{}:                         `{}`,
		&wire.CreateDataKeyRequest{KeyID: "k"}:          `{"key_id":"k"}`,
		&wire.ListKeysRequest{Limit: wire.Int(0)}:       `{"limit":"0"}`,
		&wire.RandomRequest{}:                           `{"random_data_length":""}`,
		&wire.DecryptDataRequest{CipherText: []byte{0}}: `{"cipher_text":"AA=="}`,
	} {
		got, err := json.Marshal(request)
		if err != nil || string(got) != want {
			t.Errorf("%T: %s, %v; want %s", request, got, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"key_id":"k","sequence":"919c82d4-8046-4722-9094-35c3c6524cff"}`, `{"limit":"10","marker":20,"key_state":2}`,
		`{"key_id":"k","plain_text":"00ff","datakey_plain_length":3,"encryption_context":{"a":"b"}}`,
		`{"cipher_text":"QUJD","plain_text":"\ud83d\ude00","x":[1,{"a":[]},-0.5e+7,true,false,null]}`,
		`{"key_id":"k","import_token":"QUJD","encrypted_key_material":"\/+8=","encrypted_privatekey":null,"expiration_time":4102444800,"wrapping_algorithm":"a"}`,
		`{"message":"AAAA","signature":"AAAA","signing_algorithm":"a","message_type":"RAW","mac_algorithm":"m","mac":"0aFF","key_version":"2","public_key":"AA==","key_agreement_algorithm":"ECDH"}`,
		`{"source_key_id":"k","destination_key_id":"d","source_key_version":1,"destination_key_version":"2","datakey_cipher_length":"32","with_plain_text":"false","count":3}`,
		`{"action":"filter","limit":10,"offset":"0","tags":[{"key":"a","values":["b",""]},{"key":"c","value":"d"}],"matches":[{"key":"resource_name","value":"x"}]}`,
		`{"tag":{"key":"a","value":"b"},"resources":[{"type":"CMK","used":1,"quota":"100"}],"target_project_id":"p","aliases":["a","\u0062"],"operations":[]}`,
		`{"key_description":"","key_alias":"a","alias":"b","target_key_id":"t","deletion_protection":true,"pending_days":7,"rotation_interval":"30"}`,
		`{"trace_type":"system","from":"1","to":2,"next":"m","wait":30,"user":"u","code":"200","scope":"all"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for name, request := range requests {
			got := request()
			err := wire.Decode(body, got)
			_, refused := errors.AsType[*wire.MemberError](err)
			if err != nil && !refused && !errors.Is(err, wire.ErrSyntax) {
				t.Fatalf("%s: an error of no kind: %v", name, err)
			}
			if err != nil {
				continue
			}
			// What is accepted is JSON to everybody, and comes out again as it came in.
			if len(strings.TrimSpace(string(body))) > 0 && !json.Valid(body) {
				t.Fatalf("%s: %q is no JSON", name, body)
			}
			encoded, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			again := request()
			if err := wire.Decode(encoded, again); err != nil {
				t.Fatalf("%s: %s from %q: %v", name, encoded, body, err)
			}
			once, err := json.Marshal(again)
			if err != nil || string(once) != string(encoded) {
				t.Fatalf("%s: %s became %s (%v)", name, encoded, once, err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	body := []byte(`{"key_id":"0d0466b0-e727-4d9c-b35d-f84bb474a37f","datakey_length":"256","sequence":"919c82d4-8046-4722-9094-35c3c6524cff"}` + "\n")
	b.ReportAllocs()
	for b.Loop() {
		var r wire.CreateDataKeyRequest
		if err := wire.Decode(body, &r); err != nil {
			b.Fatal(err)
		}
	}
}
