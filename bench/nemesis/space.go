package nemesis

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Space is a network namespace without a name: the kernel keeps it for as long
// as a process lives in it or it is held here, and takes away everything in it
// afterwards, however this process ends.
type Space struct{ file *os.File }

// NewSpace makes a namespace from which nothing goes out. Its loopback device
// has these addresses, beside 127.0.0.1.
func NewSpace(addresses ...netip.Addr) (*Space, error) {
	return makeSpace(func() error {
		if err := configure("lo", netip.Addr{}, 0); err != nil {
			return err
		}
		for i, a := range addresses {
			if err := configure(fmt.Sprintf("lo:%d", i+1), a, a.BitLen()); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeSpace makes a namespace and has setUp run inside.
func makeSpace(setUp func() error) (*Space, error) {
	// A thread of its own: it ends in another namespace than the others are in.
	thread := NewStarter()
	defer thread.Close()
	s := new(Space)
	err := thread.do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		if s.file, err = os.Open(ownSpace); err != nil {
			return err
		}
		return setUp()
	})
	if err != nil {
		err = fmt.Errorf("making a network namespace: %w", err)
		if s.file != nil {
			err = errors.Join(err, s.Close())
		}
		return nil, err
	}
	return s, nil
}

// ownSpace is the namespace of the thread that opens it.
const ownSpace = "/proc/thread-self/ns/net"

// In runs do on a thread that is in the namespace: sockets that it opens there
// stay there, and so does a process that it starts.
func (s *Space) In(do func() error) error {
	runtime.LockOSThread()
	home, err := os.Open(ownSpace)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	defer home.Close()
	if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering a network namespace: %w", err)
	}
	err = do()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, so that nothing else runs on it.
		return errors.Join(err, fmt.Errorf("leaving a network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// Close lets go of the namespace.
func (s *Space) Close() error { return s.file.Close() }

// configure gives a device of this thread's namespace an address, where there
// is one, with so many bits of it for the network, and turns it on.
func configure(device string, address netip.Addr, bits int) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("a socket to configure %s with: %w", device, err)
	}
	defer unix.Close(socket)
	ask := func(request uint, fill func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(device)
		if err == nil {
			err = fill(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(socket, request, r)
		}
		if err != nil {
			return fmt.Errorf("configuring %s: %w", device, err)
		}
		return nil
	}
	if address.IsValid() {
		mask := ^uint32(0) << (32 - bits)
		four := []byte{byte(mask >> 24), byte(mask >> 16), byte(mask >> 8), byte(mask)}
		err := errors.Join(
			ask(unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(address.AsSlice()) }),
			ask(unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(four) }),
		)
		if err != nil {
			return err
		}
	}
	return ask(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
		err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, r)
		r.SetUint16(r.Uint16() | unix.IFF_UP)
		return err
	})
}
