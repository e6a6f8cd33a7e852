package server

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/raftkms/raftkms/server/huawei"
)

// Every route of the Huawei-style dialect is described, and what is described
// is there.
func TestEveryRouteIsDescribed(t *testing.T) {
	var document struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(huawei.OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for path, item := range document.Paths {
		for method := range item {
			if method != "parameters" {
				described[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	served := map[string]bool{}
	for _, r := range (&Server{}).routes(nil) {
		if ofTheDialect(r.path) {
			served[r.method+" "+r.path] = true
		}
	}
	for _, what := range slices.Sorted(maps.Keys(served)) {
		if !described[what] {
			t.Errorf("%s is served, but openapi.yaml does not describe it", what)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(described)) {
		if !served[what] {
			t.Errorf("%s is described in openapi.yaml, but not served", what)
		}
	}
}

// ofTheDialect tells the paths of the Huawei-style dialect from those of
// operations and of the identity service, which are described elsewhere.
func ofTheDialect(path string) bool {
	switch {
	case slices.Contains([]string{"/livez", "/readyz", "/leader", "/nodes", "/metrics"}, path):
		return false
	case strings.HasPrefix(path, "/v3/{project_id}/traces"):
		return true
	}
	return path != "/v3" && !strings.HasPrefix(path, "/v3/") && !strings.HasPrefix(path, "/v3.0/")
}
