package cluster_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster/clustertest"
)

const (
	// tortureEnv is how many pauses TestPausedLeader makes instead of ten, all of
	// longPause then, so that a hundred take about ten minutes.
	tortureEnv = "RAFTKMS_TORTURE"

	shortPause = 1200 * time.Millisecond // six elections
	longPause  = 5 * time.Second         // as long as a request may take, too
	linkDelay  = 30 * time.Millisecond   // in each direction
)

// trio is three children that are one cluster.
type trio struct {
	t            *testing.T
	nodes        []*child
	acknowledged atomic.Int64 // the highest value of k that a node acknowledged
}

func startTrio(t *testing.T) *trio {
	t.Helper()
	ca := clustertest.NewAuthority(t, "paused")
	c := &trio{t: t}
	for i := range 3 {
		c.nodes = append(c.nodes, startChild(t, ca, fmt.Sprintf("node-%d", i+1)))
	}
	if _, err := c.nodes[0].do("bootstrap", "", "", clustertest.Patience); err != nil {
		t.Fatalf("bootstrapping: %v", err)
	}
	c.leader(1)
	for _, n := range c.nodes[1:] {
		if _, err := c.nodes[0].do("add", n.id, n.advertise, clustertest.Patience); err != nil {
			t.Fatalf("adding %s: %v", n.id, err)
		}
	}
	return c
}

// leader waits until one leads, and that many know that they all have a vote.
func (c *trio) leader(voters int) *child {
	c.t.Helper()
	for end := time.Now().Add(clustertest.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var leader *child
		know := 0
		for _, n := range c.nodes {
			switch got, _ := n.do("leads", "", "", time.Second); got {
			case fmt.Sprint(true, voters):
				leader = n
				know++
			case fmt.Sprint(false, voters):
				know++
			}
		}
		if leader != nil && know == voters {
			return leader
		}
	}
	c.t.Fatalf("waited in vain for a leader of %d", voters)
	return nil
}

// write makes k count up by way of a node until stop closes. Only one writer
// runs at a time.
func (c *trio) write(by *child, next *atomic.Int64, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		value := next.Add(1) // never again: an attempt of unknown outcome may come later
		if _, err := by.do("propose", fmt.Sprintf("k=%d", value), "", 3*time.Second); err == nil {
			c.acknowledged.Store(value)
		}
	}
}

// TestPausedLeader is the scenario that breaks raft.VerifyLeader: a leader is
// stopped for longer than an election takes, on links with some delay, so that
// answers to heartbeats from before are waiting when it wakes up. It wakes up
// with reads to answer, before it can know that it was replaced.
func TestPausedLeader(t *testing.T) {
	t.Parallel()
	pauses := 10
	if more := os.Getenv(tortureEnv); more != "" {
		var err error
		if pauses, err = strconv.Atoi(more); err != nil || pauses < 1 {
			t.Fatalf("%s=%q: want a number of pauses", tortureEnv, more)
		}
	}
	c := startTrio(t)
	var next atomic.Int64
	var reads, refused, stale, early int
	for i := range pauses {
		length := shortPause
		if os.Getenv(tortureEnv) != "" || i%5 == 4 {
			length = longPause
		}
		paused := c.leader(3)
		writer := c.nodes[0]
		if writer == paused {
			writer = c.nodes[1]
		}
		stop := make(chan struct{})
		var writing sync.WaitGroup
		before := c.acknowledged.Load()
		signal := func(s syscall.Signal) {
			t.Helper()
			if err := paused.cmd.Process.Signal(s); err != nil {
				t.Fatalf("signalling %s: %v", paused.id, err)
			}
		}
		signal(syscall.SIGSTOP)
		stopped := time.Now()
		writing.Go(func() { c.write(writer, &next, stop) })
		time.Sleep(length)
		for c.acknowledged.Load() == before { // a busy machine elects slowly
			if time.Since(stopped) > clustertest.Patience {
				t.Fatal("no write was acknowledged while the leader was stopped")
			}
			time.Sleep(10 * time.Millisecond)
		}

		type read struct {
			floor int64 // acknowledged before it was asked for
			sent  time.Time
			wait  func() (answer, error)
		}
		var asked []read
		ask := func() {
			floor := c.acknowledged.Load()
			asked = append(asked, read{floor, time.Now(), paused.ask(childRequest{Op: "read", Arg: "k", Patience: 5 * time.Second})})
		}
		ask() // it is there when the process goes on
		signal(syscall.SIGCONT)
		for range 40 {
			ask()
			time.Sleep(time.Millisecond)
		}
		for _, r := range asked {
			reads++
			got, err := r.wait()
			if err != nil {
				refused++
				continue
			}
			if got.came.Sub(r.sent) < 2*linkDelay { // nobody can have been asked in between
				early++
			}
			if value, _ := strconv.ParseInt(got.Value, 10, 64); value < r.floor {
				stale++
			}
		}
		close(stop)
		writing.Wait()
	}
	t.Logf("%d pauses, %d reads, %d refused, %d answered too early, %d stale; %d writes", pauses, reads, refused, early, stale, c.acknowledged.Load())
	if stale > 0 || early > 0 {
		t.Errorf("%d of %d reads by way of a leader that had been paused were stale, %d came too early to be sure", stale, reads, early)
	}
	if refused > reads/2 {
		t.Errorf("%d of %d reads were refused", refused, reads)
	}
}
