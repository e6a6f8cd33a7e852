package gate_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/gate"
)

// watchedListener counts how often deadlines of its connections are set.
type watchedListener struct {
	net.Listener
	reads, writes atomic.Int64
}

func (l *watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{Conn: conn, listener: l}, nil
}

type watchedConn struct {
	net.Conn
	listener *watchedListener
}

func (c *watchedConn) SetReadDeadline(t time.Time) error {
	c.listener.reads.Add(1)
	return c.Conn.SetReadDeadline(t)
}

func (c *watchedConn) SetWriteDeadline(t time.Time) error {
	c.listener.writes.Add(1)
	return c.Conn.SetWriteDeadline(t)
}

// connected returns both ends of a connection through a gate's listener.
func connected(t *testing.T) (served, client net.Conn, watched *watchedListener) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	watched = &watchedListener{Listener: inner}
	listener := newWorld(gate.Config{}).Listen(watched)
	t.Cleanup(func() { listener.Close() })
	if client, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if served, err = listener.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { served.Close() })
	return served, client, watched
}

func set(t *testing.T, by func(time.Time) error, to time.Time) {
	t.Helper()
	if err := by(to); err != nil {
		t.Fatal(err)
	}
}

func TestDeadlinesThatMoveOnAreNotArmed(t *testing.T) {
	served, _, watched := connected(t)
	now := time.Now()
	for i := range 1000 {
		at := now.Add(time.Duration(i) * time.Millisecond)
		set(t, served.SetReadDeadline, at.Add(15*time.Minute)) // of a request
		set(t, served.SetWriteDeadline, at.Add(15*time.Minute))
		set(t, served.SetReadDeadline, at.Add(90*time.Minute)) // of an idle connection
	}
	if reads, writes := watched.reads.Load(), watched.writes.Load(); reads != 1 || writes != 1 {
		t.Errorf("armed %d and %d times", reads, writes)
	}
}

func TestADeadlineThatMovedOnCountsFromWhereItIs(t *testing.T) {
	served, client, watched := connected(t)
	set(t, served.SetReadDeadline, time.Now().Add(20*time.Millisecond))
	begun := time.Now()
	set(t, served.SetReadDeadline, begun.Add(300*time.Millisecond))
	if n, err := served.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("a read ended after %s", took)
	}
	if armed := watched.reads.Load(); armed > 2 {
		t.Errorf("armed %d times", armed)
	}

	// It is over for good until it is moved, and then not.
	if _, err := served.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	set(t, served.SetReadDeadline, time.Now().Add(time.Hour))
	if n, err := served.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("after it was moved: %d bytes, %v", n, err)
	}
}

func TestADeadlineThatIsTakenBackNeverComes(t *testing.T) {
	served, client, _ := connected(t)
	set(t, served.SetDeadline, time.Now().Add(time.Millisecond))
	set(t, served.SetDeadline, time.Time{})
	time.AfterFunc(50*time.Millisecond, func() { _, _ = client.Write([]byte("x")) })
	if n, err := served.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestADeadlineInThePastEndsAReadUnderWay(t *testing.T) {
	served, _, _ := connected(t)
	set(t, served.SetReadDeadline, time.Now().Add(time.Hour))
	time.AfterFunc(20*time.Millisecond, func() { _ = served.SetReadDeadline(time.Now()) })
	if _, err := served.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestAWriteGoesOnWhereTheArmedDeadlineStoppedIt: what was written in part is
// neither lost nor written twice.
func TestAWriteGoesOnWhereTheArmedDeadlineStoppedIt(t *testing.T) {
	served, client, _ := connected(t)
	const size = 16 << 20 // more than the system keeps for who does not read
	set(t, served.SetWriteDeadline, time.Now().Add(20*time.Millisecond))
	set(t, served.SetWriteDeadline, time.Now().Add(time.Hour))
	sent := make([]byte, size)
	for i := range sent {
		sent[i] = byte(i / 7)
	}
	read := make(chan []byte, 1)
	time.AfterFunc(100*time.Millisecond, func() {
		got, _ := io.ReadAll(client)
		read <- got
	})
	if n, err := served.Write(sent); n != size || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	served.Close()
	if got := <-read; string(got) != string(sent) {
		t.Errorf("%d bytes came, or other ones", len(got))
	}

	served, _, _ = connected(t)
	set(t, served.SetWriteDeadline, time.Now().Add(time.Hour))
	set(t, served.SetWriteDeadline, time.Now().Add(50*time.Millisecond))
	if n, err := served.Write(sent); n == size || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("to nobody who reads: %d bytes, %v", n, err)
	}
}
