package nemesis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Packets is a network that carries packets, each of whose ends is in a network
// namespace of its own. The only way out of such a namespace is a TUN device
// whose other side is here; so a cut or a loss meets everything that an end
// sends: TCP and UDP, new connections and old ones, and what the kernel says
// for a process that is gone. What is lost is lost, and who sent it has to
// notice. It implements [Links]; nothing leaves it.
type Packets struct {
	ends map[string]*end
	at   map[netip.Addr]*end
	ways map[direction]*way // of every two ends, both ways

	all  sync.WaitGroup
	lost atomic.Int64

	record atomic.Pointer[record] // nil: none is kept
}

// record keeps what is sent, up to a size.
type record struct {
	mu   sync.Mutex
	to   io.Writer
	room int64
	err  error
}

// Record has every packet from now on written to w as well, one behind the other,
// as it was sent, for as long as no more than room bytes have been. w is not used
// any more once the network is closed.
func (n *Packets) Record(w io.Writer, room int64) { n.record.Store(&record{to: w, room: room}) }

// Recorded says why packets are missing in the record besides for want of room;
// nil: none are.
func (n *Packets) Recorded() error {
	r := n.record.Load()
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *record) put(packet []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && r.room >= int64(len(packet)) {
		r.room -= int64(len(packet))
		_, r.err = r.to.Write(packet)
	}
}

// end is one place of the network.
type end struct {
	name    string
	address netip.Addr
	space   *Space
	tun     *os.File
}

// The network of the addresses: TEST-NET-3 of RFC 5737, which should be nobody's.
// The machine may use it all the same: its namespace is another one.
const networkBits = 24

func addressOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}) }

const (
	maxEnds = 250
	// packetBytes is more than any packet has: the devices carry 1500.
	packetBytes = 2048
	tunDevice   = "tun0"
)

// PacketTrouble says why there can be no [Packets] here; nil: there can.
func PacketTrouble() error {
	n, err := NewPackets("one", "other")
	if err != nil {
		return fmt.Errorf("a network of packets takes root, network namespaces and TUN devices: %w", err)
	}
	return n.Close()
}

// NewPackets makes a network of ends with these names. It must be closed.
func NewPackets(names ...string) (*Packets, error) {
	if len(names) > maxEnds {
		return nil, fmt.Errorf("a network of packets has at most %d ends, not %d", maxEnds, len(names))
	}
	n := &Packets{ends: make(map[string]*end), at: make(map[netip.Addr]*end), ways: make(map[direction]*way)}
	for i, name := range names {
		e := &end{name: name, address: addressOf(i)}
		if err := e.open(); err != nil {
			return nil, errors.Join(fmt.Errorf("making the network end of %s: %w", name, err), n.Close())
		}
		n.ends[name], n.at[e.address] = e, e
	}
	for _, from := range n.ends {
		for _, to := range n.ends {
			if from == to {
				continue
			}
			w := newWay(to.tun, &n.lost)
			n.ways[direction{from.name, to.name}] = w
			n.all.Go(w.serve)
		}
	}
	for _, e := range n.ends {
		n.all.Go(func() { n.route(e) })
	}
	return n, nil
}

// open makes the namespace with its device.
func (e *end) open() error {
	var err error
	e.space, err = makeSpace(func() error {
		if err := configure("lo", netip.Addr{}, 0); err != nil {
			return err
		}
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("opening a TUN device: %w", err)
		}
		r, err := unix.NewIfreq(tunDevice)
		if err == nil {
			r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("making a TUN device: %w", err), unix.Close(fd))
		}
		// The device goes with this descriptor: it is not persistent. The runtime
		// can wait for its packets only now that it is there.
		e.tun = os.NewFile(uintptr(fd), tunDevice)
		return configure(tunDevice, e.address, networkBits)
	})
	if err != nil && e.tun != nil {
		err = errors.Join(err, e.tun.Close())
	}
	return err
}

// route carries what an end sends until the device is closed.
func (n *Packets) route(e *end) {
	buf := make([]byte, packetBytes)
	for {
		size, err := e.tun.Read(buf)
		if err != nil {
			return
		}
		to, ok := target(buf[:size], e.address)
		if !ok || n.at[to] == nil {
			continue // IPv6, for all of them, or for nobody: the namespace's own talk
		}
		if r := n.record.Load(); r != nil {
			r.put(buf[:size])
		}
		n.ways[direction{e.name, n.at[to].name}].take(buf[:size])
	}
}

// target is where an IPv4 packet goes; false: it is none, or not of that sender.
func target(packet []byte, sender netip.Addr) (netip.Addr, bool) {
	const header, source, destination = 20, 12, 16
	if len(packet) < header || packet[0]>>4 != 4 {
		return netip.Addr{}, false
	}
	from, to := netip.AddrFrom4([4]byte(packet[source:])), netip.AddrFrom4([4]byte(packet[destination:]))
	return to, from == sender && to != sender
}

// Address is the IP address of an end.
func (n *Packets) Address(name string) netip.Addr { return n.ends[name].address }

// Space is the namespace of an end, for as long as the network is there.
func (n *Packets) Space(name string) *Space { return n.ends[name].space }

// Lost is how many packets did not arrive, since they were to be lost or there
// was no room for them any more.
func (n *Packets) Lost() int64 { return n.lost.Load() }

// Dialer returns what connects from an end, for HTTP transports and the like.
func (n *Packets) Dialer(name string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		// One address is dialled on the thread that asks for it.
		err = n.Space(name).In(func() (err error) {
			conn, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return conn, err
	}
}

// Cut implements [Links].
func (n *Packets) Cut(from, to string) { n.ways[direction{from, to}].cut() }

// Impair implements [Links]: packets that are late by chance overtake others.
func (n *Packets) Impair(from, to string, by Impairment) { n.ways[direction{from, to}].impair(by) }

// Mend implements [Links].
func (n *Packets) Mend(from, to string) { n.ways[direction{from, to}].heal() }

// Heal implements [Links]. What is late arrives at once.
func (n *Packets) Heal() {
	for _, w := range n.ways {
		w.heal()
	}
}

// Close takes everything away. Processes that still live in a namespace keep
// it, without its device.
func (n *Packets) Close() error {
	var problems []error
	for _, w := range n.ways {
		w.close()
	}
	for _, e := range n.ends {
		problems = append(problems, e.tun.Close(), e.space.Close())
	}
	n.all.Wait()
	return errors.Join(problems...)
}
