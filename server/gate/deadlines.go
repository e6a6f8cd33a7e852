package gate

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// lazy is a connection whose deadlines cost next to nothing to set. A web server
// sets three for every request, and the runtime keeps its timers in order for
// each of them; but most are later than the one before, and never come. So one
// that is later than what the runtime waits for is only noted, and looked at when
// that comes. One that is earlier is set at once: nothing ever lasts longer.
type lazy struct {
	net.Conn
	read, write deadline
}

// deadline is one direction's.
type deadline struct {
	mu     sync.Mutex
	wanted time.Time // zero: none
	armed  time.Time // what the runtime waits for, or has waited for; zero: nothing yet
}

// set notes a deadline, and arms it where it comes before the armed one.
func (d *deadline) set(to time.Time, arm func(time.Time) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wanted = to; to.IsZero() || !d.armed.IsZero() && !to.Before(d.armed) {
		return nil
	}
	d.armed = to
	return arm(to)
}

// early tells whether err says that the armed deadline has come, and not the
// wanted one. If so that is armed now.
func (d *deadline) early(err error, arm func(time.Time) error) bool {
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.wanted.IsZero() && !time.Now().Before(d.wanted) {
		return false
	}
	d.armed = d.wanted
	return arm(d.wanted) == nil
}

// Read implements [net.Conn].
func (c *lazy) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		switch {
		case !c.read.early(err, c.Conn.SetReadDeadline):
			return n, err
		case n > 0:
			return n, nil
		}
	}
}

// Write implements [net.Conn].
func (c *lazy) Write(p []byte) (written int, err error) {
	for {
		var n int
		n, err = c.Conn.Write(p[written:])
		written += n
		if !c.write.early(err, c.Conn.SetWriteDeadline) {
			return written, err
		}
	}
}

// SetReadDeadline implements [net.Conn].
func (c *lazy) SetReadDeadline(t time.Time) error { return c.read.set(t, c.Conn.SetReadDeadline) }

// SetWriteDeadline implements [net.Conn].
func (c *lazy) SetWriteDeadline(t time.Time) error { return c.write.set(t, c.Conn.SetWriteDeadline) }

// SetDeadline implements [net.Conn].
func (c *lazy) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
