package huawei

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The dialect's own decoders: what a text or a number in a request means. What
// they take is what it should be, and what they refuse has its code.

// FuzzKeyID is about everything that can stand for a key.
func FuzzKeyID(f *testing.F) {
	for _, seed := range []string{
		"", "0d0466b0-e727-4d9c-b35d-f84bb474a37f", "0D0466B0-E727-4D9C-B35D-F84BB474A37F", "alias/orders", "alias/", "alias/obs/default", "alias/alias/x",
		"kms:" + fsmtest.Region + ":" + fsmtest.DomainID + ":alias:orders", "kms:" + fsmtest.Region + ":" + fsmtest.DomainID + ":alias:a:b",
		"kms:elsewhere:" + fsmtest.DomainID + ":alias:orders", "kms:::alias:", "kms:", "alias/\x00", "alias/é",
	} {
		f.Add(seed)
	}
	x := &exchange{call: &kms.Call{Root: fsmtest.Bootstrapped(f).State()}, caller: iam.Principal{DomainID: fsmtest.DomainID}}
	mine := "kms:" + fsmtest.Region + ":" + fsmtest.DomainID + ":alias:"
	f.Fuzz(func(t *testing.T, keyID string) {
		ref, err := x.keyRef(keyID)
		if err != nil {
			switch a := DescribeKey.answerTo(err); {
			case a.status == 400 && (a.code == "KMS.0205" || a.code == "KMS.0204" && keyID == ""):
			case a.status == 404 && a.code == "KMS.0207" && strings.HasPrefix(keyID, "kms:") && !strings.HasPrefix(keyID, mine):
			default:
				t.Fatalf("%q: %d %s for %v", keyID, a.status, a.code, err)
			}
			return
		}
		name, named := strings.CutPrefix(ref, aliasPrefix)
		switch {
		case named && isAlias(name) && (keyID == ref || keyID == mine+name):
		case !named && ref == keyID && isUUID(ref, isLowerAlphanumeric):
		default:
			t.Fatalf("%q was taken for %q", keyID, ref)
		}
	})
}

// FuzzAlias is about the names that callers may give.
func FuzzAlias(f *testing.F) {
	for _, seed := range []string{"", "orders", "alias/", "alias/orders", "obs/default", "/default", "alias/aws/ebs", "a b", strings.Repeat("x", 256), "é", "a\n", "default"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, alias string) {
		for member, check := range map[string]func(string) error{"key_alias": checkAlias, "alias": checkNewAlias} {
			err := check(alias)
			if err == nil {
				odd := strings.ContainsFunc(alias, func(r rune) bool {
					return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:/_-", r)
				})
				if odd || alias == "" || len(alias) > 255 || alias == "alias/" || strings.HasSuffix(alias, "/default") || member == "alias" && strings.HasPrefix(alias, "alias/aws/") {
					t.Fatalf("%q was taken as %s", alias, member)
				}
			} else if a := CreateAlias.answerTo(err); a.status != 400 || a.code != "KMS.1101" && !(a.code == "KMS.0204" && alias == "") {
				t.Fatalf("%q as %s: %d %s", alias, member, a.status, a.code)
			}
		}
	})
}

// FuzzPage is about where pages begin and how long they are.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"limit":"1","marker":"0"}`, `{"limit":2000,"marker":2147483647}`, `{"limit":0}`, `{"limit":2001}`, `{"marker":-1}`, `{"marker":"9223372036854775807"}`,
		`{"action":"filter","limit":"10","offset":20}`, `{"action":"filter","offset":4294967296}`, `{"key_state":6}`, `{"limit":"","marker":""}`, `{"marker":"next/1"}`,
	} {
		f.Add([]byte(seed))
	}
	refusal := func(t *testing.T, body []byte, e Endpoint, err error, codes ...string) {
		t.Helper()
		if a := e.answerTo(err); a.status != 400 || !slices.Contains(append(codes, "KMS.0202", "KMS.0206"), a.code) {
			t.Fatalf("%q: %d %s for %v", body, a.status, a.code, err)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var list wire.ListKeysRequest
		err := wire.Decode(body, &list)
		var query kms.ListKeysRequest
		if err == nil {
			query, err = listQuery(&list)
		}
		if err != nil {
			refusal(t, body, ListKeys, err, "KMS.1601", "KMS.1602", "KMS.0308", "KMS.1110")
		} else if query.Limit < 1 || query.Limit > largestPage || query.Offset < 0 || query.Offset > math.MaxInt32 || query.State > 5 {
			t.Fatalf("%q: %+v", body, query)
		}

		var grants wire.ListGrantsRequest
		err = wire.Decode(body, &grants)
		var after uint64
		var limit int
		if err == nil {
			after, limit, err = grantsPage(&grants)
		}
		if err != nil {
			refusal(t, body, ListGrants, err, "KMS.1601", "KMS.1602", "KMS.0205")
		} else if limit < 1 || limit > largestPage || grants.Marker.Set && strconv.FormatUint(after, 10) != strconv.FormatInt(grants.Marker.Value, 10) {
			t.Fatalf("%q: after %d, %d of them", body, after, limit)
		}

		var find wire.FindTaggedRequest
		err = wire.Decode(body, &find)
		var found kms.FindTaggedRequest
		if err == nil {
			found, err = tagQuery(&find)
		}
		if err != nil {
			refusal(t, body, FindTagged, err, "KMS.0204", "KMS.1601", "KMS.0402", "KMS.0403", "KMS.0404", "KMS.0405", "KMS.0406", "KMS.0407", "KMS.0410", "KMS.0411", "KMS.0413", "KMS.0414", "KMS.0415", "KMS.0417")
		} else if found.Offset < 0 || found.Limit > largestFound || find.Action == actionFilter && found.Limit < 1 || len(found.Terms) > maxTags || len(found.Name) > maxMatch*4 {
			t.Fatalf("%q: %+v", body, found)
		}
	})
}

// FuzzEncryptionContext is about what ciphertexts are bound to: two requests
// bind to the same exactly where they say the same.
func FuzzEncryptionContext(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"encryption_context":{"a":"1","b":"2"}}`, `{"encryption_context":{"b":"2","a":"\u0031"}}`}, {`{"encryption_context":"a=1"}`, `{"additional_authenticated_data":"a=1"}`},
		{`{"encryption_context":{}}`, `{}`}, {`{"encryption_context":""}`, `{"encryption_context":null}`}, {`{"encryption_context":{"":""}}`, `{"encryption_context":"{}"}`},
		{`{"encryption_context":{"a":1}}`, `{"encryption_context":["a"]}`}, {`{"encryption_context":{"a":"b","c":"d"}}`, `{"encryption_context":{"a":"bc","":"d"}}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, one, other []byte) {
		digest1, meant1, ok1 := boundTo(t, one)
		digest2, meant2, ok2 := boundTo(t, other)
		if ok1 && ok2 && (digest1 == digest2) != (meant1 == meant2) {
			t.Fatalf("%q and %q: the same ciphertexts %v, the same meaning %v", one, other, digest1 == digest2, meant1 == meant2)
		}
	})
}

// boundTo is what a request binds to, by the decoder and by encoding/json.
func boundTo(t *testing.T, body []byte) (digest [32]byte, meant string, ok bool) {
	t.Helper()
	var req wire.CreateDataKeyRequest
	err := wire.Decode(body, &req)
	if err == nil {
		bound, refused := associated(&req.Associated)
		if err = refused; err == nil {
			digest = bound.Digest()
		}
	}
	if err != nil {
		if a := CreateDataKey.answerTo(err); a.status != 400 || a.code == "KMS.0308" && !strings.Contains(err.Error(), "additional_authenticated_data") {
			t.Fatalf("%q: %d %s for %v", body, a.status, a.code, err)
		}
		return digest, "", false
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil && len(strings.TrimSpace(string(body))) > 0 {
		t.Fatalf("%q was taken, and is no JSON: %v", body, err)
	}
	for _, name := range []string{"additional_authenticated_data", "encryption_context"} {
		var text string
		var entries map[string]string
		switch err := json.Unmarshal(members[name], &text); {
		case len(members[name]) == 0 || err == nil && text == "":
		case err == nil:
			return digest, "text " + text, true
		default:
			if err := json.Unmarshal(members[name], &entries); err != nil {
				t.Fatalf("%q was taken: %v", body, err)
			}
			for _, key := range slices.Sorted(maps.Keys(entries)) {
				meant += strconv.Quote(key) + strconv.Quote(entries[key])
			}
		}
	}
	return digest, meant, true
}
