package server

import (
	"net"
	"testing"
)

// All that is open is closed, and what comes later; what was closed before is
// forgotten.
func TestConnectionsAreLetGo(t *testing.T) {
	var all connections
	pipe := func() (near, far net.Conn) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		return all.note(ours), theirs
	}
	over := func(conn net.Conn) bool {
		_, err := conn.Read(make([]byte, 1))
		return err != nil
	}
	first, _ := pipe()
	_, second := pipe()
	if err := first.Close(); err != nil || len(all.open) != 1 {
		t.Errorf("%v; %d open after one of two was closed", err, len(all.open))
	}
	all.close()
	_, third := pipe()
	if !over(second) || !over(third) || len(all.open) != 0 {
		t.Errorf("%d open at the end", len(all.open))
	}
}
