package huawei_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

// fill gives the project so many keys: one in five is Disabled, one in ten is
// of the stage test, half are of the team a and half of the team b.
func (w *world) fill(keys int) {
	w.t.Helper()
	x := w.replica.Root().Txn()
	for i := range keys {
		key := &state.Key{
			ID: fillerID(i), ProjectID: fsmtest.ProjectID, DomainID: fsmtest.DomainID, Name: fmt.Sprintf("service-%d/orders", i), Spec: "AES_256",
			Usage: "ENCRYPT_DECRYPT", Origin: "kms", Level: 1, State: state.Enabled, PrimaryVersion: 1, Versions: 1,
			CreatorID: fsmtest.UserID, Created: fsmtest.Start, Sequence: uint64(i) + 1,
			Tags: []state.Tag{{Key: "number", Value: fmt.Sprint(i)}, {Key: "stage", Value: "live"}, {Key: "team", Value: []string{"a", "b"}[i/3%2]}},
		}
		if i%5 == 0 {
			key.State = state.Disabled
		}
		if i%10 == 0 {
			key.Tags[1].Value = "test"
		}
		x.PutKey(key)
	}
	var file bytes.Buffer
	if _, err := snapshot.Write(&file, x.Commit()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.replica.machine.Restore(&file); err != nil {
		w.t.Fatal(err)
	}
	runtime.GC()
}

func fillerID(i int) string { return uuid.NewSHA1(uuid.Nil, fmt.Appendf(nil, "filler %d", i)).String() }

// BenchmarkAmongManyKeys asks a project of 1,000 keys and one of 100,000 the
// same by turns, over HTTP, and prints the median times and their ratio.
func BenchmarkAmongManyKeys(b *testing.B) {
	sizes := [2]int{1000, 100_000}
	var worlds [2]*world
	for i, keys := range sizes {
		worlds[i] = newWorld(b)
		worlds[i].fill(keys)
	}
	f := func(name, verb, body string) {
		b.Run(name, func(b *testing.B) {
			var took [2][]time.Duration
			for round := range max(b.N, 100) {
				for i, w := range worlds {
					replacer := strings.NewReplacer("KEY", fillerID(sizes[i]/2), "NAME", fmt.Sprintf("service-%d/orders", sizes[i]/2),
						"MIDDLE", fmt.Sprint(sizes[i]/2), "TENTH", fmt.Sprint(sizes[i]/20), "ROUND", fmt.Sprint(round%10))
					text := replacer.Replace(body)
					began := time.Now()
					a := w.ask(verb, text)
					took[i] = append(took[i], time.Since(began))
					if a.status != 200 || len(a.body) < 15 {
						b.Fatalf("%s %s: %d %s", verb, text, a.status, a.body)
					}
				}
			}
			for i := range took {
				slices.Sort(took[i])
			}
			few, many := took[0][len(took[0])/2], took[1][len(took[1])/2]
			b.ReportMetric(float64(few.Nanoseconds())/1e3, "µs-of-1000")
			b.ReportMetric(float64(many.Nanoseconds())/1e3, "µs-of-100000")
			b.ReportMetric(float64(many)/float64(few), "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
	const find = "resource_instances/action"
	f("describe", "describe-key", `{"key_id":"KEY"}`)
	f("describe-by-alias", "describe-key", `{"key_id":"alias/NAME"}`)
	f("list", "list-keys", `{"limit":"10"}`)
	f("list-100-from-the-middle", "list-keys", `{"limit":"100","marker":"MIDDLE"}`)
	f("list-of-a-state", "list-keys", `{"limit":"10","key_state":"3","key_spec":"AES_256","marker":"TENTH"}`)
	f("tag", find, `{"action":"filter","limit":10,"offset":"TENTH","tags":[{"key":"stage","values":["test"]}]}`)
	f("tags-and", find, `{"action":"filter","limit":10,"tags":[{"key":"stage","values":["test"]},{"key":"team","values":["a"]}]}`)
	f("tags-or", find, `{"action":"filter","limit":10,"tags":[{"key":"team","values":["a","b"]}]}`)
	f("tags-and-or", find, `{"action":"filter","limit":10,"tags":[{"key":"stage","values":["live","test"]},{"key":"team","values":["a","b"]},{"key":"number","values":[]}]}`)
	f("tags-count", find, `{"action":"count","tags":[{"key":"stage","values":["live"]},{"key":"team","values":["a"]}]}`)
	f("tag-and-name", find, `{"action":"filter","limit":10,"tags":[{"key":"stage","values":["test"]}],"matches":[{"key":"resource_name","value":"orders"}]}`)
	f("name", find, `{"action":"filter","limit":10,"matches":[{"key":"resource_name","value":"77"}]}`)
	f("name-another-each-time", find, `{"action":"filter","limit":10,"matches":[{"key":"resource_name","value":"4ROUND"}]}`)
	f("longer-name-another-each-time", find, `{"action":"filter","limit":10,"matches":[{"key":"resource_name","value":"service-4ROUND"}]}`)
}
