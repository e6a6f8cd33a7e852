package audit_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/server/audit"
)

// Of every user the newest trace that fits, whatever the size of a page; and
// only of the names that are asked for.
func TestSearchForEachUser(t *testing.T) {
	const n = 300
	log, _ := filled(t, n) // the user is that of the record: told apart by their ids here
	byUser := func(i int, user, name string) {
		t.Helper()
		r := *varied(i)
		r.User.ID, r.TraceName, r.ResourceID = user, name, "shared"
		if err := log.Append(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		byUser(1000+i, fmt.Sprintf("u%d", i%5), []string{"createDataKey", "describeKey"}[i/100])
	}
	byUser(1200, "", "createDataKey") // nobody is known
	f := func(names []string, want ...string) {
		t.Helper()
		for _, limit := range []int{1, 3, 5, 100} {
			a, err := log.Search(t.Context(), audit.Query{ResourceID: "shared", EachUser: true, Names: names, Limit: limit})
			if err != nil || len(a.Damaged) > 0 {
				t.Fatal(err, a.Damaged)
			}
			if diff := cmp.Diff(ids(t, a.Found), want[:min(limit, len(want))]); diff != "" || (a.Next == 0) != (limit >= len(want)) {
				t.Errorf("%v, %d at a time: next %d, -got +want\n%s", names, limit, a.Next, diff)
			}
		}
	}
	f(nil, "request-1199", "request-1198", "request-1197", "request-1196", "request-1195")
	f([]string{"createDataKey", "sign"}, "request-1099", "request-1098", "request-1097", "request-1096", "request-1095")
	f([]string{"sign"})
}

// A condition that is longer than its field is named, at exactly one byte more.
func TestOverlongConditions(t *testing.T) {
	var named []string
	f := func(set func(q *audit.Query, value string)) {
		t.Helper()
		var q audit.Query
		set(&q, strings.Repeat("a", 10_000))
		name, most, is := q.Overlong()
		if !is || name == "" || most < 64 {
			t.Fatalf("%q %d %v", name, most, is)
		}
		named = append(named, name)
		set(&q, strings.Repeat("a", most+1))
		if again, _, is := q.Overlong(); !is || again != name {
			t.Errorf("%s of %d bytes passes", name, most+1)
		}
		set(&q, strings.Repeat("a", most))
		if _, _, is := q.Overlong(); is {
			t.Errorf("%s of %d bytes does not pass", name, most)
		}
	}
	f(func(q *audit.Query, v string) { q.TraceName = v })
	f(func(q *audit.Query, v string) { q.Rating = v })
	f(func(q *audit.Query, v string) { q.Type = v })
	f(func(q *audit.Query, v string) { q.Service = v })
	f(func(q *audit.Query, v string) { q.ResourceType = v })
	f(func(q *audit.Query, v string) { q.ResourceID = v })
	f(func(q *audit.Query, v string) { q.ResourceName = v })
	f(func(q *audit.Query, v string) { q.SourceIP = v })
	f(func(q *audit.Query, v string) { q.RequestID = v })
	f(func(q *audit.Query, v string) { q.ProjectID = v })
	f(func(q *audit.Query, v string) { q.UserID = v })
	f(func(q *audit.Query, v string) { q.UserName = v })
	f(func(q *audit.Query, v string) { q.DomainID = v })
	f(func(q *audit.Query, v string) { q.AccessKeyID = v })
	f(func(q *audit.Query, v string) { q.Code = v })
	slices.Sort(named)
	if n := len(slices.Compact(named)); n != 15 {
		t.Errorf("%d names: %v", n, named)
	}
}

// What is as long as its field allows is written whole, and found.
func TestTheLongestConditionIsFound(t *testing.T) {
	log, _ := open(t, small(t.TempDir()))
	long := func(n int) string { return strings.Repeat("é", n/2) }
	r := record
	r.ResourceName, r.User.Name, r.ResourceID, r.RequestID = long(256), long(256), long(128), long(128)
	if err := log.Append(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	for _, q := range []audit.Query{{ResourceName: long(256)}, {UserName: long(256)}, {ResourceID: long(128)}, {RequestID: long(128)}} {
		q.Limit = 10
		if a, err := log.Search(t.Context(), q); err != nil || len(a.Found) != 1 {
			t.Errorf("%d found, %v", len(a.Found), err)
		}
	}
}
