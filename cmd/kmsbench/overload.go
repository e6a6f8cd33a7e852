package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/survival"
	"github.com/raftkms/raftkms/bench/target"
)

func newOverload() *cobra.Command {
	var o overload
	cmd := &cobra.Command{
		Use:   "overload",
		Short: "Ask one node for more than it can, and show what becomes of those whom it answers",
		Long: `Ask one node for more than it can, and show what becomes of those whom it answers:

  - data keys per second with 10 and 50 times the connections, each of which asks again as soon as it is answered, over those with
    the connections of the peak; the p99 of what is answered, and how many calls are refused as too many; beside it the same of a server
    that does nothing, since the generator's connections cost the machine, too
  - the same beside connections that send a byte of their request a second, and how many of those the node closes, and when
  - memory of the node for each of many TLS connections that have asked something and then stay idle
  - of a node that works on few calls at once, so that it has to refuse: data keys per second of one user who asks for several times the
    peak, in an open loop, over the peak, and what another one who asks for little has of it: p99 and refusals, beside those without the first

The node is run for the purpose with kmsd dev. Calls, and connections, come from addresses of the loopback network.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			o.progress = terminal()
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	set := cmd.Flags()
	set.StringVar(&o.cluster.kmsd, "kmsd", "", "The kmsd program; the one beside kmsbench when absent.")
	set.StringVar(&o.cluster.module, "module", "pkcs11", "Module of the node: soft or pkcs11 (SoftHSM2).")
	set.IntVar(&o.cluster.port, "port", 9840, "First port of the node.")
	set.IntVar(&o.rounds, "rounds", 3, "How often each is measured in turn.")
	set.IntVar(&o.idle, "idle", 10_000, "Connections that stay idle.")
	set.IntVar(&o.slow, "slow", 2000, "Connections that send a byte a second.")
	o.effort.addFlags(set, 4*time.Second)
	return cmd
}

// overload asks one node for too much.
type overload struct {
	cluster    clusterOptions
	rounds     int
	idle, slow int
	effort     effort
	progress   io.Writer
}

func (o *overload) check() error {
	if err := checkTurns(o.cluster.module, o.rounds, o.effort, maxCrowd/50); err != nil {
		return err
	}
	if o.idle < 1 || o.idle > maxIdle || o.slow < 1 || o.slow > maxIdle {
		return fmt.Errorf("--idle %d and --slow %d must be from 1 to %d", o.idle, o.slow, maxIdle)
	}
	return nil
}

const (
	// maxCrowd is how many connections a node takes from one address.
	maxCrowd = 4096
	// maxIdle is somewhat less than it takes in all.
	maxIdle = 15_000
)

// crowd is a load and what came of it, round by round.
type crowd struct {
	name        string
	connections int
	slow        bool   // beside connections that send a byte a second
	peak        *crowd // what it is over
	poster      *load.Poster

	rates, tails []float64
	calls        uint64
	errors       map[string]uint64
}

func (o *overload) run(ctx context.Context, out io.Writer) error {
	if err := o.crowd(ctx, out); err != nil {
		return err
	}
	return o.refuse(ctx, out)
}

// crowd measures a node that more and more connections ask, and slow ones.
func (o *overload) crowd(ctx context.Context, out io.Writer) (err error) {
	o.cluster.nodes = 1
	s, err := openCluster(ctx, o.cluster, "", &plan{operation: target.CreateDataKey, latencies: []time.Duration{0}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	cfg, err := s.prepare(ctx, 1)
	if err != nil {
		return err
	}
	at, err := url.Parse(cfg.URLs[0])
	if err != nil {
		return fmt.Errorf("reading the node's address: %w", err)
	}
	// More connections cost the generator and the machine as well: what they take
	// from a server that does nothing is not this one's.
	fixed, err := openFixed(ctx, &plan{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fixed.stop()) }()
	bare, err := fixed.prepare(ctx, 1)
	if err != nil {
		return err
	}
	crowds := append(o.crowdsOf("the peak", ""), &crowd{name: "the peak, beside slow senders", connections: o.effort.workers, slow: true})
	crowds[len(crowds)-1].peak = crowds[0]
	ours := len(crowds)
	crowds = append(crowds, o.crowdsOf("a server that does nothing", "it, ")...)
	for i, c := range crowds {
		asked := cfg
		if i >= ours {
			asked = bare
		}
		c.errors = make(map[string]uint64)
		if c.poster, err = load.NewPoster(withWorkers(asked, c.connections)); err != nil {
			return err
		}
		defer c.poster.Close()
	}
	tlsConfig := &tls.Config{RootCAs: cfg.CA, ServerName: at.Hostname()}
	// Before the crowds, whose memory would be used again.
	perConnection, err := o.memory(ctx, at.Host, tlsConfig, s.file.Nodes[0].PID)
	if err != nil {
		return err
	}
	var closed closings
	for range o.rounds {
		for _, c := range crowds {
			var slow *slowSenders
			if c.slow {
				if slow, err = sendSlowly(ctx, at.Host, tlsConfig, o.slow, time.Second, slowPatience); err != nil {
					return err
				}
			}
			err := c.measure(ctx, o.progress, o.effort)
			if c.slow {
				fmt.Fprint(o.progress, "waiting until slow senders are closed\r")
				closed.add(slow.end())
			}
			if err != nil {
				return err
			}
		}
	}
	return o.print(out, crowds, closed, perConnection)
}

// crowdsOf are those of one server.
func (o *overload) crowdsOf(peak, prefix string) []*crowd {
	first := &crowd{name: peak, connections: o.effort.workers}
	first.peak = first
	return []*crowd{
		first,
		{name: prefix + "10 times the connections", connections: 10 * o.effort.workers, peak: first},
		{name: prefix + "50 times the connections", connections: 50 * o.effort.workers, peak: first},
	}
}

func (c *crowd) measure(ctx context.Context, progress io.Writer, of effort) error {
	of.workers = c.connections
	report, err := underLoad(ctx, progress, c.name, of, c.poster.Call)
	if err != nil {
		return err
	}
	if report.Calls == 0 {
		return fmt.Errorf("measuring %s: all calls failed, the first one so: %w", c.name, report.FirstError)
	}
	c.rates, c.tails = append(c.rates, report.Rate()), append(c.tails, milliseconds(report.Latency(99)))
	c.calls += report.Calls + report.Errors
	for kind, n := range report.Kinds {
		c.errors[kind] += n
	}
	return nil
}

// dialFrom connects from the address number i of the loopback network, so that
// no address holds more connections than it may.
func dialFrom(ctx context.Context, i int, address string, cfg *tls.Config) (*tls.Conn, error) {
	const perAddress = 2000
	d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/perAddress))}, Timeout: 10 * time.Second}, Config: cfg}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return conn.(*tls.Conn), nil
}

// memory is how many bytes the node has in memory for each idle connection.
func (o *overload) memory(ctx context.Context, address string, cfg *tls.Config, pid int) (perConnection float64, err error) {
	before, err := survival.Memory(pid)
	if err != nil {
		return 0, err
	}
	conns := make([]*tls.Conn, 0, o.idle)
	defer func() {
		for _, conn := range conns {
			err = errors.Join(err, conn.Close())
		}
	}()
	answer := make([]byte, 4<<10)
	for i := range o.idle {
		if i%100 == 0 {
			fmt.Fprintf(o.progress, "\ropening connections: %d of %d ", i, o.idle)
		}
		conn, err := dialFrom(ctx, i, address, cfg)
		if err != nil {
			return 0, err
		}
		conns = append(conns, conn)
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return 0, fmt.Errorf("asking on a connection: %w", err)
		}
		if _, err := conn.Write([]byte("GET /livez HTTP/1.1\r\nHost: n\r\n\r\n")); err != nil {
			return 0, fmt.Errorf("asking on a connection: %w", err)
		}
		if _, err := conn.Read(answer); err != nil {
			return 0, fmt.Errorf("asking on a connection: %w", err)
		}
	}
	fmt.Fprintf(o.progress, "\r%60s\r", "")
	after, err := survival.Memory(pid)
	return float64(after-before) / float64(o.idle), err
}

func (o *overload) print(out io.Writer, crowds []*crowd, closed closings, perConnection float64) error {
	fmt.Fprintf(out, "create-datakey of one node, %d connections at the peak, %d rounds of %s each, generator and node on this machine; medians\n\n", o.effort.workers, o.rounds, o.effort.duration)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\trequests/s\tover the peak\tlow to high\tp99\tnot answered\t")
	for _, c := range crowds {
		s := over(c.rates, c.peak.rates)
		var refused uint64
		for _, n := range c.errors {
			refused += n
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.2f\t%.2f to %.2f\t%.1f ms\t%d of %d\t\n", c.name, survival.Median(c.rates), s.median, s.low, s.high, survival.Median(c.tails), refused, c.calls)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, c := range crowds {
		for kind, n := range c.errors {
			fmt.Fprintf(out, "%s: %d times %s\n", c.name, n, kind)
		}
	}
	fmt.Fprintf(out, "\nwanted: 0.90 of the peak at least, or of what the server that does nothing keeps of its own, and a p99 that is bounded\n%d of %d connections that sent a byte a second were closed by the node, the last one %.1f s after it was opened\n%.1f KB of memory for each of %d idle TLS connections\n",
		closed.count, o.slow*o.rounds, closed.last.Seconds(), perConnection/1e3, o.idle)
	return nil
}
