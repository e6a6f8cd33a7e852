package huawei_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/wire"
)

// node is a part of the document, and the document to resolve references in.
type node struct {
	root, at map[string]any
}

func (n node) child(name string) node {
	child, _ := n.at[name].(map[string]any)
	return node{n.root, child}.resolved()
}

// resolved follows a reference; what stands beside it is about words only.
func (n node) resolved() node {
	ref, ok := n.at["$ref"].(string)
	if !ok {
		return n
	}
	at := n.root
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at, _ = at[name].(map[string]any)
	}
	return node{n.root, at}.resolved()
}

// types are the JSON types that a schema allows, sorted.
func (n node) types() []string {
	switch t := n.at["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var all []string
		for _, one := range t {
			all = append(all, fmt.Sprint(one))
		}
		slices.Sort(all)
		return all
	}
	return nil
}

// The members of every request and reply are those of the Go types, with their
// types, and the other way round.
func TestTheDocumentHasTheTypes(t *testing.T) {
	var root map[string]any
	if err := yaml.Unmarshal(huawei.OpenAPI(), &root); err != nil {
		t.Fatal(err)
	}
	document := node{root, root}
	// Two operations may share a Go type of which one lacks a member.
	without := map[string]string{
		"sign": "signature", "generate-mac": "mac", "create-datakey-without-plaintext": "plain_text", "create-datakeys-without-plaintext": "plain_text",
		"list-retirable-grants": "-", "aliases": "-",
	}
	check := func(method, verb string, e huawei.Endpoint) {
		t.Helper()
		operation := document.child("paths").child("/v1.0/{project_id}/kms/" + verb).child(strings.ToLower(method))
		if operation.at == nil {
			t.Errorf("%s %s is not described", method, verb)
			return
		}
		request, reply := e.Types()
		where := method + " " + verb
		if method == "GET" {
			compareQuery(t, where, operation, request)
		} else if body := operation.child("requestBody"); body.at != nil || request != reflect.TypeFor[wire.NoRequest]() {
			compare(t, where+" request", body.child("content").child("application/json").child("schema"), request, without[verb], true)
		}
		found := false
		for _, status := range []string{"200", "201", "204"} {
			answer := operation.child("responses").child(status)
			if answer.at == nil {
				continue
			}
			found = true
			schema := answer.child("content").child("application/json").child("schema")
			if one, ok := schema.at["oneOf"].([]any); ok { // an object, or a list of it
				schema = node{root, one[0].(map[string]any)}.resolved()
			}
			if schema.at != nil || reply != reflect.TypeFor[wire.EmptyReply]() {
				compare(t, where+" reply", schema, reply, without[verb], false)
			}
		}
		if !found {
			t.Errorf("%s: no success is described", where)
		}
	}
	for verb, e := range endpoints {
		check("POST", verb, e)
	}
	for asked, e := range others {
		method, verb, _ := strings.Cut(asked, " ")
		check(method, verb, e)
	}
	for path, e := range map[string]huawei.Endpoint{
		"/v3/{project_id}/traces": huawei.ListTraces, "/v3/{project_id}/traces/follow": huawei.FollowTraces,
		"/v2.0/{project_id}/{tracker_name}/trace": huawei.ListTracesOfTracker, "/v1.0/{project_id}/{tracker_name}/trace": huawei.ListTracesOfTracker,
	} {
		traces := document.child("paths").child(path).child("get")
		request, reply := e.Types()
		compareQuery(t, path, traces, request)
		compare(t, path+" reply", traces.child("responses").child("200").child("content").child("application/json").child("schema"), reply, "", false)
	}
}

// compareQuery holds the arguments of a query against a request's members.
func compareQuery(t *testing.T, where string, operation node, request reflect.Type) {
	t.Helper()
	described := map[string]any{}
	list, _ := operation.at["parameters"].([]any)
	for _, one := range list {
		p := node{operation.root, one.(map[string]any)}.resolved()
		described[p.at["name"].(string)] = p.at["schema"]
	}
	if request == reflect.TypeFor[wire.NoRequest]() && len(described) == 0 {
		return
	}
	compare(t, where+" query", node{operation.root, map[string]any{"type": "object", "properties": described}}, request, "", true)
}

// compare holds a schema against a Go type; one member may be missing in the schema.
func compare(t *testing.T, where string, schema node, goType reflect.Type, missing string, isRequest bool) {
	t.Helper()
	if goType.Kind() == reflect.Pointer {
		goType = goType.Elem()
	}
	want := jsonTypes(goType, isRequest)
	got := slices.DeleteFunc(schema.types(), func(s string) bool { return s == "null" })
	if !slices.Equal(got, want) {
		t.Errorf("%s: described as %v, Go has %v (%v)", where, got, want, goType)
		return
	}
	switch {
	case goType.Kind() == reflect.Slice && want[0] == "array":
		compare(t, where+"[]", schema.child("items"), goType.Elem(), missing, isRequest)
	case want[0] == "object" && len(want) == 1:
		members := map[string]reflect.Type{}
		gather(goType, members)
		properties := schema.child("properties")
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if name == missing {
				continue
			}
			if property := properties.child(name); property.at == nil {
				t.Errorf("%s: %s is not described", where, name)
			} else {
				compare(t, where+"."+name, property, members[name], missing, isRequest)
			}
		}
		for name := range properties.at {
			if _, known := members[name]; !known {
				t.Errorf("%s: %s is described, but Go does not have it", where, name)
			}
		}
		required, _ := schema.at["required"].([]any)
		for _, name := range required {
			if properties.at[fmt.Sprint(name)] == nil {
				t.Errorf("%s: %s is required, but not described", where, name)
			}
		}
	}
}

// gather collects the members of an object by their names on the wire.
func gather(goType reflect.Type, into map[string]reflect.Type) {
	for i := range goType.NumField() {
		f := goType.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			gather(f.Type, into)
		case name != "-":
			into[name] = f.Type
		}
	}
}

// jsonTypes are the types that a Go type has on the wire, sorted.
func jsonTypes(goType reflect.Type, isRequest bool) []string {
	switch goType {
	case reflect.TypeFor[wire.FlexInt]():
		if isRequest {
			return []string{"integer", "string"}
		}
		return []string{"integer"}
	case reflect.TypeFor[wire.FlexString]():
		return []string{"integer", "string"}
	case reflect.TypeFor[wire.FlexBool]():
		return []string{"boolean", "string"}
	case reflect.TypeFor[wire.Context]():
		return []string{"object", "string"}
	case reflect.TypeFor[wire.Hex](), reflect.TypeFor[wire.LowerHex](), reflect.TypeFor[wire.Base64](), reflect.TypeFor[wire.Text]():
		return []string{"string"}
	}
	switch goType.Kind() {
	case reflect.Bool:
		return []string{"boolean"}
	case reflect.Int, reflect.Int64:
		return []string{"integer"}
	case reflect.Slice:
		return []string{"array"}
	case reflect.Struct:
		return []string{"object"}
	}
	return []string{"string"}
}

// What the document calls required is what a reply always has: an empty reply
// of each type has it.
func TestRequiredMembersAreAlwaysThere(t *testing.T) {
	var root map[string]any
	if err := yaml.Unmarshal(huawei.OpenAPI(), &root); err != nil {
		t.Fatal(err)
	}
	document := node{root, root}
	for verb, e := range endpoints {
		_, reply := e.Types()
		operation := document.child("paths").child("/v1.0/{project_id}/kms/" + verb).child("post")
		schema := operation.child("responses").child("200").child("content").child("application/json").child("schema")
		required, _ := schema.at["required"].([]any)
		var members map[string]any
		if err := json.Unmarshal(reflect.Zero(reply).Interface().(wire.Reply).AppendJSON(nil), &members); err != nil {
			t.Fatal(err)
		}
		for _, name := range required {
			if _, there := members[fmt.Sprint(name)]; !there && !(verb == "create-datakey" && name == "plain_text") {
				t.Errorf("%s: %s is required, but not always there", verb, name)
			}
		}
	}
}
