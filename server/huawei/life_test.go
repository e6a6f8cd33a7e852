package huawei_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/wire"
)

const day = int64(24 * time.Hour / time.Millisecond)

func (w *world) describe(key string) wire.KeyDetail {
	w.t.Helper()
	var reply wire.DescribeKeyReply
	w.must("describe-key", `{"key_id":"`+key+`"}`, &reply)
	return reply.KeyInfo
}

// The answers are exact, and what a deletion risks is traced.
func TestDeletion(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	var data struct {
		CipherText string `json:"cipher_text"`
	}
	w.must("encrypt-data", `{"key_id":"`+key+`","plain_text":"x"}`, &data)
	before := w.replica.Root().Now()
	if got := w.must("schedule-key-deletion", `{"key_id":"`+key+`","pending_days":7}`, nil); got != `{"key_id":"`+key+`","key_state":"4"}` {
		t.Error(got)
	}
	tips := w.traces.named("deleteKeyRiskTips")
	if len(tips) != 1 || tips[0].Rating != audit.RatingWarning || tips[0].ResourceID != key || tips[0].Type != audit.TypeSystemAction {
		t.Errorf("the risks are traced as %+v", tips)
	}
	if at, err := strconv.ParseInt(w.describe(key).ScheduledDeletionDate, 10, 64); err != nil || at <= before+7*day || at > w.replica.Root().Now()+7*day {
		t.Errorf("it goes at %d (%v), scheduled at %d", at, err, before)
	}
	if got := w.must("cancel-key-deletion", `{"key_id":"`+key+`"}`, nil); got != `{"key_id":"`+key+`","key_state":"3"}` {
		t.Error(got)
	}
	if d := w.describe(key); d.ScheduledDeletionDate != "" || d.KeyState != "3" {
		t.Errorf("described as %+v", d)
	}
	w.must("schedule-key-deletion", `{"key_id":"`+key+`","pending_days":"1096"}`, nil)
	w.deleteNow(t, key)
	for _, ask := range []answered{w.ask("describe-key", `{"key_id":"`+key+`"}`), w.ask("decrypt-data", `{"cipher_text":"`+data.CipherText+`"}`)} {
		if ask.status != 404 || ask.code(t) != "KMS.0207" || !strings.Contains(ask.body, "was deleted at 20") {
			t.Errorf("a deleted key: %d %s", ask.status, ask.body)
		}
	}
	if a := w.ask("describe-key", `{"key_id":"alias/orders"}`); a.status != 404 || strings.Contains(a.body, "deleted") {
		t.Errorf("its name: %d %s", a.status, a.body)
	}
	w.createKey("orders") // the name is free again
}

func TestDeletionProtection(t *testing.T) {
	w := newWorld(t)
	var created wire.CreateKeyReply
	w.must("create-key", `{"key_alias":"orders","deletion_protection":true,"protection_level":"SOFTWARE"}`, &created)
	key := created.KeyInfo.KeyID
	if d := w.describe(key); d.DeletionProtection != "true" || d.ProtectionLevel != "SOFTWARE" {
		t.Errorf("described as %+v", d)
	}
	schedule := `{"key_id":"` + key + `","pending_days":"7"}`
	if a := w.ask("schedule-key-deletion", schedule); a.status != 400 || a.code(t) != "KMS.1403" || w.describe(key).KeyState != "2" {
		t.Errorf("a protected key: %d %s", a.status, a.body)
	}
	if got := w.must("disable-key-deletion-protection", `{"key_id":"`+key+`"}`, nil); got != "{}" {
		t.Error(got)
	}
	if d := w.describe(key); d.DeletionProtection != "false" {
		t.Errorf("described as %+v", d)
	}
	w.must("enable-key-deletion-protection", `{"key_id":"`+key+`"}`, nil)
	w.must("disable-key-deletion-protection", `{"key_id":"alias/orders"}`, nil)
	w.must("schedule-key-deletion", schedule, nil)
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	if got := w.must("update-key-alias", `{"key_id":"`+key+`","key_alias":"new:name"}`, nil); got != `{"key_info":{"key_id":"`+key+`","key_alias":"new:name"}}` {
		t.Error(got)
	}
	if got := w.must("update-key-description", `{"key_id":"alias/new:name","key_description":"é"}`, nil); got != `{"key_info":{"key_id":"`+key+`","key_description":"é"}}` {
		t.Error(got)
	}
	w.must("update-key-description", `{"key_id":"`+key+`","key_description":""}`, nil)
	if d := w.describe("alias/new:name"); d.KeyID != key || d.KeyDescription != "" {
		t.Errorf("described as %+v", d)
	}
	if a := w.ask("describe-key", `{"key_id":"alias/orders"}`); a.status != 404 {
		t.Errorf("the old name: %d %s", a.status, a.body)
	}
	w.createKey("orders")
}

// Aliases are usable wherever a key's id is, with the prefix stored as given.
func TestAliases(t *testing.T) {
	w := newWorld(t)
	key, other := w.createKey("orders"), w.createKey("other")
	var made wire.AliasInfo
	a := w.ask("aliases", `{"key_id":"`+key+`","alias":"alias/one"}`)
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	created, err := time.Parse(time.RFC3339, made.CreateTime)
	want := wire.AliasInfo{
		DomainID: fsmtest.DomainID, KeyID: key, Alias: "alias/one", AliasURN: "kms:region-1:" + fsmtest.DomainID + ":alias:one",
		CreateTime: made.CreateTime, UpdateTime: made.CreateTime,
	}
	if err != nil || !strings.HasSuffix(made.CreateTime, "Z") || created.Year() != 2023 || made != want {
		t.Errorf("made %+v", made)
	}
	w.must("aliases", `{"key_id":"`+key+`","alias":"two"}`, nil)
	var dataKey wire.CreateDataKeyReply
	for _, ref := range []string{"alias/one", "alias/two", made.AliasURN} {
		w.must("create-datakey", `{"key_id":"`+ref+`"}`, &dataKey)
		if dataKey.KeyID != key {
			t.Errorf("%s led to %s", ref, dataKey.KeyID)
		}
	}
	// Pointed elsewhere: what was encrypted still names its key.
	moved := w.ask("alias/associate", `{"target_key_id":"`+other+`","alias":"one"}`)
	if moved.status != 200 || !strings.Contains(moved.body, `"key_id":"`+other+`","alias":"alias/one"`) || w.describe("alias/one").KeyID != other {
		t.Errorf("%d %s", moved.status, moved.body)
	}
	var opened wire.DecryptDataKeyReply
	w.must("decrypt-datakey", fmt.Sprintf(`{"key_id":"%s","cipher_text":"%X","datakey_cipher_length":32}`, key, []byte(dataKey.CipherText)), &opened)
	if a := w.ask("DELETE aliases", `{"key_id":"`+other+`","aliases":["one"]}`); a.status != 204 || a.body != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.ask("describe-key", `{"key_id":"alias/one"}`); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A list of aliases is an object, and for the vendor's SDKs a list of one.
func TestListedAliases(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	for i := range 50 {
		w.must("aliases", fmt.Sprintf(`{"key_id":"%s","alias":"a%02d"}`, key, i), nil)
	}
	if a := w.ask("aliases", `{"key_id":"`+key+`","alias":"one-more"}`); a.status != 400 || a.code(t) != "KMS.0308" {
		t.Errorf("a 51st alias: %d %s", a.status, a.body)
	}
	w.must("aliases", `{"key_id":"`+w.createKey("other")+`","alias":"a50"}`, nil)
	var names []string
	for _, query := range []string{"key_id=" + key + "&limit=20", "limit=20"} {
		names = nil
		for marker := ""; ; {
			var page wire.ListAliasesReply
			w.must("GET aliases?"+query+"&marker="+marker, "{}", &page)
			for _, alias := range page.Aliases {
				names = append(names, alias.Alias)
			}
			if page.PageInfo.CurrentCount != len(page.Aliases) {
				t.Errorf("%d said, %d given", page.PageInfo.CurrentCount, len(page.Aliases))
			}
			if marker = page.PageInfo.NextMarker; marker == "" {
				break
			}
		}
		want := 50
		if !strings.Contains(query, "key_id") {
			want = 51
		}
		if len(names) != want || names[0] != "a00" || names[want-1] != fmt.Sprintf("a%02d", want-1) {
			t.Errorf("%s: %d aliases, %v", query, len(names), names)
		}
	}
	var pages []wire.ListAliasesReply
	sdk := w.ask("GET aliases?key_id=alias/a07", "", agent("huaweicloud-usdk-go/3.0"))
	if err := json.Unmarshal([]byte(sdk.body), &pages); err != nil || len(pages) != 1 || len(pages[0].Aliases) != 50 {
		t.Errorf("the SDK gets %s (%v)", sdk.body, err)
	}
}

func TestRotation(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	status := func(want string) {
		t.Helper()
		if got := w.must("get-key-rotation-status", `{"key_id":"`+key+`"}`, nil); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	status(`{"key_rotation_enabled":false,"rotation_interval":0,"last_rotation_time":"","number_of_rotations":0}`)
	if got := w.must("enable-key-rotation", `{"key_id":"`+key+`","rotation_interval":0}`, nil); got != "{}" {
		t.Error(got)
	}
	status(`{"key_rotation_enabled":true,"rotation_interval":365,"last_rotation_time":"","number_of_rotations":0}`)
	if d := w.describe(key); d.KeyRotationEnabled != "true" {
		t.Errorf("described as %+v", d)
	}
	if a := w.ask("enable-key-rotation", `{"key_id":"`+key+`"}`); a.status != 400 || a.code(t) != "KMS.2901" {
		t.Errorf("again: %d %s", a.status, a.body)
	}
	if got := w.must("update-key-rotation-interval", `{"key_id":"`+key+`","rotation_interval":"30"}`, nil); got != "{}" {
		t.Error(got)
	}
	status(`{"key_rotation_enabled":true,"rotation_interval":30,"last_rotation_time":"","number_of_rotations":0}`)
	if got := w.must("disable-key-rotation", `{"key_id":"`+key+`"}`, nil); got != "{}" {
		t.Error(got)
	}
	status(`{"key_rotation_enabled":false,"rotation_interval":0,"last_rotation_time":"","number_of_rotations":0}`)
}

// A new version encrypts, and the old ones still decrypt.
func TestRotateOnDemand(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	var texts []string
	for range 3 {
		var data struct {
			CipherText string `json:"cipher_text"`
		}
		w.must("encrypt-data", `{"key_id":"`+key+`","plain_text":"x"}`, &data)
		texts = append(texts, data.CipherText)
		if got := w.must("rotate-on-demand", `{"key_id":"`+key+`"}`, nil); got != "{}" {
			t.Error(got)
		}
	}
	for i, text := range texts {
		var opened wire.DecryptDataReply
		w.must("decrypt-data", `{"cipher_text":"`+text+`"}`, &opened)
		if string(opened.PlainText) != "x" || opened.KeyID != key {
			t.Errorf("version %d: %+v", i+1, opened)
		}
	}
	var page wire.ListVersionsReply
	w.must("list-key-versions", `{"key_id":"`+key+`","limit":3}`, &page)
	if page.KeyID != key || page.Total != 4 || len(page.Versions) != 3 || page.Truncated != "true" || page.NextMarker != "2" ||
		page.Versions[0].Version != 4 || !page.Versions[0].Primary || page.Versions[1].Primary || page.Versions[0].CreationDate == "" {
		t.Errorf("the first page: %+v", page)
	}
	w.must("list-key-versions", `{"key_id":"`+key+`","limit":3,"marker":"2"}`, &page)
	if len(page.Versions) != 1 || page.Versions[0].Version != 1 || page.Truncated != "false" || page.NextMarker != "" {
		t.Errorf("the last page: %+v", page)
	}
	if got := w.must("get-key-rotation-status", `{"key_id":"`+key+`"}`, nil); !strings.Contains(got, `"number_of_rotations":3`) || strings.Contains(got, `"last_rotation_time":""`) {
		t.Error(got)
	}
}
