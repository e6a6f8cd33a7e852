package keystone_test

import (
	"encoding/json"
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/keystone"
	"github.com/raftkms/raftkms/server/wire"
)

func TestProjectsAreFoundByName(t *testing.T) {
	w := newWorld(t)
	token := w.mustLogin()
	f := func(query string, want int) {
		t.Helper()
		a := w.ask(keystone.Projects, "GET", "/v3/projects"+query, "", "X-Auth-Token", token)
		var reply wire.ProjectsReply
		if err := json.Unmarshal([]byte(a.body), &reply); err != nil || a.status != 200 || len(reply.Projects) != want || reply.Projects == nil {
			t.Fatalf("%q: %d %s", query, a.status, a.body)
		}
		if want == 1 && (reply.Projects[0].ID != fsmtest.ProjectID || reply.Projects[0].Name != "region-1" || reply.Projects[0].DomainID != fsmtest.DomainID) {
			t.Errorf("%q: %s", query, a.body)
		}
	}
	f("", 1)
	f("?name=region-1", 1)
	f("?name=region-2", 0)
	f("?name=region-1&domain_id="+fsmtest.DomainID, 1)
	f("?domain_id=other", 0)
}

func TestDomains(t *testing.T) {
	w := newWorld(t)
	token := w.mustLogin()
	for query, want := range map[string]int{"": 1, "?name=account": 1, "?name=other": 0} {
		a := w.ask(keystone.Domains, "GET", "/v3/auth/domains"+query, "", "X-Auth-Token", token)
		var reply wire.DomainsReply
		if err := json.Unmarshal([]byte(a.body), &reply); err != nil || a.status != 200 || len(reply.Domains) != want {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
	}
}

// Both families of clients find their type, each with the form of address
// that it makes its own of.
func TestCatalog(t *testing.T) {
	w := newWorld(t)
	a := w.ask(keystone.Catalog, "GET", "/v3/auth/catalog", "", "X-Auth-Token", w.mustLogin())
	var reply wire.CatalogReply
	if err := json.Unmarshal([]byte(a.body), &reply); err != nil || a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	want := map[string][]string{
		"kms": {"region-1 https://kms.test/v1.0"}, "kmsv1": {"region-1 https://kms.test/v1.0/" + fsmtest.ProjectID},
		"cts": {"region-1 https://kms.test/v1.0/" + fsmtest.ProjectID}, "identity": {"* https://kms.test/v3", "region-1 https://kms.test/v3"},
	}
	for _, entry := range reply.Catalog {
		endpoints := want[entry.Type]
		if len(entry.Endpoints) != len(endpoints) {
			t.Errorf("%s: %+v", entry.Type, entry.Endpoints)
			continue
		}
		for i, e := range entry.Endpoints {
			if e.Region+" "+e.URL != endpoints[i] || e.RegionID != e.Region || e.Interface != "public" {
				t.Errorf("%s: %+v", entry.Type, e)
			}
		}
		delete(want, entry.Type)
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
}
