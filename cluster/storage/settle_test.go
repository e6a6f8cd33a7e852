package storage_test

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// TestSettle: entries before a snapshot stay when its last entry is among them,
// and go when it is not, or is another leader's; those behind it stay.
func TestSettle(t *testing.T) {
	f := func(name string, first, last, index, term, kept uint64) {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			for i := first; i <= last; i++ {
				if err := s.Log.StoreLog(&raft.Log{Index: i, Term: 2}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Settle(index, term); err != nil {
				t.Fatal(err)
			}
			for i := first; i <= last; i++ {
				err := s.Log.GetLog(i, new(raft.Log))
				if want := i >= kept; want != (err == nil) || !want && !errors.Is(err, raft.ErrLogNotFound) {
					t.Errorf("entry %d: %v, want kept: %t", i, err, want)
				}
			}
		})
	}
	f("an empty log", 1, 0, 7, 3, 0)
	f("the last entry is there", 1, 9, 7, 2, 1)
	f("another leader's is there", 1, 9, 7, 3, 8)
	f("the log ends before it", 1, 6, 7, 3, 7)
	f("the log begins behind it", 8, 9, 7, 3, 8)
}
