package server

import (
	"strings"
	"testing"
)

func TestEveryRouteIsFound(t *testing.T) {
	s := &Server{}
	routes := s.routes(nil)
	table := newRouteTable(routes)
	for _, r := range routes {
		path := strings.Replace(r.path, "{project_id}", "0123456789abcdef0123456789abcdef", 1)
		methods, project := table.find(path)
		if _, ok := methods[r.method]; !ok {
			t.Errorf("%s %s is not found", r.method, path)
		}
		if want := strings.Contains(r.path, "{project_id}"); (project != "") != want {
			t.Errorf("%s: project = %q", r.path, project)
		}
		if r.body <= 0 || r.body > table.largestBody() {
			t.Errorf("%s: a body limit of %d", r.path, r.body)
		}
	}
}

func TestUnknownPathsAreNotFound(t *testing.T) {
	table := newRouteTable((&Server{}).routes(nil))
	for _, path := range []string{"", "/v1.0//kms/create-key", "/v1.0/p/kms/", "/v1.0/p/kms/create-key/more", "/v1.0/p", "/v2.0/p/kms/create-key", "/livez/x", "/v1.0/{project_id}/kms/nothing"} {
		if methods, _ := table.find(path); methods != nil {
			t.Errorf("%q was found", path)
		}
	}
	if methods, _ := table.find("/v1.0/"); methods == nil {
		t.Error("/v1.0/ is not found: SDKs ask for it with the slash")
	}
}
