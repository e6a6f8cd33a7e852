package gate_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/gate"
)

// world is a gate with a clock that a test moves.
type world struct {
	*gate.Gate
	now time.Time
}

func newWorld(cfg gate.Config) *world {
	w := &world{now: time.Unix(1_700_000_000, 0)}
	w.Gate = gate.New(cfg, func() time.Time { return w.now })
	return w
}

func TestFailuresOfOneAddress(t *testing.T) {
	w := newWorld(gate.Config{Failures: 6})
	fail := func(source string, times int) (untraced int) {
		for range times {
			if w.Failed(source) {
				untraced++
			}
		}
		return untraced
	}
	if n := fail("192.0.2.1", 60); n != 0 || w.MayTry("192.0.2.1") {
		t.Errorf("%d of the first 60 are not traced, and a password may be tried: %v", n, w.MayTry("192.0.2.1"))
	}
	if n := fail("192.0.2.1", 5); n != 5 {
		t.Errorf("%d of 5 more are not traced", n)
	}
	if !w.MayTry("192.0.2.2") || fail("192.0.2.2", 1) != 0 {
		t.Error("another address pays for it")
	}
	if got := w.Untraced(); len(got) != 1 || got[netip.MustParseAddr("192.0.2.1")] != 5 || len(w.Untraced()) != 0 {
		t.Errorf("untraced: %v", got)
	}
	w.now = w.now.Add(10 * time.Second)
	if !w.MayTry("192.0.2.1") || fail("192.0.2.1", 2) != 1 {
		t.Error("six a minute is one in ten seconds")
	}
	if w.Count(gate.Failures) != 6 || w.Count(gate.Logins) == 0 {
		t.Errorf("counted %d failures, %d logins", w.Count(gate.Failures), w.Count(gate.Logins))
	}
	if fail("admin socket", 1000) != 0 {
		t.Error("what comes from no address is limited")
	}
}

// Requests that are too many of a user are told of together as well, but are no
// failures: passwords from there are looked at as before.
func TestThrottledIsNotFailed(t *testing.T) {
	w := newWorld(gate.Config{Failures: 6})
	together := 0
	for range 100 {
		if w.Throttled("192.0.2.1") {
			together++
		}
	}
	if together != 40 || !w.MayTry("192.0.2.1") || w.Failed("192.0.2.1") {
		t.Errorf("%d of 100 are told of together, and a password may be tried: %v", together, w.MayTry("192.0.2.1"))
	}
	if got := w.Untraced(); got[netip.MustParseAddr("192.0.2.1")] != 40 {
		t.Errorf("untraced: %v", got)
	}
}

// A client that has a whole IPv6 network is one, and so is one that comes as
// IPv4 over IPv6.
func TestWhoIsOneClient(t *testing.T) {
	w := newWorld(gate.Config{Failures: 1})
	for i := range 10 {
		w.Failed(fmt.Sprintf("2001:db8::%d", i+1))
	}
	if w.MayTry("2001:db8::ffff") || !w.MayTry("2001:db8:0:1::1") {
		t.Error("a client is not its /64")
	}
	for range 10 {
		w.Failed("::ffff:192.0.2.1")
	}
	if w.MayTry("192.0.2.1") {
		t.Error("one address in two spellings is two clients")
	}
}

// However many addresses fail, only so many are told by name.
func TestUntracedIsBounded(t *testing.T) {
	w := newWorld(gate.Config{Failures: 1})
	for i := range 1000 {
		for range 11 {
			w.Failed(netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}).String())
		}
	}
	total := int64(0)
	told := w.Untraced()
	for _, n := range told {
		total += n
	}
	if len(told) > 257 || total != 1000 || told[netip.Addr{}] == 0 {
		t.Errorf("%d addresses with %d failures", len(told), total)
	}
}

func TestRates(t *testing.T) {
	w := newWorld(gate.Config{UserRate: 10, AddressRate: 20})
	admitted := func(n int, ask func() bool) (yes int) {
		for range n {
			if ask() {
				yes++
			}
		}
		return yes
	}
	user := func(id string) func() bool { return func() bool { return w.AdmitUser(id) } }
	address := func() bool { return w.AdmitAddress(netip.MustParseAddr("192.0.2.1")) }
	if n := admitted(50, user("ada")); n != 10 {
		t.Errorf("a user: %d of 50", n)
	}
	if n := admitted(50, user("bob")); n != 10 {
		t.Errorf("another user: %d of 50", n)
	}
	if n := admitted(50, address); n != 20 {
		t.Errorf("an address: %d of 50", n)
	}
	w.now = w.now.Add(500 * time.Millisecond)
	if n := admitted(50, user("ada")); n != 5 {
		t.Errorf("half a second later: %d of 50", n)
	}
	if w.Count(gate.Users) != 40+40+45 || w.Count(gate.Addresses) != 30 {
		t.Errorf("counted %d and %d", w.Count(gate.Users), w.Count(gate.Addresses))
	}
	free := newWorld(gate.Config{})
	if n := admitted(100_000, func() bool { return free.AdmitUser("ada") && free.AdmitAddress(netip.MustParseAddr("192.0.2.1")) }); n != 100_000 {
		t.Errorf("without a limit: %d of 100000", n)
	}
}

func TestConnectionsOfOneAddress(t *testing.T) {
	w := newWorld(gate.Config{Connections: 2})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := w.Listen(inner)
	accepted := make(chan net.Conn, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	defer func() { listener.Close(); <-done }()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	dial()
	dial()
	first, _ := <-accepted, <-accepted
	// The third is closed without a word.
	third := dial()
	if err := third.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := third.Read(make([]byte, 1)); n != 0 || (err != io.EOF && !isReset(err)) {
		t.Errorf("a connection too many reads %d bytes, %v", n, err)
	}
	if w.Count(gate.Connections) != 1 {
		t.Errorf("counted %d", w.Count(gate.Connections))
	}
	// A place is given back once, however often it is closed.
	first.Close()
	first.Close()
	dial()
	<-accepted
	fifth := dial()
	if err := fifth.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fifth.Read(make([]byte, 1)); err != io.EOF && !isReset(err) {
		t.Errorf("one place was given back twice: %v", err)
	}
}

func isReset(err error) bool {
	op, ok := err.(*net.OpError)
	return ok && !op.Timeout()
}
