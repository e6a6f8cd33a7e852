package wire_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/server/wire"
)

var detail = wire.KeyDetail{
	KeyID: "0d0466b0-e727-4d9c-b35d-f84bb474a37f", DomainID: "d0", KeyAlias: "orders", Realm: "region-1", KeySpec: "AES_256",
	KeyUsage: "ENCRYPT_DECRYPT", KeyDescription: "a \"key\"", CreationDate: "1700000000000", KeyState: "2", DefaultKeyFlag: "0",
	KeyType: "1", Origin: "kms", KeyRotationEnabled: "false", SysEnterpriseProjectID: "0", KeystoreID: "0",
	ProtectionLevel: "SOFTWARE", DeletionProtection: "false",
}

const detailJSON = `{"key_id":"0d0466b0-e727-4d9c-b35d-f84bb474a37f","domain_id":"d0","key_alias":"orders","realm":"region-1","key_spec":"AES_256",` +
	`"key_usage":"ENCRYPT_DECRYPT","key_description":"a \"key\"","creation_date":"1700000000000","scheduled_deletion_date":"","key_state":"2",` +
	`"default_key_flag":"0","key_type":"1","expiration_time":"","origin":"kms","key_rotation_enabled":"false","sys_enterprise_project_id":"0","keystore_id":"0",` +
	`"protection_level":"SOFTWARE","deletion_protection":"false"}`

// The bytes of every reply, which encoding/json reads back as they were meant.
func TestReplies(t *testing.T) {
	f := func(reply wire.Reply, want string) {
		t.Helper()
		got := reply.AppendJSON([]byte("kept"))
		if string(got) != "kept"+want {
			t.Errorf("%T:\ngot  %s\nwant %s", reply, got[4:], want)
		}
		back := reflect.New(reflect.TypeOf(reply))
		if err := json.Unmarshal(got[4:], back.Interface()); err != nil {
			t.Errorf("%T: %v", reply, err)
		} else if diff := cmp.Diff(back.Elem().Interface(), reply); diff != "" {
			t.Errorf("%T (-got+want):\n%s", reply, diff)
		}
	}
	var created wire.CreateKeyReply
	created.KeyInfo.KeyID, created.KeyInfo.DomainID = "k", "d"
	f(created, `{"key_info":{"key_id":"k","domain_id":"d"}}`)
	var changed wire.KeyStateReply
	changed.KeyInfo.KeyID, changed.KeyInfo.KeyState = "k", "3"
	f(changed, `{"key_info":{"key_id":"k","key_state":"3"}}`)
	f(wire.DescribeKeyReply{KeyInfo: detail}, `{"key_info":`+detailJSON+`}`)
	f(wire.ListKeysReply{Keys: []string{}, KeyDetails: []wire.KeyDetail{}, Truncated: "false"},
		`{"keys":[],"key_details":[],"next_marker":"","truncated":"false","total":0}`)
	f(wire.ListKeysReply{Keys: []string{"a", "b"}, KeyDetails: []wire.KeyDetail{detail, detail}, NextMarker: "2", Truncated: "true", Total: 3},
		`{"keys":["a","b"],"key_details":[`+detailJSON+`,`+detailJSON+`],"next_marker":"2","truncated":"true","total":3}`)
	f(wire.CreateDataKeyReply{KeyID: "k", PlainText: wire.Hex{0, 0xab}, CipherText: wire.Hex{0xcd}}, `{"key_id":"k","plain_text":"00AB","cipher_text":"CD"}`)
	f(wire.CreateDataKeyReply{KeyID: "k", CipherText: wire.Hex{0xcd}}, `{"key_id":"k","cipher_text":"CD"}`)
	f(wire.EncryptDataKeyReply{KeyID: "k", CipherText: wire.Hex{0xcd}, DatakeyLength: "64"}, `{"key_id":"k","cipher_text":"CD","datakey_length":"64"}`)
	f(wire.DecryptDataKeyReply{DataKey: wire.Hex{1}, DatakeyLength: "1", DatakeyDgst: wire.Hex{2}}, `{"data_key":"01","datakey_length":"1","datakey_dgst":"02"}`)
	f(wire.EncryptDataReply{KeyID: "k", CipherText: wire.Base64{0xff, 0xef}}, `{"key_id":"k","cipher_text":"/+8="}`)
	f(wire.DecryptDataReply{KeyID: "k", PlainText: wire.Text("<é\n"), PlainTextBase64: wire.Base64("<é\n")}, `{"key_id":"k","plain_text":"<é\n","plain_text_base64":"PMOpCg=="}`)
	f(wire.MACReply{KeyID: "k", MACAlgorithm: "HMAC_SHA_256", MAC: wire.LowerHex{0xab}}, `{"key_id":"k","mac_algorithm":"HMAC_SHA_256","mac":"ab"}`)
	f(wire.RandomReply{RandomData: wire.Hex{0xfe}}, `{"random_data":"FE"}`)
	f(wire.NewError("KMS.0207", "gone", "r1"),
		`{"error":{"error_code":"KMS.0207","error_msg":"gone"},"error_code":"KMS.0207","error_msg":"gone","request_id":"r1"}`)
	f(wire.EmptyReply{}, `{}`)
	var renamed wire.KeyAliasReply
	renamed.KeyInfo.KeyID, renamed.KeyInfo.KeyAlias = "k", "a"
	f(renamed, `{"key_info":{"key_id":"k","key_alias":"a"}}`)
	var redescribed wire.KeyDescriptionReply
	redescribed.KeyInfo.KeyID, redescribed.KeyInfo.KeyDescription = "k", "d"
	f(redescribed, `{"key_info":{"key_id":"k","key_description":"d"}}`)
	f(wire.DeletionReply{KeyID: "k", KeyState: "4"}, `{"key_id":"k","key_state":"4"}`)
	f(wire.RotationStatusReply{KeyRotationEnabled: true, RotationInterval: 365, LastRotationTime: "1", NumberOfRotations: 2},
		`{"key_rotation_enabled":true,"rotation_interval":365,"last_rotation_time":"1","number_of_rotations":2}`)
	alias := wire.AliasInfo{DomainID: "d", KeyID: "k", Alias: "alias/a", AliasURN: "kms:r:d:alias:a", CreateTime: "c", UpdateTime: "u"}
	const aliasJSON = `{"domain_id":"d","key_id":"k","alias":"alias/a","alias_urn":"kms:r:d:alias:a","create_time":"c","update_time":"u"}`
	f(alias, aliasJSON)
	f(wire.ListAliasesReply{Aliases: []wire.AliasInfo{alias, alias}, PageInfo: wire.PageInfo{NextMarker: "a", CurrentCount: 2}},
		`{"aliases":[`+aliasJSON+`,`+aliasJSON+`],"page_info":{"next_marker":"a","current_count":2}}`)
	f(wire.ListVersionsReply{KeyID: "k", Versions: []wire.KeyVersion{{2, "20", true, "21"}, {1, "10", false, ""}}, Truncated: "false", Total: 2},
		`{"key_id":"k","versions":[{"version":2,"creation_date":"20","primary":true,"last_used_date":"21"},`+
			`{"version":1,"creation_date":"10","primary":false,"last_used_date":""}],"next_marker":"","truncated":"false","total":2}`)
	version := wire.VersionInfo{ID: "v1.0", Links: []wire.VersionLink{{Href: "https://h/v1.0", Rel: "self"}}, Status: "CURRENT", Updated: "2018-09-05T08:18:05Z"}
	const versionJSON = `{"id":"v1.0","links":[{"href":"https://h/v1.0","rel":"self"}],"version":"","status":"CURRENT","updated":"2018-09-05T08:18:05Z","min_version":""}`
	f(wire.CreateGrantReply{GrantID: "g"}, `{"grant_id":"g"}`)
	f(wire.ListGrantsReply{Grants: []wire.Grant{}, Truncated: "false"}, `{"grants":[],"next_marker":"","truncated":"false","total":0}`)
	f(wire.ListGrantsReply{Grants: []wire.Grant{{"k", "g", "u", "user", []string{"sign", "verify"}, "i", "7", "n", "r"}, {KeyID: "l", Operations: []string{}}}, NextMarker: "9", Truncated: "true", Total: 3},
		`{"grants":[{"key_id":"k","grant_id":"g","grantee_principal":"u","grantee_principal_type":"user","operations":["sign","verify"],"issuing_principal":"i",`+
			`"creation_date":"7","name":"n","retiring_principal":"r"},{"key_id":"l","grant_id":"","grantee_principal":"","grantee_principal_type":"","operations":[],`+
			`"issuing_principal":"","creation_date":"","name":"","retiring_principal":""}],"next_marker":"9","truncated":"true","total":3}`)
	f(wire.VersionsReply{Versions: []wire.VersionInfo{version, version}}, `{"versions":[`+versionJSON+`,`+versionJSON+`]}`)
	f(wire.VersionReply{Version: version}, `{"version":`+versionJSON+`}`)
}

// A buffer that has to grow while a secret is written into it would leave a
// part of the secret where nobody wipes it.
func TestRepliesGrowOnce(t *testing.T) {
	var room []byte
	defer func() { clear(room) }()
	secret := bytes.Repeat([]byte{0x01}, 4096) // takes six bytes each as text
	for _, reply := range []wire.Reply{
		wire.CreateDataKeyReply{KeyID: strings.Repeat("k", 36), PlainText: secret, CipherText: secret},
		wire.DecryptDataKeyReply{DataKey: secret, DatakeyLength: "4096", DatakeyDgst: secret[:32]},
		wire.DecryptDataReply{KeyID: strings.Repeat("k", 36), PlainText: secret, PlainTextBase64: secret},
		wire.RandomReply{RandomData: secret},
	} {
		// A buffer with the room that AppendJSON makes is not moved.
		first := reply.AppendJSON(make([]byte, 0, 16))
		second := reply.AppendJSON(first[:0:cap(first)])
		if &first[0] != &second[0] {
			t.Errorf("%T: its own buffer is too small for it", reply)
		}
		once := testing.AllocsPerRun(10, func() { room = slices.Grow([]byte(nil), cap(first)) })
		if got := testing.AllocsPerRun(10, func() { room = reply.AppendJSON(nil) }); got > once {
			t.Errorf("%T: %v allocations, want the %v that make room", reply, got, once)
		}
	}
}

func TestWipe(t *testing.T) {
	one := func() []byte { return []byte("secret") }
	for _, c := range []struct {
		reply  interface{ Wipe() }
		secret func(r any) [][]byte
	}{
		{wire.CreateDataKeyReply{PlainText: one()}, func(r any) [][]byte { return [][]byte{r.(wire.CreateDataKeyReply).PlainText} }},
		{wire.DecryptDataKeyReply{DataKey: one()}, func(r any) [][]byte { return [][]byte{r.(wire.DecryptDataKeyReply).DataKey} }},
		{wire.DecryptDataReply{PlainText: one(), PlainTextBase64: one()}, func(r any) [][]byte {
			d := r.(wire.DecryptDataReply)
			return [][]byte{d.PlainText, d.PlainTextBase64}
		}},
		{wire.RandomReply{RandomData: one()}, func(r any) [][]byte { return [][]byte{r.(wire.RandomReply).RandomData} }},
	} {
		c.reply.Wipe()
		for _, secret := range c.secret(c.reply) {
			if !bytes.Equal(secret, make([]byte, 6)) {
				t.Errorf("%T keeps a secret", c.reply)
			}
		}
	}
}

func TestAppendString(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		if rapid.Bool().Draw(t, "valid") {
			raw = []byte(rapid.String().Draw(t, "text"))
		}
		encoded := wire.AppendString(nil, raw)
		if !bytes.Equal(encoded, wire.AppendString(nil, string(raw))) {
			t.Fatalf("%q: bytes and string differ", raw)
		}
		var back string
		if err := json.Unmarshal(encoded, &back); err != nil {
			t.Fatalf("%q: %s: %v", raw, encoded, err)
		}
		if want := strings.ToValidUTF8(string(raw), ""); utf8.Valid(raw) && back != want {
			t.Fatalf("%q came back as %q", raw, back)
		}
		for _, r := range string(encoded) {
			if r < ' ' || 0x7f <= r && r < 0xa0 {
				t.Fatalf("%q holds the control character %U", encoded, r)
			}
		}
	})
	if got := wire.AppendString(nil, "a\xffb\u2028\u0085"); string(got) != "\"a\ufffdb\u2028\\u0085\"" {
		t.Errorf("got %s", got)
	}
}

func BenchmarkAppendReply(b *testing.B) {
	reply := wire.CreateDataKeyReply{KeyID: detail.KeyID, PlainText: make([]byte, 32), CipherText: make([]byte, 141)}
	buffer := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buffer = reply.AppendJSON(buffer[:0])
	}
}
