package membership_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/cluster/membership"
)

func TestMain(m *testing.M) {
	// A probe of memberlist outlives its Shutdown by the probe's timeout.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

func options(node string, key byte, label string) membership.Options {
	return membership.Options{
		Config: membership.Config{
			ListenAddress: "127.0.0.1:0",
			Key:           bytes.Repeat([]byte{key}, membership.KeySize),
			Label:         label,
			APIURL:        "https://" + node,
		},
		NodeID:         node,
		ClusterAddress: node + ":8441",
		Fatal:          func(error) {},
		Logger:         slog.New(slog.DiscardHandler),
	}
}

func gossip(t *testing.T, o membership.Options) *membership.Gossip {
	t.Helper()
	g, err := membership.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestMeet: nodes with the same key and label meet, and tell where they are.
func TestMeet(t *testing.T) {
	a, b := gossip(t, options("a", 1, "blue")), gossip(t, options("b", 1, "blue"))
	if err := b.Join("a", a.Address()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a to see b", func() bool { return len(a.Peers()) == 1 })
	want := membership.Peer{NodeID: "b", GossipAddress: b.Address(), ClusterAddress: "b:8441", APIURL: "https://b"}
	if got := a.Peers()[0]; got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// TestStrangers: with another key or another label nobody joins.
func TestStrangers(t *testing.T) {
	a := gossip(t, options("a", 1, "blue"))
	f := func(o membership.Options) {
		t.Helper()
		if err := gossip(t, o).Join("a", a.Address()); err == nil {
			t.Errorf("%s joined", o.NodeID)
		}
	}
	f(options("wrong-key", 2, "blue"))
	f(options("wrong-label", 1, "red"))
	if peers := a.Peers(); len(peers) != 0 {
		t.Fatalf("peers %+v", peers)
	}
}

// TestNameTwice: a name that two nodes keep claiming is fatal; one that
// is claimed once, as after a restart elsewhere, is not.
func TestNameTwice(t *testing.T) {
	fatal := make(chan error, 16)
	o := options("a", 1, "blue")
	o.ConflictGrace = 50 * time.Millisecond
	o.Fatal = func(err error) { fatal <- err }
	first := gossip(t, o)
	second := gossip(t, options("a", 1, "blue"))
	second.Join("a", first.Address())
	select {
	case err := <-fatal:
		t.Fatalf("fatal at the first sight: %v", err)
	default:
	}
	eventually(t, "the conflict to be fatal", func() bool {
		second.Join("a", first.Address())
		return len(fatal) > 0
	})
	if err := <-fatal; !strings.Contains(err.Error(), "goes by the name a") {
		t.Fatal(err)
	}
}
