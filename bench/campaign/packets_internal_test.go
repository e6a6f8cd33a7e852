package campaign

import (
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// What our client sends through a node's door goes over the network of packets, as
// what all other callers send does: where that is cut it does not arrive.
func TestOurClientComesInByADoor(t *testing.T) {
	if trouble := nemesis.PacketTrouble(); trouble != nil {
		t.Logf("there are no doors here: %v", trouble)
		return
	}
	const id = "node-1"
	port, err := freePort(1)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{dir: t.TempDir(), starter: nemesis.NewStarter(), network: nemesis.NewNetwork(func(*net.TCPAddr) string { return callers })}
	defer func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}()
	c.processes = append(c.processes, c.starter.NewProcess(id, os.DevNull))
	if err := c.house(); err != nil {
		t.Fatal(err)
	}
	if err := c.layOut(id, "none", port); err != nil {
		t.Fatal(err)
	}
	var node net.Listener
	err = c.packets.Space(id).In(func() (err error) {
		node, err = net.Listen("tcp", c.addresses(id, port).apiListen)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan struct{})
	go func() {
		defer close(answers)
		for {
			conn, err := node.Accept()
			if err != nil {
				return // closed
			}
			_, _ = io.WriteString(conn, "here")
			conn.Close()
		}
	}()
	defer func() { node.Close(); <-answers }()
	asked := func() string {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.endpoints()[0], "https://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetReadDeadline(time.Now().Add(doorPatience + 30*time.Second)); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(conn)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	if got := asked(); got != "here" {
		t.Errorf("through the door comes %q", got)
	}
	c.packets.Cut(callers, id)
	if got := asked(); got != "" {
		t.Errorf("through a network that is cut comes %q", got)
	}
	c.packets.Heal()
	if got := asked(); got != "here" {
		t.Errorf("after the healing comes %q", got)
	}
	if c.network.Unknown() != 0 {
		t.Error("callers are of unknown origin")
	}
}
