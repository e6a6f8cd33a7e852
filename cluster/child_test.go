package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/cluster/transport"
)

// childEnv makes this test's binary a node; its value is a childConfig.
const childEnv = "RAFTKMS_TEST_NODE"

type childConfig struct {
	NodeID, ClusterID, DataDir, Advertise string
	Certificate, Key, Authority           []byte
}

// childRequest is a line on a child's standard input, childReply one on its
// output; replies come in any order.
type childRequest struct {
	ID       uint64
	Op       string // bootstrap, add, propose, read, serve, leads
	Arg, At  string
	Patience time.Duration
}

type childReply struct {
	ID    uint64
	Value string
	Err   string
}

// runChild is the whole life of a child; it ends with its input.
func runChild(encoded string) error {
	var cfg childConfig
	if err := json.Unmarshal([]byte(encoded), &cfg); err != nil {
		return err
	}
	identity, err := transport.NewIdentity(cfg.ClusterID, cfg.NodeID, cfg.Certificate, cfg.Key, cfg.Authority)
	if err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(3, "cluster port"))
	if err != nil {
		return err
	}
	timing := clustertest.Timing()
	timing.Heartbeat, timing.Election, timing.LeaderLease = 200*time.Millisecond, 200*time.Millisecond, 150*time.Millisecond
	machine := clustertest.NewMachine()
	node, err := cluster.Open(context.Background(), cluster.Config{
		NodeID: cfg.NodeID, ClusterID: cfg.ClusterID, DataDir: cfg.DataDir, Identity: identity,
		Listener: listener, AdvertiseAddress: cfg.Advertise,
		Gossip: membership.Config{ListenAddress: "127.0.0.1:0", Key: make([]byte, membership.KeySize)},
		Timing: timing,
		Fatal:  func(err error) { fmt.Fprintln(os.Stderr, cfg.NodeID, "stopped:", err) },
		Logger: slog.New(slog.DiscardHandler),
	}, machine)
	if err != nil {
		return err
	}
	serve := func(ctx context.Context, r childRequest) (string, error) {
		switch r.Op {
		case "bootstrap":
			return "", node.Bootstrap(ctx)
		case "add":
			return "", node.AddNonvoter(ctx, r.Arg, r.At)
		case "propose":
			_, err := node.Propose(ctx, []byte(r.Arg))
			return "", err
		case "read":
			_, err := node.Barrier(ctx)
			return machine.Value(r.Arg), err
		case "serve":
			if !node.Serving() {
				return "", errors.New("no lease")
			}
			return machine.Value(r.Arg), nil
		case "leads":
			voters := 0
			members, err := node.Members(ctx)
			for _, m := range members {
				if m.Voter {
					voters++
				}
			}
			return fmt.Sprint(node.IsLeader(), voters), err
		}
		return "", fmt.Errorf("unknown request %q", r.Op)
	}
	var mu sync.Mutex
	replies := json.NewEncoder(os.Stdout)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var r childRequest
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), r.Patience)
			defer cancel()
			reply := childReply{ID: r.ID}
			var err error
			if reply.Value, err = serve(ctx, r); err != nil {
				reply.Err = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			replies.Encode(reply)
		}()
	}
	return nil // the process ends; its parent has no more use for it
}

// child is a node in a process of its own.
type child struct {
	id, advertise string
	cmd           *exec.Cmd
	in            io.WriteCloser
	exited        chan struct{}

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
}

// answer is a reply, and when it came.
type answer struct {
	childReply
	came time.Time
}

func startChild(t *testing.T, ca clustertest.Authority, id string) *child {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	listener.Close() // the child has it
	c := &child{
		id: id, advertise: startRelay(t, listener.Addr().String()),
		exited: make(chan struct{}), waiting: make(map[uint64]chan answer),
	}
	cfg := childConfig{NodeID: id, ClusterID: ca.ClusterID, DataDir: filepath.Join(t.TempDir(), id), Advertise: c.advertise, Authority: ca.CertDER}
	cfg.Certificate, cfg.Key = ca.Issue(t, id)
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.cmd = exec.Command(os.Args[0])
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(encoded))
	c.cmd.ExtraFiles = []*os.File{file}
	c.cmd.Stderr = t.Output()
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // even while it is stopped
	c.in, err = c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go c.receive(out)
	t.Cleanup(func() {
		c.cmd.Process.Kill()
		<-c.exited
		c.cmd.Wait()
	})
	return c
}

func (c *child) receive(out io.Reader) {
	defer close(c.exited)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var reply childReply
		if json.Unmarshal(lines.Bytes(), &reply) != nil {
			continue
		}
		c.mu.Lock()
		c.waiting[reply.ID] <- answer{reply, time.Now()}
		delete(c.waiting, reply.ID)
		c.mu.Unlock()
	}
}

// ask sends a request; the reply is waited for by the result.
func (c *child) ask(r childRequest) func() (answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	r.ID = c.last
	reply := make(chan answer, 1)
	c.waiting[r.ID] = reply
	line, err := json.Marshal(r)
	if err == nil {
		_, err = c.in.Write(append(line, '\n'))
	}
	return func() (answer, error) {
		if err != nil {
			return answer{}, err
		}
		select {
		case got := <-reply:
			if got.Err != "" {
				return got, fmt.Errorf("%s: %s", c.id, got.Err)
			}
			return got, nil
		case <-c.exited:
			return answer{}, fmt.Errorf("%s has exited", c.id)
		}
	}
}

func (c *child) do(op, arg, at string, patience time.Duration) (string, error) {
	got, err := c.ask(childRequest{Op: op, Arg: arg, At: at, Patience: patience})()
	return got.Value, err
}

// startRelay passes connections on to target, everything a little later.
func startRelay(t *testing.T, target string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	pump := func(to, from net.Conn) {
		type chunk struct {
			data []byte
			due  time.Time
		}
		chunks := make(chan chunk, 1024)
		wg.Go(func() {
			defer to.Close()
			for c := range chunks {
				time.Sleep(time.Until(c.due))
				to.Write(c.data)
			}
		})
		defer close(chunks)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			if n > 0 {
				chunks <- chunk{data[:n], time.Now().Add(linkDelay)}
			}
			if err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", target)
			if err != nil {
				from.Close()
				continue
			}
			context.AfterFunc(ctx, func() { from.Close(); to.Close() })
			wg.Go(func() { pump(to, from) })
			wg.Go(func() { pump(from, to) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		cancel()
		wg.Wait()
	})
	return listener.Addr().String()
}
