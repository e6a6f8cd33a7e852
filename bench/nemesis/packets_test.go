package nemesis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// packets is a network until the end of the test; nil where there can be none,
// which has to be told.
func packets(t *testing.T, names ...string) *nemesis.Packets {
	t.Helper()
	n, err := nemesis.NewPackets(names...)
	if trouble := nemesis.PacketTrouble(); trouble != nil {
		if err == nil {
			t.Errorf("a network of packets where %v", trouble)
		}
		return nil
	}
	must(t, err)
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

// port is a UDP socket at an end.
func port(t *testing.T, n *nemesis.Packets, end string) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	must(t, n.Space(end).In(func() (err error) {
		conn, err = net.ListenPacket("udp4", netip.AddrPortFrom(n.Address(end), 7000).String())
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// got are the numbers of the datagrams that have arrived, in their order, when
// so many are there, or none comes for a while.
func got(t *testing.T, conn net.PacketConn, many int, patience time.Duration) (numbers []byte) {
	t.Helper()
	buf := make([]byte, 100)
	for len(numbers) < many {
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		_, _, err := conn.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return numbers
		}
		must(t, err)
		numbers = append(numbers, buf[0])
	}
	return numbers
}

func TestPacketsAreLostLateAndOvertaken(t *testing.T) {
	n := packets(t, "a", "b", "c")
	if n == nil {
		return
	}
	a, b := port(t, n, "a"), port(t, n, "b")
	const many = 100
	send := func(from net.PacketConn, to string) {
		t.Helper()
		for i := range byte(many) {
			_, err := from.WriteTo([]byte{i}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(n.Address(to), 7000)))
			must(t, err)
		}
	}
	all := func(what string) {
		t.Helper()
		send(a, "b")
		if numbers := got(t, b, many, ever); len(numbers) != many || !slices.IsSorted(numbers) {
			t.Errorf("%s %d of %d packets arrived: %v", what, len(numbers), many, numbers)
		}
	}
	all("through an open network")

	n.Cut("a", "b")
	send(a, "b")
	if numbers := got(t, b, many, never); len(numbers) != 0 || n.Lost() != many {
		t.Errorf("%d packets came through a cut, %d count as lost", len(numbers), n.Lost())
	}
	send(b, "a")
	if numbers := got(t, a, many, ever); len(numbers) != many {
		t.Errorf("%d packets came on the way that is not cut", len(numbers))
	}
	n.Mend("a", "b")
	all("after a cut, which is not to deliver what was lost,")

	n.Cut("a", "c")
	n.Cut("c", "b")
	all("while other ends' links are cut,")
	n.Heal()

	n.Impair("a", "b", nemesis.Impairment{Loss: 0.3})
	lost := n.Lost()
	send(a, "b")
	if numbers := got(t, b, many, 10*never); len(numbers) == 0 || len(numbers) == many || int64(len(numbers)) != many-(n.Lost()-lost) {
		t.Errorf("of %d packets %d arrived, %d count as lost", many, len(numbers), n.Lost()-lost)
	}
	n.Heal()

	n.Impair("a", "b", nemesis.Impairment{Delay: never, Jitter: never})
	begin := time.Now()
	send(a, "b")
	if numbers := got(t, b, many, ever); len(numbers) != many || slices.IsSorted(numbers) || time.Since(begin) < never {
		t.Errorf("%d packets came after %s in the order %v", len(numbers), time.Since(begin), numbers)
	}
	n.Impair("a", "b", nemesis.Impairment{Delay: time.Hour})
	send(a, "b")
	n.Heal()
	if numbers := got(t, b, many, ever); len(numbers) != many || !slices.IsSorted(numbers) {
		t.Errorf("%d late packets came at the healing, in the order %v", len(numbers), numbers)
	}
	lost = n.Lost()
	n.Impair("a", "b", nemesis.Impairment{Delay: time.Hour})
	send(a, "b")
	n.Cut("a", "b")
	await(t, "the loss of what is on its way", func() bool { return n.Lost() == lost+many })
	n.Heal()
	all("when those on their way were cut off,")

	const rate = 29 * many * 4 // bytes a second: a quarter of a second for all of them
	n.Impair("a", "b", nemesis.Impairment{Rate: rate})
	begin = time.Now()
	all("over a narrow link")
	if took := time.Since(begin); took < time.Second/4 {
		t.Errorf("%d bytes took %s at %d a second", 29*many, took, rate)
	}
	n.Impair("a", "b", nemesis.Impairment{Delay: time.Hour}) // Close must not wait for it
	send(a, "b")
}

// A connection is made over the network, stands still while packets are lost,
// and goes on afterwards; what is big arrives whole.
func TestConnectionsGoOverPackets(t *testing.T) {
	n := packets(t, "a", "b")
	if n == nil {
		return
	}
	var listener net.Listener
	address := netip.AddrPortFrom(n.Address("b"), 7000).String()
	must(t, n.Space("b").In(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}))
	done := make(chan struct{})
	t.Cleanup(func() { listener.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.Copy(conn, conn)
	}()
	conn, err := n.Dialer("a")(t.Context(), "tcp", address)
	must(t, err)
	defer conn.Close()
	if !says(t, conn, "ping", ever) {
		t.Fatal("nothing comes through an open network")
	}
	n.Cut("b", "a")
	if says(t, conn, "ping", never) {
		t.Error("an answer came through a cut")
	}
	n.Heal()
	if !says(t, conn, "", ever) {
		t.Error("TCP did not send again what was lost")
	}
	n.Impair("a", "b", nemesis.Impairment{Jitter: 10 * time.Millisecond, Loss: 0.05})
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<12)
	go func() { _, _ = conn.Write(sent) }() // ends when all is back, or the connection is closed
	must(t, conn.SetReadDeadline(time.Now().Add(ever)))
	back := make([]byte, len(sent))
	_, err = io.ReadFull(conn, back)
	if must(t, err); !bytes.Equal(back, sent) {
		t.Error("what came back is not what was sent")
	}
}

// Processes live in namespaces that go with the network, and a space for all
// addresses of a network can be had meanwhile.
func TestAProcessLivesInASpace(t *testing.T) {
	n := packets(t, "a", "b")
	if n == nil {
		return
	}
	space, err := nemesis.NewSpace(n.Address("a"), n.Address("b"))
	must(t, err)
	defer func() { must(t, space.Close()) }()
	f := func(inside *nemesis.Space, address netip.Addr) {
		t.Helper()
		var listener net.Listener
		must(t, inside.In(func() (err error) {
			listener, err = net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
			return err
		}))
		defer listener.Close()
		p := process(t, starter(t), "a", "dial", listener.Addr().String())
		p.Settle(inside)
		must(t, p.Start())
		conn, err := listener.Accept()
		must(t, err)
		defer conn.Close()
		_, err = io.ReadFull(conn, make([]byte, 5))
		must(t, err, p.Kill())
	}
	f(n.Space("a"), n.Address("a"))
	f(n.Space("a"), netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	f(space, n.Address("a"))
	f(space, n.Address("b"))
}

func TestPacketsOfCallersAreLost(t *testing.T) {
	n := cluster(t)
	ended, end := context.WithCancel(context.Background())
	end() // one round
	if err := n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.PacketLoss)); err == nil || !strings.Contains(err.Error(), "callers") {
		t.Errorf("packets of callers that are no part of the network are lost: %v", err)
	}
	network := &linksLog{}
	n.Links, n.Callers = network, "callers"
	kinds := slices.Concat(nemesis.PacketKinds(), nemesis.NetworkKinds())
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, kinds...)))
	for _, f := range n.Recorder.History().Faults {
		want := 1
		switch nemesis.Kind(f.Kind) {
		case nemesis.PacketLoss, nemesis.Overtaking, nemesis.Narrow, nemesis.Shatter, nemesis.OneWayRing, nemesis.Swizzle, nemesis.SlowNetwork, nemesis.Lossy:
			want = 3
		case nemesis.SplitPair, nemesis.StrandOne:
			want = 2
		}
		if len(f.Nodes) != want {
			t.Errorf("recorded %+v", f)
		}
	}
	network.done = nil
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.Alone)))
	want := []string{"n2>n1", "n1>n2", "n2>n3", "n3>n2", "n2>callers", "callers>n2"}
	if !slices.Equal(network.done, want) {
		t.Errorf("a leader that is alone: %v, want %v", network.done, want)
	}
	network.done = nil
	must(t, n.Run(ended, nemesis.NewSchedule(1, time.Millisecond, nemesis.Unanswering)))
	if len(network.done) != 3 || !strings.HasSuffix(network.done[2], ">callers") {
		t.Errorf("a node that does not answer: %v", network.done)
	}
}

// linksLog writes down which links are cut.
type linksLog struct{ done []string }

func (l *linksLog) Cut(from, to string)                       { l.done = append(l.done, fmt.Sprintf("%s>%s", from, to)) }
func (l *linksLog) Impair(string, string, nemesis.Impairment) {}
func (l *linksLog) Mend(string, string)                       {}
func (l *linksLog) Heal()                                     {}
