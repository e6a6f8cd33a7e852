package client_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/client"
)

const keyID = "0b8d5c4e-1111-4222-8333-444455556666"

const keyDetail = `{"key_id":"` + keyID + `","domain_id":"d","key_alias":"name","realm":"r","key_spec":"AES_256",
	"key_usage":"ENCRYPT_DECRYPT","key_description":"about","creation_date":"1600000000000","scheduled_deletion_date":"",
	"key_state":"2","default_key_flag":"0","key_type":"1","expiration_time":"","origin":"kms","key_rotation_enabled":"false",
	"sys_enterprise_project_id":"0","keystore_id":"0"}`

// TestOperations pins what each operation sends and what it makes of the answer.
func TestOperations(t *testing.T) {
	node := newFake(t, nil)
	c := open(t, configure(node))
	ctx := context.Background()
	f := node.exchange
	key := client.Key{
		ID: keyID, Name: "name", Description: "about", State: client.Enabled, Spec: "AES_256",
		Usage: "ENCRYPT_DECRYPT", Origin: "kms", Created: time.Date(2020, 9, 13, 12, 26, 40, 0, time.UTC),
	}

	f(`create-key {"key_alias":"name","key_description":"about"}`, `{"key_info":{"key_id":"`+keyID+`","domain_id":"d"}}`, keyID,
		func() (any, error) { return c.CreateKey(ctx, client.NewKey{Name: "name", Description: "about"}) })
	f(`describe-key {"key_id":"alias/name"}`, `{"key_info":`+keyDetail+`}`, key,
		func() (any, error) { return c.DescribeKey(ctx, "alias/name") })
	done := func(err error) (any, error) { return nil, err }
	f(`update-key-alias {"key_id":"k","key_alias":"new"}`, `{"key_info":{"key_id":"k","key_alias":"new"}}`, nil,
		func() (any, error) { return done(c.RenameKey(ctx, "k", "new")) })
	f(`update-key-description {"key_id":"k","key_description":""}`, `{"key_info":{}}`, nil, func() (any, error) { return done(c.DescribeAs(ctx, "k", "")) })
	f(`schedule-key-deletion {"key_id":"k","pending_days":"7"}`, `{"key_id":"k","key_state":"4"}`, nil, func() (any, error) { return done(c.ScheduleDeletion(ctx, "k", 7)) })
	f(`cancel-key-deletion {"key_id":"k"}`, `{"key_id":"k","key_state":"3"}`, nil, func() (any, error) { return done(c.CancelDeletion(ctx, "k")) })
	f(`enable-key-deletion-protection {"key_id":"k"}`, `{}`, nil, func() (any, error) { return done(c.ProtectKey(ctx, "k", true)) })
	f(`disable-key-deletion-protection {"key_id":"k"}`, `{}`, nil, func() (any, error) { return done(c.ProtectKey(ctx, "k", false)) })
	f(`aliases {"key_id":"k","alias":"a"}`, `{}`, nil, func() (any, error) { return done(c.CreateAlias(ctx, "k", "a")) })
	f(`alias/associate {"alias":"a","target_key_id":"k"}`, `{}`, nil, func() (any, error) { return done(c.AssociateAlias(ctx, "a", "k")) })
	f(`DELETE aliases {"key_id":"k","aliases":["a","b"]}`, ``, nil, func() (any, error) { return done(c.DeleteAliases(ctx, "k", "a", "b")) })
	f(`GET aliases?key_id=k {}`, `{"aliases":[{"key_id":"k","alias":"a","alias_urn":"u","create_time":"2020-09-13T12:26:40Z","update_time":"2020-09-13T12:26:40Z"}],"page_info":{"next_marker":"","current_count":1}}`,
		[]client.Alias{{Name: "a", KeyID: "k", URN: "u", Created: key.Created, Updated: key.Created}}, func() (any, error) { return c.ListAliases(ctx, "k") })
	f(`enable-key-rotation {"key_id":"k"}`, `{}`, nil, func() (any, error) { return done(c.EnableRotation(ctx, "k", 0)) })
	f(`update-key-rotation-interval {"key_id":"k","rotation_interval":"30"}`, `{}`, nil, func() (any, error) { return done(c.SetRotationInterval(ctx, "k", 30)) })
	f(`disable-key-rotation {"key_id":"k"}`, `{}`, nil, func() (any, error) { return done(c.DisableRotation(ctx, "k")) })
	f(`get-key-rotation-status {"key_id":"k"}`, `{"key_rotation_enabled":true,"rotation_interval":30,"last_rotation_time":"1600000000000","number_of_rotations":2}`,
		client.Rotation{Enabled: true, Days: 30, Last: key.Created, Count: 2}, func() (any, error) { return c.RotationOf(ctx, "k") })
	f(`rotate-on-demand {"key_id":"k"}`, `{}`, nil, func() (any, error) { return done(c.RotateKey(ctx, "k")) })
	f(`list-key-versions {"key_id":"k"}`, `{"key_id":"k","versions":[{"version":2,"creation_date":"1600000000000","primary":true,"last_used_date":""}],"next_marker":"","truncated":"false","total":1}`,
		[]client.Version{{Number: 2, Created: key.Created, Primary: true}}, func() (any, error) { return c.ListVersions(ctx, "k") })
	f(`list-keys {"key_spec":"ALL"}`, `{"keys":["`+keyID+`"],"key_details":[`+keyDetail+`],"next_marker":"","truncated":"false","total":1}`,
		client.KeyPage{Keys: []client.Key{key}, Total: 1},
		func() (any, error) { return c.ListKeys(ctx, client.ListOptions{}) })
	f(`list-keys {"limit":"10","marker":"20","key_state":"3","key_spec":"SM4"}`, `{"keys":[],"key_details":[],"next_marker":"30","truncated":"true","total":99}`,
		client.KeyPage{Keys: []client.Key{}, Total: 99, Next: 30},
		func() (any, error) {
			return c.ListKeys(ctx, client.ListOptions{Limit: 10, Offset: 20, State: client.Disabled, Spec: "SM4"})
		})
	f(`enable-key {"key_id":"k"}`, `{"key_info":{"key_id":"k","key_state":"2"}}`, nil,
		func() (any, error) { return nil, c.EnableKey(ctx, "k") })
	f(`disable-key {"key_id":"k"}`, `{"key_info":{"key_id":"k","key_state":"3"}}`, nil,
		func() (any, error) { return nil, c.DisableKey(ctx, "k") })

	expiring := key
	expiring.Expires = key.Created
	f(`describe-key {"key_id":"k"}`, `{"key_info":`+strings.Replace(keyDetail, `"expiration_time":""`, `"expiration_time":"1600000000000"`, 1)+`}`, expiring,
		func() (any, error) { return c.DescribeKey(ctx, "k") })

	f(`create-datakey {"key_id":"k"}`, `{"key_id":"k","plain_text":"0A0B","cipher_text":"FF"}`,
		client.DataKey{KeyID: "k", Plaintext: []byte{10, 11}, Ciphertext: []byte{255}},
		func() (any, error) { return c.CreateDataKey(ctx, "k", client.DataKeyOptions{}) })
	f(`create-datakey-without-plaintext {"encryption_context":{"a":"b"},"key_id":"k","datakey_length":"512"}`, `{"key_id":"k","cipher_text":"FF"}`,
		client.DataKey{KeyID: "k", Ciphertext: []byte{255}},
		func() (any, error) {
			return c.CreateDataKeyWithoutPlaintext(ctx, "k", client.DataKeyOptions{Bytes: 64, Context: map[string]string{"a": "b"}})
		})
	f(`create-datakey {"additional_authenticated_data":"a","key_id":"k"}`, `{"key_id":"k","plain_text":"0A","cipher_text":"FF"}`,
		client.DataKey{KeyID: "k", Plaintext: []byte{10}, Ciphertext: []byte{255}},
		func() (any, error) { return c.CreateDataKey(ctx, "k", client.DataKeyOptions{AAD: "a"}) })
	f(`create-datakeys {"key_id":"k","datakey_length":"16","count":"2"}`, `{"key_id":"k","datakeys":[{"plain_text":"0A0B","cipher_text":"FF"},{"plain_text":"0C0D","cipher_text":"FE"}]}`,
		[]client.DataKey{{KeyID: "k", Plaintext: []byte{10, 11}, Ciphertext: []byte{255}}, {KeyID: "k", Plaintext: []byte{12, 13}, Ciphertext: []byte{254}}},
		func() (any, error) { return c.CreateDataKeys(ctx, "k", 2, client.DataKeyOptions{Bytes: 2}) })
	f(`create-datakeys-without-plaintext {"key_id":"k","count":"1"}`, `{"key_id":"k","datakeys":[{"cipher_text":"FF"}]}`,
		[]client.DataKey{{KeyID: "k", Ciphertext: []byte{255}}},
		func() (any, error) { return c.CreateDataKeysWithoutPlaintext(ctx, "k", 1, client.DataKeyOptions{}) })
	// SHA-256 of the byte 01, calculated elsewhere.
	const digest = "4BF5122F344554C53BDE2EBB8CD2B7E3D1600AD631C385A5D7CCE23C7785459A"
	f(`encrypt-datakey {"key_id":"k","plain_text":"01`+digest+`","datakey_plain_length":"1"}`, `{"key_id":"k","cipher_text":"FF","datakey_length":"1"}`,
		[]byte{255},
		func() (any, error) { return c.EncryptDataKey(ctx, "k", []byte{1}, client.DataKeyOptions{}) })
	f(`encrypt-datakey {"additional_authenticated_data":"a","key_id":"k","plain_text":"01`+digest+`","datakey_plain_length":"1"}`, `{"key_id":"k","cipher_text":"FF","datakey_length":"1"}`,
		[]byte{255},
		func() (any, error) { return c.EncryptDataKey(ctx, "k", []byte{1}, client.DataKeyOptions{AAD: "a"}) })
	f(`decrypt-datakey {"additional_authenticated_data":"a","key_id":"k","cipher_text":"FF","datakey_cipher_length":"32"}`, `{"data_key":"01","datakey_length":"1","datakey_dgst":"`+digest+`"}`,
		[]byte{1},
		func() (any, error) {
			return c.DecryptDataKey(ctx, "k", []byte{255}, client.DataKeyOptions{AAD: "a"})
		})
	f(`decrypt-datakey {"key_id":"k","cipher_text":"FF","datakey_cipher_length":"1"}`, `{"data_key":"01","datakey_length":"1","datakey_dgst":"`+digest+`"}`,
		[]byte{1},
		func() (any, error) {
			return c.DecryptDataKey(ctx, "k", []byte{255}, client.DataKeyOptions{Bytes: 1})
		})
	f(`encrypt-data {"key_id":"k","plain_text":"grüße\n"}`, `{"key_id":"k","cipher_text":"/w=="}`, []byte{255},
		func() (any, error) { return c.EncryptData(ctx, "k", []byte("grüße\n"), nil) })
	f(`decrypt-data {"cipher_text":"/w=="}`, `{"key_id":"k","plain_text":"x","plain_text_base64":"eA=="}`, "x of k",
		func() (any, error) {
			plain, key, err := c.DecryptData(ctx, []byte{255}, nil)
			return string(plain) + " of " + key, err
		})
	f(`gen-random {"random_data_length":"16"}`, `{"random_data":"BEEF"}`, []byte{0xbe, 0xef},
		func() (any, error) { return c.Random(ctx, 2) })
}

func TestEnsureKeyMakesAKeyOnlyOnce(t *testing.T) {
	exists := false
	node := newFake(t, nil)
	node.answer = func(w http.ResponseWriter, verb, _ string) {
		switch {
		case verb == "create-key":
			exists = true
			_, _ = io.WriteString(w, `{"key_info":{"key_id":"`+keyID+`","domain_id":"d"}}`)
		case exists:
			_, _ = io.WriteString(w, `{"key_info":`+keyDetail+`}`)
		default:
			refuse(w, http.StatusNotFound, "KMS.0207", "no such key")
		}
	}
	c := open(t, configure(node))
	for range 2 {
		if id, err := c.EnsureKey(context.Background(), "name"); err != nil || id != keyID {
			t.Errorf("got %q, %v", id, err)
		}
	}
	want := []string{`describe-key {"key_id":"alias/name"}`, `create-key {"key_alias":"name"}`, `describe-key {"key_id":"alias/name"}`}
	if diff := cmp.Diff(node.seen(), want); diff != "" {
		t.Error("sent: -got +want\n" + diff)
	}
}

func TestAChangedDataKeyIsRefused(t *testing.T) {
	node := newFake(t, reply(`{"data_key":"02","datakey_length":"1","datakey_dgst":"4BF5122F344554C53BDE2EBB8CD2B7E3D1600AD631C385A5D7CCE23C7785459A"}`))
	_, err := open(t, configure(node)).DecryptDataKey(context.Background(), "k", []byte{1}, client.DataKeyOptions{Bytes: 1})
	if err == nil || !strings.Contains(err.Error(), "does not match its digest") {
		t.Errorf("got %v", err)
	}
}

func TestBytesThatAreNoTextAreNotSent(t *testing.T) {
	node := newFake(t, reply(`{}`))
	if _, err := open(t, configure(node)).EncryptData(context.Background(), "k", []byte{0xff}, nil); err == nil {
		t.Error("bytes that are not UTF-8 were sent")
	}
	if seen := node.seen(); seen != nil {
		t.Errorf("the node got %v", seen)
	}
}
