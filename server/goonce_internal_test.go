package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raftkms/raftkms/client"
)

// cutter is in front of a node, and loses the answers to some requests: it ends
// the connection instead of bringing them.
type cutter struct {
	net.Listener
	node string
	lose atomic.Bool // the next bytes from the node, once
	lost atomic.Int64
	all  sync.WaitGroup
}

func newCutter(t *testing.T, node string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cutter{Listener: listener, node: node}
	c.all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			c.all.Go(func() { c.carry(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		c.all.Wait()
	})
	return c
}

func (c *cutter) carry(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", c.node)
	if err != nil {
		return
	}
	defer to.Close()
	c.all.Go(func() {
		_, _ = io.Copy(to, from)
		to.Close()
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := to.Read(buffer)
		if n > 0 && c.lose.CompareAndSwap(true, false) {
			c.lost.Add(1)
			return
		}
		if _, failed := from.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

// The answer to a change is lost, the client asks another node, and what it
// wanted is there once.
func TestChangesWhoseAnswersAreLost(t *testing.T) {
	c := newTrio(t)
	cfg := c.goConfig()
	cfg.Refresh = -1 // the members' own addresses are not those of the cutters
	var cutters []*cutter
	for i, endpoint := range cfg.Endpoints {
		cutters = append(cutters, newCutter(t, strings.TrimPrefix(endpoint, "https://")))
		cfg.Endpoints[i] = "https://" + cutters[i].Addr().String()
	}
	k, err := client.New(cfg)
	must(t, err)
	defer k.Close()
	ctx := context.Background()
	key, err := k.CreateKey(ctx, client.NewKey{Name: "granted"})
	must(t, err)
	for range cutters { // so that there are connections to all
		must(t, k.DescribeAs(ctx, key, "d"))
	}
	lost := func() (sum int64) {
		for _, cut := range cutters {
			sum += cut.lost.Load()
		}
		return sum
	}
	// At each node in turn: it is passed over for a while when it has lost one.
	ids := make(map[string]bool)
	const rounds = 3
	for i := range rounds {
		cutters[i%len(cutters)].lose.Store(true)
		for j := range cutters { // one of these is lost, if the node is not passed over
			id, err := k.CreateKey(ctx, client.NewKey{Name: fmt.Sprintf("made-%d-%d", i, j)})
			must(t, err)
			ids[id] = true
			grant, err := k.CreateGrant(ctx, client.NewGrant{Key: key, Grantee: c.founded.UserID, Operations: []string{"encrypt-data"}})
			must(t, err)
			ids[grant] = true
			must(t, k.RotateKey(ctx, key))
		}
	}
	if lost() == 0 {
		t.Error("no answer was lost")
	}
	must(t, c.nodes[0].member.Load().service.Current(ctx))
	root := c.nodes[0].machine.State()
	if got := root.KeyCount(c.founded.ProjectID); got != 1+3*rounds {
		t.Errorf("%d keys, want %d", got, 1+3*rounds)
	}
	if got, _ := root.Key(key); got.Grants != 3*rounds || got.Rotations != 3*rounds {
		t.Errorf("%d grants and %d rotations, want %d", got.Grants, got.Rotations, 3*rounds)
	}
	if len(ids) != 2*3*rounds {
		t.Errorf("%d ids were told, want %d", len(ids), 2*3*rounds)
	}
	t.Logf("%d answers were lost", lost())
}
