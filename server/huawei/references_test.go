package huawei_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/wire"
)

// keyMembers are the members of requests that name a key.
var keyMembers = []string{"key_id", "target_key_id", "source_key_id", "destination_key_id"}

// Wherever there is a key's id, its name, one of its aliases and the URN of
// each serve as well: with every operation, and in paths and queries. What is
// answered has the id.
func TestAliasesServeWhereverAnIDDoes(t *testing.T) {
	w := newWorld(t)
	w.must("PUT user-quotas", `{"resources":[{"type":"CMK","quota":"100000"}]}`, nil)
	makers := w.makers()
	asked := slices.Collect(maps.Keys(others))
	for verb := range endpoints {
		asked = append(asked, "POST "+verb)
	}
	slices.Sort(asked)
	tried := 0
	for _, operation := range asked {
		e, known := others[operation]
		if !known {
			e = endpoints[strings.TrimPrefix(operation, "POST ")]
		}
		request, _ := e.Types()
		members := map[string]reflect.Type{}
		gather(request, members)
		for _, member := range keyMembers {
			if _, has := members[member]; has {
				tried += w.byEveryName(t, operation, member, makers[operation])
			}
		}
		if strings.Contains(operation, "{key_id}") {
			tried += w.byEveryName(t, operation, "path", makers[operation])
		}
	}
	if tried < 100 {
		t.Errorf("only %d requests were made", tried)
	}
}

// byEveryName asks for an operation with each reference to the key in a member,
// and returns how many those were.
func (w *world) byEveryName(t *testing.T, operation, member string, fresh func() (string, body)) (tried int) {
	t.Helper()
	for _, form := range []string{"name", "URN of the name", "alias", "URN of the alias"} {
		path, b := fresh()
		id, given := b[member].(string)
		if !given {
			id = path
		}
		if id == "" {
			t.Fatalf("%s: nobody knows a key for %s", operation, member)
		}
		name := w.describe(id).KeyAlias
		if strings.HasSuffix(form, "alias") {
			w.made++
			name = fmt.Sprintf("reference-%d", w.made)
			if a := w.ask("aliases", fmt.Sprintf(`{"key_id":%q,"alias":%q}`, id, name)); a.status != 201 {
				if a.code(t) == "KMS.0210" { // a key that waits for its deletion gets no more
					continue
				}
				t.Fatal(a.body)
			}
		}
		ref := "alias/" + name
		if strings.HasPrefix(form, "URN") {
			ref = "kms:" + fsmtest.Region + ":" + fsmtest.DomainID + ":alias:" + name
		}
		verb, text := operation, ""
		switch {
		case member == "path" && !strings.HasPrefix(form, "URN"):
			continue // the slash of alias/NAME would be one of the path
		case member == "path":
			verb, text = strings.ReplaceAll(verb, "{key_id}", ref), b.json()
		case strings.HasPrefix(operation, "GET"):
			verb += "?" + member + "=" + url.QueryEscape(ref)
		default:
			text = b.joined(body{member: ref}).json()
		}
		verb = strings.NewReplacer("{tag_key}", "stage", "POST ", "").Replace(verb)
		tried++
		a := w.ask(verb, text)
		if a.status/100 != 2 {
			t.Errorf("%s with the %s as %s: %d %s", operation, form, member, a.status, a.body)
			continue
		}
		var reply map[string]any
		if a.status != 204 && json.Unmarshal([]byte(a.body), &reply) == nil {
			if answered, is := reply["key_id"].(string); is && len(answered) != 36 {
				t.Errorf("%s with the %s as %s answers with the key %q", operation, form, member, answered)
			}
		}
	}
	return tried
}

// Every list says on its last page, in both ways, that it is the last, also
// when that page is full, and on no other page.
func TestEveryListEnds(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	w.createKey("other")
	w.must("rotate-on-demand", `{"key_id":"`+key+`"}`, nil)
	for _, alias := range []string{"one", "two"} {
		w.must("aliases", `{"key_id":"`+key+`","alias":"`+alias+`"}`, nil)
		w.must("create-grant", `{"key_id":"`+key+`","grantee_principal":"`+fsmtest.UserID+`","operations":["encrypt-data"]}`, nil)
	}
	lists := map[string]string{
		"list-keys": `"limit":"%d"`, "list-key-versions": `"key_id":"` + key + `","limit":"%d"`,
		"list-grants": `"key_id":"` + key + `","limit":"%d"`, "list-retirable-grants": `"limit":"%d"`,
	}
	for verb, e := range endpoints { // a list that nobody has put here
		_, reply := e.Types()
		if _, pages := reply.FieldByName("NextMarker"); pages && lists[verb] == "" {
			t.Errorf("%s has pages and is not tried", verb)
		}
	}
	for verb, asked := range lists {
		for limit, last := range map[int]bool{1: false, 2: true, 3: true} {
			var page struct {
				NextMarker *string `json:"next_marker"`
				Truncated  *string `json:"truncated"`
				Total      *int    `json:"total"`
			}
			text := w.must(verb, "{"+fmt.Sprintf(asked, limit)+"}", &page)
			if page.NextMarker == nil || page.Truncated == nil || page.Total == nil || *page.Total != 2 || (*page.NextMarker == "") != last || *page.Truncated != fmt.Sprint(!last) {
				t.Errorf("%s of %d: %s", verb, limit, text)
				continue
			}
			if last {
				continue
			}
			text = w.must(verb, "{"+fmt.Sprintf(asked, limit)+`,"marker":"`+*page.NextMarker+`"}`, &page)
			if *page.NextMarker != "" || *page.Truncated != "false" || *page.Total != 2 {
				t.Errorf("the second page of %s: %s", verb, text)
			}
		}
	}
	// Aliases say it by the marker alone, and by how many there are on the page.
	for limit, last := range map[int]bool{1: false, 2: true, 3: true} {
		var page wire.ListAliasesReply
		text := w.must(fmt.Sprintf("GET aliases?key_id=%s&limit=%d", key, limit), "", &page)
		if (page.PageInfo.NextMarker == "") != last || page.PageInfo.CurrentCount != min(limit, 2) || !strings.Contains(text, `"next_marker":`) {
			t.Errorf("aliases by %d: %s", limit, text)
		}
	}
	// A search pages by offsets: past the end there is an empty page, and no error.
	for offset, n := range map[int]int{0: 2, 1: 1, 2: 0, 3: 0} {
		var page struct {
			Resources *[]any `json:"resources"`
			Total     int    `json:"total_count"`
		}
		if text := w.must("resource_instances/action", fmt.Sprintf(`{"action":"filter","limit":2,"offset":%d}`, offset), &page); page.Resources == nil || len(*page.Resources) != n || page.Total != 2 {
			t.Errorf("from %d on: %s", offset, text)
		}
	}
}
