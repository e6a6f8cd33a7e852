package state_test

import (
	"fmt"
	"testing"

	"github.com/raftkms/raftkms/fsm/state"
)

// listed is a project of n keys of which some are disabled, made and changed
// and deleted as they come.
func listed(n int) *state.Root {
	x := state.NewRoot().Txn()
	for i := range n {
		k := &state.Key{ID: fmt.Sprintf("key-%06d", i), ProjectID: "p", Name: fmt.Sprint("name", i), Spec: []string{"AES_256", "SM4", "RSA_2048"}[i%3], State: state.Enabled, Sequence: uint64(i + 1)}
		x.PutKey(k)
		if i%7 == 0 {
			changed := *k
			changed.State = state.Disabled
			x.PutKey(&changed)
		}
		if i%11 == 0 {
			last, _ := x.Key(k.ID)
			x.DeleteKey(last)
		}
	}
	return x.Commit()
}

// Every page of every filter is what one gets by looking at every key, over the
// borders of blocks.
func TestKeyPages(t *testing.T) {
	root := listed(3000)
	for _, f := range []state.KeyFilter{{}, {State: state.Enabled}, {State: state.Disabled}, {Spec: "SM4"}, {State: state.Disabled, Spec: "RSA_2048"}, {State: state.PendingImport}, {Spec: "none"}} {
		want := root.Keys("p", 0, 3000, func(k *state.Key) bool {
			return (f.State == 0 || k.State == f.State) && (f.Spec == "" || k.Spec == f.Spec)
		})
		for _, offset := range []int{0, 1, 255, 256, 257, 1000, len(want) - 1, len(want), len(want) + 1} {
			if offset < 0 {
				continue
			}
			page, total := root.KeyPage("p", f, offset, 300)
			from := min(offset, len(want))
			rest := want[from:min(from+300, len(want))]
			if total != len(want) || len(page) != len(rest) {
				t.Fatalf("%+v after %d: %d keys of %d, want %d of %d", f, offset, len(page), total, len(rest), len(want))
			}
			for i := range rest {
				if page[i] != rest[i] {
					t.Fatalf("%+v after %d: key %d is %s, want %s", f, offset, i, page[i].ID, rest[i].ID)
				}
			}
		}
	}
	if page, total := root.KeyPage("another", state.KeyFilter{}, 0, 10); page != nil || total != 0 {
		t.Errorf("of another project: %v, %d", page, total)
	}
}

// BenchmarkKeyPage is a page of 100 keys in the middle, of those that are Disabled.
func BenchmarkKeyPage(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		root := listed(n)
		_, total := root.KeyPage("p", state.KeyFilter{State: state.Disabled}, 0, 1)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if page, _ := root.KeyPage("p", state.KeyFilter{State: state.Disabled}, total/4, 100); len(page) < 80 {
					b.Fatal(len(page))
				}
			}
		})
	}
}
