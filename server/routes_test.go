package server

import (
	"slices"
	"strings"
	"testing"
)

func TestEveryRouteIsFound(t *testing.T) {
	routes := (&Server{}).routes(nil)
	table := newRouteTable(routes)
	for _, r := range routes {
		path, values := r.path, map[string]string{}
		for name := range valueNames(r.path) {
			values[name] = "value-of-" + name
			path = strings.Replace(path, "{"+name+"}", values[name], 1)
		}
		found, got := table.find(r.method, path)
		if found == nil || found.path != r.path || found.method != r.method {
			t.Errorf("%s %s is not found, but %v", r.method, path, found)
		}
		for name, want := range values {
			if got.get(name) != want {
				t.Errorf("%s: %s is %q, want %q", r.path, name, got.get(name), want)
			}
		}
		if got.get("nothing") != "" {
			t.Errorf("%s has a value for a name that it does not have", r.path)
		}
		if r.body <= 0 || r.body > table.largestBody() {
			t.Errorf("%s: a body limit of %d", r.path, r.body)
		}
	}
}

// valueNames yields the names in braces of a path.
func valueNames(path string) map[string]bool {
	names := map[string]bool{}
	for _, segment := range strings.Split(path, "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			names[strings.TrimSuffix(name, "}")] = true
		}
	}
	return names
}

func TestUnknownPathsAreNotFound(t *testing.T) {
	table := newRouteTable((&Server{}).routes(nil))
	for _, path := range []string{"", "v1.0", "/v1.0//kms/create-key", "/v1.0/p/kms/", "/v1.0/p/kms/create-key/more", "/v1.0/p", "/v2.0/p/kms/create-key", "/livez/x", "/v1.0/{project_id}/kms/nothing"} {
		if methods := table.methods(path); len(methods) != 0 {
			t.Errorf("%q takes %v", path, methods)
		}
		for _, method := range []string{"GET", "POST"} {
			if r, _ := table.find(method, path); r != nil {
				t.Errorf("%s %q was found", method, path)
			}
		}
	}
	if r, _ := table.find("GET", "/v1.0/"); r == nil {
		t.Error("/v1.0/ is not found: SDKs ask for it with the slash")
	}
}

// Literals come before values, and a path that one of them takes with another
// method is still looked for among the others.
func TestLiteralsComeFirst(t *testing.T) {
	table := newRouteTable([]route{
		{"GET", "/p/{key_id}/tags", 1, nil},
		{"POST", "/p/{key_id}/tags/action", 1, nil},
		{"DELETE", "/p/{key_id}/tags/{tag_key}", 1, nil},
		{"GET", "/p/tags", 1, nil},
		{"POST", "/p/instances/action", 1, nil},
	})
	f := func(method, path, wantPath, wantKey, wantTag string, wantMethods ...string) {
		t.Helper()
		r, v := table.find(method, path)
		got := ""
		if r != nil {
			got = r.path
		}
		if got != wantPath || v.get("key_id") != wantKey || v.get("tag_key") != wantTag {
			t.Errorf("%s %s: %q key=%q tag=%q", method, path, got, v.get("key_id"), v.get("tag_key"))
		}
		if methods := table.methods(path); !slices.Equal(methods, wantMethods) {
			t.Errorf("%s takes %v, want %v", path, methods, wantMethods)
		}
	}
	f("GET", "/p/tags", "/p/tags", "", "", "GET")
	f("GET", "/p/tags/tags", "/p/{key_id}/tags", "tags", "", "GET")
	f("POST", "/p/k/tags/action", "/p/{key_id}/tags/action", "k", "", "DELETE", "POST")
	f("DELETE", "/p/k/tags/action", "/p/{key_id}/tags/{tag_key}", "k", "action", "DELETE", "POST")
	f("DELETE", "/p/k/tags/other", "/p/{key_id}/tags/{tag_key}", "k", "other", "DELETE")
	f("DELETE", "/p/k/tags/a/b", "", "", "")
	f("POST", "/p/instances/action", "/p/instances/action", "", "", "POST")
	f("GET", "/p/instances/tags", "/p/{key_id}/tags", "instances", "", "GET")
	f("PUT", "/p/k/tags", "", "", "", "GET")
}

func TestFindAllocatesNothing(t *testing.T) {
	table := newRouteTable((&Server{}).routes(nil))
	path := "/v1.0/0123456789abcdef0123456789abcdef/kms/create-datakey-without-plaintext"
	if n := testing.AllocsPerRun(100, func() {
		if r, v := table.find("POST", path); r == nil || v.get("project_id") == "" {
			t.Fatal("not found")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
