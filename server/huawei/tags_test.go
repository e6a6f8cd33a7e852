package huawei_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
)

func TestTags(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	other := w.createKey("invoices")
	f := func(verb, body string, status int, want string) {
		t.Helper()
		verb, body = strings.ReplaceAll(verb, "KEY", key), strings.ReplaceAll(body, "KEY", key)
		a := w.ask(verb, body)
		if a.status != status || a.body != want {
			t.Errorf("%s %.120s: %d %.400s, want %d %s", verb, body, a.status, a.body, status, want)
		}
		if trace := w.traces.last(t); trace.Code != fmt.Sprint(status) || trace.ErrorCode != "" {
			t.Errorf("%s is traced as %+v", verb, trace)
		}
	}
	f("GET KEY/tags", "", 200, `{"tags":[],"existTagsNum":0,"sys_tags":[]}`)
	f("KEY/tags", `{"tag":{"key":"stage","value":"test","x":[1]}}`, 204, "")
	f("KEY/tags", `{"tag":{"key":"stage","value":"prod"}}`+"\n", 204, "")
	f("KEY/tags", `{"tag":{"key":"Größe","value":""}}`, 204, "")
	f("GET KEY/tags", "{}", 200, `{"tags":[{"key":"Größe","value":""},{"key":"stage","value":"prod"}],"existTagsNum":2,"sys_tags":[]}`)
	f("KEY/tags/action", `{"action":"create","tags":[{"key":"stage","value":"live"},{"key":"action"}]}`, 204, "")
	if trace := w.traces.last(t); trace.TraceName != "batchCreateKeyTags" || trace.ResourceID != key {
		t.Errorf("traced as %+v", trace)
	}
	f("KEY/tags/action", `{"action":"delete","tags":[{"key":"action"},{"key":"Größe"},{"key":"was-never-there","value":"x"}]}`, 204, "")
	if trace := w.traces.last(t); trace.TraceName != "batchDeleteKeyTags" {
		t.Errorf("traced as %+v", trace)
	}
	if a := w.ask(other+"/tags", `{"tag":{"key":"stage","value":"test"}}`); a.status != 204 {
		t.Fatal(a.body)
	}
	f("GET tags", "", 200, `{"tags":[{"key":"stage","values":["live","test"]}]}`)
	f("DELETE KEY/tags/stage", "", 204, "")
	f("GET KEY/tags", "", 200, `{"tags":[],"existTagsNum":0,"sys_tags":[]}`)
	f("KEY/tags", `{"tag":{"key":"Größe","value":"1"}}`, 204, "")
	f("DELETE KEY/tags/Größe", "", 204, "")
}

func TestFindTagged(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.createKey("a/orders"), w.createKey("b/orders"), w.createKey("c/invoices")
	for key, tags := range map[string]string{
		a: `{"key":"stage","value":"test"},{"key":"team","value":"x"}`,
		b: `{"key":"stage","value":"prod"},{"key":"team","value":"x"}`,
		c: `{"key":"stage","value":"prod"},{"key":"team","value":""}`,
	} {
		if r := w.ask(key+"/tags/action", `{"action":"create","tags":[`+tags+`]}`); r.status != 204 {
			t.Fatal(r.body)
		}
	}
	f := func(body string, total int, want ...string) {
		t.Helper()
		var reply struct {
			Resources []struct {
				ID     string `json:"resource_id"`
				Name   string `json:"resource_name"`
				Detail struct {
					Alias string `json:"key_alias"`
				} `json:"resource_detail"`
				Tags []struct{ Key, Value string }
			} `json:"resources"`
			Total int `json:"total_count"`
		}
		text := w.must("resource_instances/action", body, &reply)
		var got []string
		for _, r := range reply.Resources {
			got = append(got, r.ID)
			if r.Name != r.Detail.Alias || len(r.Tags) != 2 {
				t.Errorf("%s: %+v", body, r)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || reply.Total != total {
			t.Errorf("%s: %d of %d: %s", body, len(got), reply.Total, text)
		}
		if strings.Contains(body, "count") != !strings.Contains(text, "resources") {
			t.Errorf("%s: %s", body, text)
		}
	}
	f(`{"action":"filter"}`, 3, c, b, a)
	f(`{"action":"filter","tags":[],"matches":null,"limit":""}`, 3, c, b, a)
	f(`{"action":"filter","tags":[{"key":"stage"}],"limit":"2"}`, 3, c, b)
	f(`{"action":"filter","tags":[{"key":"stage","values":[]}],"limit":2,"offset":2}`, 3, a)
	f(`{"action":"filter","tags":[{"key":"stage"}],"offset":"3"}`, 3)
	f(`{"action":"filter","tags":[{"key":"stage"}],"offset":300}`, 3)
	f(`{"action":"filter","tags":[{"key":"stage","values":["prod"]}]}`, 2, c, b)
	f(`{"action":"filter","tags":[{"key":"stage","values":["prod","test","prod"]}]}`, 3, c, b, a)
	f(`{"action":"filter","tags":[{"key":"stage","values":["prod"]},{"key":"team","values":["x"]}]}`, 1, b)
	f(`{"action":"filter","tags":[{"key":"team","values":[""]}]}`, 1, c)
	f(`{"action":"filter","tags":[{"key":"nobody"}]}`, 0)
	f(`{"action":"filter","matches":[{"key":"resource_name","value":"orders"}]}`, 2, b, a)
	f(`{"action":"filter","tags":[{"key":"stage","values":["prod"]}],"matches":[{"key":"resource_name","value":"orders"}]}`, 1, b)
	f(`{"action":"count","tags":[{"key":"stage","values":["prod"]}]}`, 2)
	f(`{"action":"count","limit":1,"offset":2}`, 3)
}

func TestQuotas(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	if r := w.ask(key+"/tags", `{"tag":{"key":"stage","value":"test"}}`); r.status != 204 {
		t.Fatal(r.body)
	}
	f := func(verb, body string, want string) {
		t.Helper()
		if a := w.ask(verb, body); a.status != 200 || a.body != want {
			t.Errorf("%s %s: %d %s, want %s", verb, body, a.status, a.body, want)
		}
	}
	const quotas = `{"quotas":{"resources":[{"type":"CMK","used":1,"quota":%d},{"type":"grant_per_CMK","used":0,"quota":%d},{"type":"tag_per_CMK","used":1,"quota":%d},{"type":"grant_per_project","used":0,"quota":100000}]}}`
	f("GET user-instances", "", `{"instance_num":1}`)
	f("GET user-quotas", "", fmt.Sprintf(quotas, 100, 100, 20))
	f("PUT user-quotas", `{"resources":[{"type":"CMK","quota":"2"},{"type":"tag_per_CMK","quota":1}]}`, fmt.Sprintf(quotas, 2, 100, 1))
	f("PUT user-quotas", `{"resources":[{"type":"grant_per_CMK","quota":7}],"target_project_id":"`+fsmtest.ProjectID+`"}`, fmt.Sprintf(quotas, 2, 7, 1))
	if a := w.ask(key+"/tags", `{"tag":{"key":"another","value":""}}`); a.status != 400 || a.code(t) != "KMS.0409" {
		t.Error(a.body)
	}
	w.createKey("second")
	if a := w.ask("create-key", `{"key_alias":"third"}`); a.status != 400 || a.code(t) != "KMS.1105" {
		t.Error(a.body)
	}
}

func TestRefusedTags(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	pending := w.createKey("pending")
	w.must("schedule-key-deletion", `{"key_id":"`+pending+`","pending_days":"7"}`, nil)
	many := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"key":"tag-%d","value":""}`, i))
		}
		return strings.Join(all, ",")
	}
	if a := w.ask(key+"/tags/action", `{"action":"create","tags":[`+many(20)+`]}`); a.status != 204 {
		t.Fatal(a.body)
	}
	before := w.ask("GET "+key+"/tags", "").body
	f := func(verb, body string, status int, code string) {
		t.Helper()
		a := w.ask(strings.ReplaceAll(verb, "KEY", key), body)
		if a.status != status || a.code(t) != code {
			t.Errorf("%s %.120s: %d %.300s, want %d %s", verb, body, a.status, a.body, status, code)
		}
		if after := w.ask("GET "+key+"/tags", "").body; after != before {
			t.Errorf("%s %.120s left %s", verb, body, after)
		}
	}
	long := func(n int) string { return strings.Repeat("ü", n) }
	f("KEY/tags", `{}`, 400, "KMS.0204")
	f("KEY/tags", `{"tag":7}`, 400, "KMS.0414")
	f("KEY/tags", `{"tag":{"key":7}}`, 400, "KMS.0414")
	f("KEY/tags", `{"tag":{"key":"a","key":"b"}}`, 400, "KMS.0414")
	f("KEY/tags", `{"tag":{"value":"v"}}`, 400, "KMS.0406")
	f("KEY/tags", `{"tag":{"key":"a b"}}`, 400, "KMS.0406")
	f("KEY/tags", `{"tag":{"key":"`+long(37)+`"}}`, 400, "KMS.0411")
	f("KEY/tags", `{"tag":{"key":"a","value":"`+long(44)+`"}}`, 400, "KMS.0410")
	f("KEY/tags", `{"tag":{"key":"a","value":"<"}}`, 400, "KMS.0405")
	f("KEY/tags", `{"tag":{"key":"one-more","value":""}}`, 400, "KMS.0409")
	f(nobody+"/tags", `{"tag":{"key":"a"}}`, 404, "KMS.0207")
	f("GET "+nobody+"/tags", ``, 404, "KMS.0207")
	f("GET no-id/tags", ``, 400, "KMS.0205")
	f(pending+"/tags", `{"tag":{"key":"a"}}`, 400, "KMS.0210")
	f("DELETE KEY/tags/nothing", ``, 404, "KMS.0416")
	f("DELETE KEY/tags/a!b", ``, 400, "KMS.0406")
	f("KEY/tags/action", `{"tags":[{"key":"a"}]}`, 400, "KMS.0204")
	f("KEY/tags/action", `{"action":"update","tags":[{"key":"a"}]}`, 400, "KMS.0404")
	f("KEY/tags/action", `{"action":7,"tags":[{"key":"a"}]}`, 400, "KMS.0404")
	f("KEY/tags/action", `{"action":"create"}`, 400, "KMS.0401")
	f("KEY/tags/action", `{"action":"create","tags":[]}`, 400, "KMS.0401")
	f("KEY/tags/action", `{"action":"delete","tags":null}`, 400, "KMS.0401")
	f("KEY/tags/action", `{"action":"create","tags":{}}`, 400, "KMS.0412")
	f("KEY/tags/action", `{"action":"create","tags":["a"]}`, 400, "KMS.0412")
	f("KEY/tags/action", `{"action":"create","tags":[{"key":"a"},{"key":"a"}]}`, 400, "KMS.0412")
	f("KEY/tags/action", `{"action":"create","tags":[`+many(21)+`]}`, 400, "KMS.0407")
	f("KEY/tags/action", `{"action":"create","tags":[{"key":"tag-1","value":"new"},{"key":"one-more"}]}`, 400, "KMS.0409")
	f("KEY/tags/action", `{"action":"delete","tags":[{"key":""}]}`, 400, "KMS.0406")

	const find = "resource_instances/action"
	f(find, `{}`, 400, "KMS.0204")
	f(find, `{"action":"search"}`, 400, "KMS.0404")
	f(find, `{"action":"filter","tags":[`+many(21)+`]}`, 400, "KMS.0407")
	f(find, `{"action":"filter","tags":[{"key":"a","values":[`+strings.Repeat(`"v",`, 20)+`"v"]}]}`, 400, "KMS.0413")
	f(find, `{"action":"filter","tags":[{"key":"a","values":[7]}]}`, 400, "KMS.0414")
	f(find, `{"action":"filter","tags":[{"key":"a","values":["`+long(44)+`"]}]}`, 400, "KMS.0410")
	f(find, `{"action":"filter","tags":[{"key":"a"},{"key":"a"}]}`, 400, "KMS.0414")
	f(find, `{"action":"filter","matches":{}}`, 400, "KMS.0415")
	f(find, `{"action":"filter","matches":[{"key":"resource_name","value":"a"},{"key":"resource_name","value":"b"}]}`, 400, "KMS.0415")
	f(find, `{"action":"filter","matches":[{"key":"name","value":"a"}]}`, 400, "KMS.0403")
	f(find, `{"action":"filter","matches":[{"key":"resource_name","value":""}]}`, 400, "KMS.0402")
	f(find, `{"action":"filter","matches":[{"key":"resource_name","value":"`+long(256)+`"}]}`, 400, "KMS.0402")
	f(find, `{"action":"filter","limit":0}`, 400, "KMS.1601")
	f(find, `{"action":"filter","limit":1001}`, 400, "KMS.1601")
	f(find, `{"action":"filter","offset":-1}`, 400, "KMS.0417")
	f(find, `{"action":"filter","offset":"x"}`, 400, "KMS.0417")

	f("PUT user-quotas", `{}`, 400, "KMS.0204")
	f("PUT user-quotas", `{"resources":[{"type":"CMKs","quota":1}]}`, 400, "KMS.2301")
	f("PUT user-quotas", `{"resources":[{"type":"CMK","quota":1},{"type":"CMK","quota":1}]}`, 400, "KMS.2302")
	f("PUT user-quotas", `{"resources":[{"type":"CMK"}]}`, 400, "KMS.2303")
	f("PUT user-quotas", `{"resources":[{"type":"CMK","quota":-1}]}`, 400, "KMS.2303")
	f("PUT user-quotas", `{"resources":[{"type":"tag_per_CMK","quota":51}]}`, 400, "KMS.2303")
	f("PUT user-quotas", `{"resources":[{"type":"CMK","quota":1}],"target_project_id":"0"}`, 400, "KMS.2304")
	f("PUT user-quotas", `{"resources":[7]}`, 400, "KMS.2305")
}
