package export

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raftkms/raftkms/server/audit"
)

// syslog sends RFC 5424 messages over TLS with the framing of RFC 5425. The
// protocol has no answers: lines count as taken when the receiver's system has
// acknowledged all bytes of them and the connection is still there.
type syslog struct {
	cfg    Config
	nodeID string
	conn   net.Conn // nil: there is none
	raw    *net.TCPConn
	ended  chan struct{} // closed when the receiver has closed the connection
	text   []byte
	frame  []byte
}

func newSyslog(c Config, nodeID string) *syslog { return &syslog{cfg: c, nodeID: nodeID} }

func (s *syslog) reopen() {}

func (s *syslog) close() {
	if s.conn != nil {
		s.conn.Close() // what was written counts only when it was acknowledged
		<-s.ended
		s.conn, s.raw = nil, nil
	}
}

func (s *syslog) send(ctx context.Context, batch []audit.Line) error {
	err := s.deliver(ctx, batch)
	if err != nil {
		s.close()
		return fmt.Errorf("sending traces to %s: %w", s.cfg.Address, err)
	}
	return nil
}

func (s *syslog) deliver(ctx context.Context, batch []audit.Line) error {
	if s.conn != nil && s.lost() {
		s.close()
	}
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return err
		}
	}
	s.text = s.text[:0]
	for i := range batch {
		s.frame = appendSyslog(s.frame[:0], &batch[i], s.nodeID)
		s.text = strconv.AppendInt(s.text, int64(len(s.frame)), 10)
		s.text = append(append(s.text, ' '), s.frame...)
	}
	deadline, _ := ctx.Deadline()
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	conn := s.conn // it may be closed, and s.conn gone, when the time is up
	stop := context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := s.conn.Write(s.text); err != nil {
		return err
	}
	return s.acknowledged(ctx)
}

func (s *syslog) dial(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.cfg.Address)
	if err != nil {
		return err
	}
	s.raw = conn.(*net.TCPConn)
	host, _, err := net.SplitHostPort(s.cfg.Address)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if !s.cfg.Plain {
		t, err := s.cfg.tls(host)
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		secured := tls.Client(conn, t)
		if err := secured.HandshakeContext(ctx); err != nil {
			return errors.Join(err, conn.Close())
		}
		conn = secured
	}
	ended := make(chan struct{})
	s.conn, s.ended = conn, ended
	go func() { // it ends with the connection, see close
		defer close(ended)
		space := make([]byte, 512)
		for {
			if _, err := conn.Read(space); err != nil {
				return
			}
		}
	}()
	return nil
}

// lost tells whether the receiver has closed the connection.
func (s *syslog) lost() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// acknowledged waits until the receiver's system has everything.
func (s *syslog) acknowledged(ctx context.Context) error {
	access, err := s.raw.SyscallConn()
	if err != nil {
		return err
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		left, failed := 0, error(nil)
		if err := access.Control(func(fd uintptr) { left, failed = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
			return err
		}
		switch {
		case failed != nil:
			return failed
		case s.lost():
			return errors.New("the receiver has closed the connection")
		case left == 0:
			return nil
		}
		sleep(ctx, pause)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// What messages say of themselves.
const (
	facilityAudit = 13 // log audit
	// structure is the id of our structured data. 32473 is the number that is
	// kept for examples: we have none of our own.
	structure = "raftkms@32473"
)

// appendSyslog appends a line as a message: its rating is the severity, the
// operation the message id, the line itself the message.
func appendSyslog(dst []byte, l *audit.Line, nodeID string) []byte {
	t := summarise(l)
	dst = append(strconv.AppendInt(append(dst, '<'), int64(facilityAudit*8+t.severity()), 10), ">1 "...)
	dst = time.UnixMilli(l.RecordTime).UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = append(append(dst, ' '), nodeID...)
	dst = append(dst, " kmsd "...)
	dst = strconv.AppendInt(dst, int64(os.Getpid()), 10)
	dst = append(append(dst, ' '), messageID(t.name)...)
	dst = append(dst, " ["+structure...)
	parameter := func(name, value string) {
		if value != "" {
			dst = append(append(append(dst, ' '), name...), '=', '"')
			dst = append(append(dst, escape.Replace(value)...), '"')
		}
	}
	parameter("seq", strconv.FormatUint(l.Sequence, 10))
	parameter("rating", t.rating)
	parameter("trace", t.id)
	parameter("request", t.request)
	dst = append(dst, "] \xef\xbb\xbf"...) // UTF-8 follows
	dst = l.AppendRaw(dst)
	return dst[:len(dst)-1] // without the end of the line
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `]`, `\]`)

// messageID is a name as a message id: 1 to 32 visible characters.
func messageID(name string) string {
	name = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, name)
	if name == "" {
		return "-"
	}
	return name[:min(len(name), 32)]
}
