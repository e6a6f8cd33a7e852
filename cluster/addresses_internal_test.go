package cluster

import (
	"os"
	"testing"
)

// TestAddressBook: the newest address of every member is there after a restart,
// that of nobody else; a book that cannot be read is begun anew.
func TestAddressBook(t *testing.T) {
	dir := t.TempDir()
	open := func(damaged bool) *addressBook {
		t.Helper()
		b, err := openAddresses(dir)
		if (err != nil) != damaged {
			t.Fatalf("opening: %v", err)
		}
		return b
	}
	f := func(b *addressBook, node, want string) {
		t.Helper()
		if got := b.of(node); got != want {
			t.Errorf("%s is at %q, not at %q", node, got, want)
		}
	}
	note := func(b *addressBook, now map[string]string, without string) {
		t.Helper()
		if err := b.note(now, func(nodeID string) bool { return nodeID != without }); err != nil {
			t.Fatal(err)
		}
	}
	b := open(false)
	f(b, "a", "")
	note(b, map[string]string{"a": "h:1", "b": "h:2", "c": ""}, "")
	note(b, map[string]string{"a": "h:3"}, "")
	b = open(false)
	f(b, "a", "h:3")
	f(b, "b", "h:2") // not seen now, but it was
	f(b, "c", "")
	note(b, map[string]string{"a": "h:3", "b": "h:2"}, "b")
	f(open(false), "b", "")
	if err := os.WriteFile(b.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b = open(true)
	f(b, "a", "")
	note(b, map[string]string{"a": "h:4"}, "")
	f(open(false), "a", "h:4")
}
