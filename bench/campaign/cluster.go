package campaign

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// Patience with processes; generous, since the machine may be slow and busy.
const (
	foundPatience   = 2 * time.Minute
	recoverPatience = 90 * time.Second
	stopPatience    = 30 * time.Second
	statusPatience  = 2 * time.Second
	pollPeriod      = 25 * time.Millisecond
)

// The ports of a node, as offsets from its first. The first three are those of
// kmsd dev; the fourth is that of the relay to the second.
const (
	clusterPort  = 1
	gossipPort   = 2
	relayPort    = 3
	portsPerNode = 10
)

// cluster is a running cluster, all of whose processes are this package's.
type cluster struct {
	dir       string
	file      *devfile.File
	starter   *nemesis.Starter
	processes []*nemesis.Process
	sockets   []*admin.Socket
	network   *nemesis.Network // relays; of callers, where there are packets
	packets   *nemesis.Packets // instead of relays; nil: relays it is
	wire      *os.File         // what packets there were; nil: none
	doors     []string         // of each node, where our client can be told no other way; see house
	devices   map[string]nemesis.Device
	rooms     map[string]nemesis.Rooms
	supplies  map[string]nemesis.Supply
	volumes   []*nemesis.Volume
	fresh     []atomic.Int64 // how often each node has begun anew
	leaders   leaders
}

// found makes a cluster in dir with kmsd dev, and starts its nodes again as
// processes of its own. Close ends it.
func found(ctx context.Context, cfg Config) (*cluster, error) {
	kmsd, dir, nodes, module := cfg.Kmsd, cfg.Dir, cfg.Scenario.Nodes, cmp.Or(cfg.Scenario.Module, softModule)
	ctx, cancel := context.WithTimeout(ctx, foundPatience)
	defer cancel()
	port, err := freePort(nodes)
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir, starter: nemesis.NewStarter(), fresh: make([]atomic.Int64, nodes)}
	for i := range nodes {
		id := "node-" + strconv.Itoa(i+1)
		c.sockets = append(c.sockets, admin.Open(filepath.Join(dir, id, "admin.sock")))
		c.processes = append(c.processes, c.starter.NewProcess(id, c.logFile(id), kmsd, "serve", "--config", filepath.Join(dir, id, "kmsd.yaml")))
	}
	c.network = nemesis.NewNetwork(func(a *net.TCPAddr) string {
		if c.packets != nil {
			return callers
		}
		if owner := nemesis.OwnerOf(a, c.processes); owner != nil {
			return owner.ID()
		}
		return ""
	})
	if cfg.Scenario.Packets {
		if err := c.house(); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	if err := c.furnish(cfg.Scenario.Kinds); err != nil {
		return nil, errors.Join(err, c.close())
	}
	for i, p := range c.processes {
		if err := c.layOut(p.ID(), module, port+portsPerNode*i); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	err = c.runDev(ctx, kmsd, module, nodes, port)
	for i, p := range c.processes {
		if err == nil && module != softModule {
			err = c.misfit(p.ID(), port+portsPerNode*i, cfg.Device)
		}
	}
	for _, p := range c.processes {
		if err == nil {
			err = p.Start()
		}
	}
	if err == nil {
		err = c.ready(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("founding a cluster: %w", err), c.close())
	}
	return c, nil
}

// settings of a node as kmsd dev would write them, but for the address under
// which the other nodes reach it. kmsd dev keeps a configuration that is there.
const settings = `node: {id: %[1]s, data_dir: %[2]s/data, admin_socket: %[2]s/admin.sock}
api: {listen: "%[3]s", advertise: "https://%[4]s"}
cluster: {listen: "%[5]s", advertise: "%[6]s", join_token_file: %[2]s/join-token}
gossip: {listen: "%[7]s", advertise: "%[7]s"}
module: {kind: soft}
` + moreSettings

// moreSettings are those that kmsd dev leaves alone: the clusters of campaigns
// erase at once, and trace each refusal by itself.
const moreSettings = `keys: {deletion_minimum: 1s, erasure_pause: 1s}
limits: {failures: 1000000}
`

// layOut writes a node's configuration and starts the relay to it.
func (c *cluster) layOut(id, module string, port int) error {
	target := loopback(port + clusterPort)
	if c.packets != nil {
		target = c.addresses(id, port).api
		c.doors = append(c.doors, "https://"+loopback(port+relayPort))
	}
	if err := c.network.Relay(id, loopback(port+relayPort), target); err != nil {
		return err
	}
	if module != softModule {
		return nil // kmsd dev does, with the HSM
	}
	dir := filepath.Join(c.dir, id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of %s: %w", id, err)
	}
	a := c.addresses(id, port)
	text := fmt.Sprintf(settings, id, dir, a.apiListen, a.api, a.clusterListen, a.cluster, a.gossip)
	if err := os.WriteFile(filepath.Join(dir, "kmsd.yaml"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the configuration of %s: %w", id, err)
	}
	return nil
}

// softModule is the module that needs no device.
const softModule = "soft"

// misfit gives a node that kmsd dev has laid out an HSM that misbehaves, has it
// advertise the relay to it, and has [moreSettings] count.
func (c *cluster) misfit(id string, port int, device func(dir, library string) (string, nemesis.Device, error)) error {
	dir := filepath.Join(c.dir, id)
	path := filepath.Join(dir, "kmsd.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the configuration of %s: %w", id, err)
	}
	_, after, _ := strings.Cut(string(text), "library: ")
	library, _, found := strings.Cut(after, "\n")
	if !found || device == nil {
		return fmt.Errorf("%s has no PKCS #11 library, or there is none that misbehaves", id)
	}
	faulty, d, err := device(dir, library)
	if err != nil {
		return err
	}
	if c.devices == nil {
		c.devices = make(map[string]nemesis.Device)
	}
	c.devices[id] = d
	changed := strings.NewReplacer(
		"library: "+library, "library: "+faulty,
		"advertise: "+loopback(port+clusterPort), "advertise: "+loopback(port+relayPort),
	).Replace(string(text)) + moreSettings
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		return fmt.Errorf("writing the configuration of %s: %w", id, err)
	}
	return nil
}

// runDev has kmsd dev make the cluster, and ends it.
func (c *cluster) runDev(ctx context.Context, kmsd, module string, nodes, port int) error {
	space, err := c.foundingSpace()
	if err != nil {
		return err
	}
	if space != nil {
		defer space.Close() // nothing can be done about an error, nor has to be
	}
	dev := c.starter.NewProcess("kmsd dev", filepath.Join(c.dir, "dev.log"),
		kmsd, "dev", "--dir", c.dir, "--nodes", strconv.Itoa(nodes), "--module", module, "--port", strconv.Itoa(port))
	dev.Settle(space)
	if err := dev.Start(); err != nil {
		return err
	}
	for {
		if c.file, err = devfile.Read(filepath.Join(c.dir, devfile.Name)); err == nil {
			c.move(port)
			break
		}
		if dev.PID() == 0 || ctx.Err() != nil {
			return errors.Join(fmt.Errorf("kmsd dev did not get ready (see dev.log): %v: %w", dev.Crashes(), err), dev.Kill())
		}
		time.Sleep(pollPeriod)
	}
	return dev.Stop(stopPatience)
}

// close ends everything.
func (c *cluster) close() error {
	for _, p := range c.processes {
		_ = p.Kill() // the starter's end kills what is left
	}
	c.starter.Close()
	err := c.closeLinks()
	c.unmount()
	return err
}

// stop asks all nodes to end; one that does not is an error.
func (c *cluster) stop() error {
	problems := make(chan error, len(c.processes))
	for _, p := range c.processes {
		go func() { problems <- p.Stop(stopPatience) }()
	}
	var err error
	for range c.processes {
		err = errors.Join(err, <-problems)
	}
	return err
}

// status asks one node.
func (c *cluster) status(ctx context.Context, i int) (wire.StatusReply, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	return c.sockets[i].Status(ctx)
}

// leader is the node that leads, by the newest term that any node knows.
func (c *cluster) leader(ctx context.Context) string {
	var asking sync.WaitGroup
	said := make([]wire.StatusReply, len(c.sockets))
	for i := range c.sockets { // at once: those that are paused do not answer
		asking.Go(func() {
			if s, err := c.status(ctx, i); err == nil {
				said[i] = s
			}
		})
	}
	asking.Wait()
	leader, term := "", uint64(0)
	for _, s := range said {
		if s.Leader != "" && s.Term >= term {
			leader, term = s.Leader, s.Term
		}
	}
	return leader
}

// ready waits until every node says that it serves.
func (c *cluster) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverPatience)
	defer cancel()
	for i, p := range c.processes {
		for {
			s, err := c.status(ctx, i)
			if err == nil && s.Ready && s.Phase == "serving" && s.Leader != "" {
				break
			}
			if p.PID() == 0 {
				return fmt.Errorf("%s is not running: %v", p.ID(), p.Crashes())
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not serve (phase %q, ready %t, leader %q, term %d): %w", p.ID(), s.Phase, s.Ready, s.Leader, s.Term, errors.Join(err, ctx.Err()))
			case <-time.After(pollPeriod):
			}
		}
	}
	return nil
}

// crashes are the ends of processes that nobody has asked for, and the races
// that a program built with the race detector has reported.
func (c *cluster) crashes() []string {
	var all []string
	for _, p := range c.processes {
		all = append(all, p.Crashes()...)
		log, err := os.ReadFile(c.logFile(p.ID()))
		if err != nil || bytes.Contains(log, []byte("WARNING: DATA RACE")) {
			all = append(all, fmt.Sprintf("%s has a data race in its log, or no log: %v", p.ID(), err))
		}
	}
	return all
}

// logFile is where a node's processes write their logs.
func (c *cluster) logFile(id string) string { return filepath.Join(c.dir, id, "kmsd.log") }

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// freePort finds a first port such that all ports of the nodes are free, below
// the range from which the kernel gives out ports by itself.
func freePort(nodes int) (int, error) {
	for range 100 {
		port := 10000 + portsPerNode*rand.IntN(2000)
		if portsFree(port, nodes) {
			return port, nil
		}
	}
	return 0, errors.New("finding free ports: 100 tries failed")
}

func portsFree(port, nodes int) bool {
	for i := range nodes {
		for j := range relayPort + 1 {
			listener, err := net.Listen("tcp", loopback(port+portsPerNode*i+j))
			if err != nil {
				return false
			}
			listener.Close()
		}
	}
	return true
}
