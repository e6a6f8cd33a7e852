package state_test

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/raftkms/raftkms/fsm/state"
)

// The walk over what is sealed comes by every record once, in whatever steps,
// and says at a step's end whether there is more.
func TestWalkOverWhatIsSealed(t *testing.T) {
	x := state.NewRoot().Txn()
	x.PutCluster(&state.Cluster{ID: "c"})
	var want []string
	want = append(want, "*state.Cluster")
	for i := range 7 {
		x.PutAccessKey(&state.AccessKey{ID: fmt.Sprint("AK", i)})
		want = append(want, "*state.AccessKey")
	}
	for i := range 3 {
		x.PutAuthenticator(&state.Authenticator{UserID: fmt.Sprint("u", i)})
		want = append(want, "*state.Authenticator")
	}
	for i := range 5 {
		key := &state.Key{ID: fmt.Sprint("k", i), ProjectID: "p", Sequence: uint64(i + 1), State: state.Enabled}
		switch i {
		case 1:
			key.Fingerprint = []byte{1}
			want = append(want, "*state.Key")
		case 3:
			key.ImportPairs = []state.ImportPair{{TokenID: []byte{1}}}
			want = append(want, "*state.Key")
		}
		x.PutKey(key)
	}
	for i := range 5 {
		for number := range uint32(i) {
			x.PutVersion(&state.Version{KeyID: fmt.Sprint("k", i), Number: number + 1})
			want = append(want, "*state.Version")
		}
	}
	root := x.Commit()
	if n := root.SealedCount(); n != 1+7+3+5+10 {
		t.Errorf("%d records are counted", n)
	}
	for _, step := range []int{1, 2, 3, 7, 26, 1000} {
		var got []string
		seen := make(map[any]bool)
		var at state.SealedPlace
		for n := 0; ; n++ {
			records, last, more := root.NextSealed(at, step)
			for _, r := range records {
				if seen[r] {
					t.Fatalf("in steps of %d: %T %+v comes twice", step, r, r)
				}
				seen[r] = true
				got = append(got, reflect.TypeOf(r).String())
			}
			if !more {
				break
			}
			if at = last; n > 100 {
				t.Fatal("the walk has no end")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in steps of %d: %v, want %v", step, got, want)
		}
	}
	if records, _, more := state.NewRoot().NextSealed(state.SealedPlace{}, 10); len(records) != 0 || more {
		t.Errorf("an empty state has %v", records)
	}
}

// sealedFields are the fields of records that depend on the root keys; whoever
// adds one has the walk and what is done with it (verifying, rotating the roots)
// deal with it.
var sealedFields = []string{
	"AccessKey.SealedSecret",
	"Authenticator.NextSealed",
	"Authenticator.Sealed",
	"Cluster.Canary",
	"Cluster.RootNextCanary",
	"Cluster.RootOldCanary",
	"Cluster.SealedCAKey",
	"Cluster.SealedCAKeyNext",
	"Cluster.SealedGossip",
	"Cluster.SealedGossipOther",
	"ImportPair.Blob",
	"ImportPair.MAC",
	"Key.Fingerprint",
	"Key.ImportPairs",
	"Version.Blob",
	"Version.MAC",
}

// Every record of every table is looked at.
func TestNoSealedFieldIsForgotten(t *testing.T) {
	sealed := regexp.MustCompile(`Seal|Blob|MAC|Canary|Fingerprint|ImportPair|Wrapped|Secret|Encrypted`)
	var got []string
	seen := make(map[reflect.Type]bool)
	var look func(r reflect.Type)
	look = func(r reflect.Type) {
		for r.Kind() == reflect.Pointer || r.Kind() == reflect.Slice {
			r = r.Elem()
		}
		if r.Kind() != reflect.Struct || seen[r] {
			return
		}
		seen[r] = true
		for i := range r.NumField() {
			f := r.Field(i)
			if sealed.MatchString(f.Name) && r.Name() != "BlobPrint" && f.Type != reflect.TypeFor[[]state.BlobPrint]() && f.Name != "GossipStaged" {
				got = append(got, r.Name()+"."+f.Name)
			}
			look(f.Type)
		}
	}
	puts := reflect.TypeFor[*state.Txn]()
	for i := range puts.NumMethod() {
		if m := puts.Method(i); regexp.MustCompile(`^Put`).MatchString(m.Name) {
			look(m.Type.In(1))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, sealedFields) {
		t.Errorf("fields that look as if they depended on the root keys:\n%q\nknown:\n%q", got, sealedFields)
	}
}
