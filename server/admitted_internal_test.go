package server

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// A node takes whom its state has with that key, and whoever was vouched for
// after all that its state knows: a node that was down while the leader was
// admitted, or admitted anew, must be able to learn of it from that leader.
func TestWhoIsAdmitted(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	s := &Server{machine: m.Machine}
	node := m.State().Nodes()[0]
	known := [sha256.Size]byte(node.TLSKey)
	other := sha256.Sum256([]byte("another key"))
	now := time.UnixMilli(m.State().Now())
	f := func(id string, key [sha256.Size]byte, issued time.Time, want bool) {
		t.Helper()
		if got := s.admitted(id, key, issued); got != want {
			t.Errorf("%s with the key %x, signed %s after what the state knows: admitted %t, want %t", id, key[:4], issued.Sub(now), got, want)
		}
	}
	f(node.ID, known, now.Add(-time.Hour), true)
	f(node.ID, known, now.Add(time.Hour), true)
	f(node.ID, other, now.Add(-time.Hour), false)
	f(node.ID, other, now.Add(time.Hour), true) // it was removed and has joined anew
	f(node.ID, other, now, true)                // at the same moment, as far as clocks tell
	f("stranger", other, now.Add(-time.Hour), false)
	f("stranger", other, now.Add(time.Hour), true) // it has joined meanwhile
	f("stranger", known, now.Add(-time.Hour), false)
	s.machine = fsm.New()
	f("stranger", other, now.Add(-time.Hour), true) // the state is empty
}
