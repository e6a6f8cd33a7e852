package export_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"

	"github.com/raftkms/raftkms/server/audit/export"
)

// receiver is a syslog receiver that parses with a library.
type receiver struct {
	t        *testing.T
	listener net.Listener
	tasks    sync.WaitGroup

	mu       sync.Mutex
	messages []*rfc5424.SyslogMessage
	cutAfter int // messages of a connection before it is cut; 0: not
	open     []net.Conn
}

func listen(t *testing.T, cfg *tls.Config) *receiver {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{t: t, listener: l}
	r.tasks.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.mu.Lock()
		for _, conn := range r.open {
			conn.Close()
		}
		r.mu.Unlock()
		r.tasks.Wait()
	})
	return r
}

func (r *receiver) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.open = append(r.open, conn)
		r.mu.Unlock()
		r.tasks.Go(func() { r.receive(conn) })
	}
}

func (r *receiver) receive(conn net.Conn) {
	defer conn.Close()
	got := 0
	octetcounting.NewParser(syslog.WithListener(func(result *syslog.Result) {
		if result.Error != nil {
			if !errors.Is(result.Error, net.ErrClosed) && result.Message != nil {
				r.t.Errorf("a message that is none: %v", result.Error)
			}
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.messages = append(r.messages, result.Message.(*rfc5424.SyslogMessage))
		if got++; r.cutAfter > 0 && got >= r.cutAfter {
			conn.Close()
		}
	}), syslog.WithMaxMessageLength(64<<10)).Parse(conn)
}

// lines are the lines of the log that the messages hold.
func (r *receiver) lines() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.messages {
		all = append(all, strings.TrimPrefix(*m.Message, "\ufeff")+"\n")
	}
	return all
}

// A receiver gets every line as a message of RFC 5424, framed as RFC 5425 says;
// a connection that is cut loses none.
func TestSyslog(t *testing.T) {
	w := newWorld(t)
	pair, ca, _ := certificate(t)
	r := listen(t, &tls.Config{Certificates: []tls.Certificate{pair}})
	cfg := export.Config{Name: "siem", Kind: export.Syslog, Address: r.listener.Addr().String(), CAFile: ca}
	w.append(50)
	s, stop := w.start(cfg)
	w.caughtUp(s)
	await(t, "all messages have come", func() bool { return len(r.lines()) == 50 })
	w.covered(r.lines())
	m := r.messages[4]
	data := (*m.StructuredData)["raftkms@32473"]
	if *m.Priority != 13*8+4 || *m.Hostname != "n1" || *m.Appname != "kmsd" || *m.MsgID != "createDataKey" || !m.Timestamp.Equal(time.UnixMilli(1700000000003)) ||
		data["seq"] != "5" || data["rating"] != "warning" || data["request"] != "request-5" || len(data["trace"]) != 36 {
		t.Errorf("%+v of %+v", data, m)
	}
	if *r.messages[0].Priority != 13*8+6 {
		t.Errorf("priority %d", *r.messages[0].Priority)
	}

	// A connection that ends while nothing is sent is noticed before the next batch.
	r.mu.Lock()
	for _, conn := range r.open {
		conn.Close()
	}
	r.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	w.append(20)
	await(t, "the rest has come", func() bool { return len(r.lines()) >= 70 })
	stop()
	w.covered(r.lines())
}

// A receiver that nobody vouches for gets nothing.
func TestSyslogToAStranger(t *testing.T) {
	w := newWorld(t)
	pair, _, _ := certificate(t)
	_, other, _ := certificate(t)
	r := listen(t, &tls.Config{Certificates: []tls.Certificate{pair}})
	w.append(5)
	s, _ := w.start(export.Config{Name: "siem", Kind: export.Syslog, Address: r.listener.Addr().String(), CAFile: other})
	await(t, "it fails", func() bool { return s.Stats()[0].Errors > 1 })
	if got := r.lines(); len(got) > 0 || s.Stats()[0].Lag != 5 || !strings.Contains(w.logged.String(), "certificate") {
		t.Errorf("%d lines, %+v, %s", len(got), s.Stats()[0], w.logged)
	}
}

// A receiver that takes connections and never reads holds up neither the log nor
// the end; what it was sent does not count.
func TestSyslogThatBlocks(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, stop := w.start(export.Config{Name: "siem", Kind: export.Syslog, Address: l.Addr().String(), Plain: true, Timeout: 200 * time.Millisecond})
	w.append(1000)
	await(t, "attempts fail", func() bool { return s.Stats()[0].Errors > 0 || s.Stats()[0].Sent > 0 })
	started := time.Now()
	w.append(3000)
	took := time.Since(started)
	if st := s.Stats()[0]; st.Lag == 0 {
		t.Errorf("%+v", st)
	}
	started = time.Now()
	stop()
	if ended := time.Since(started); ended > 5*time.Second {
		t.Errorf("the end took %v", ended)
	}
	t.Logf("3000 records in %v", took)
}

// The real thing: rsyslog, over TLS with a client certificate.
func TestRsyslog(t *testing.T) {
	program, err := exec.LookPath("rsyslogd")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/rsyslogd")
	}
	if err != nil {
		t.Fatal("rsyslogd is missing: scripts/install-test-deps.sh installs it")
	}
	w := newWorld(t)
	_, cert, key := certificate(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "received")
	port := func() int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().(*net.TCPAddr).Port
	}()
	write(t, filepath.Join(dir, "rsyslog.conf"), fmt.Appendf(nil, `
global(workDirectory="%[1]s" maxMessageSize="64k" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="%[2]s" defaultNetstreamDriverCertFile="%[2]s" defaultNetstreamDriverKeyFile="%[3]s")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
template(name="raw" type="string" string="%%msg%%\n")
ruleset(name="traces") { action(type="omfile" file="%[4]s" template="raw" asyncWriting="off" flushOnTXEnd="on") }
input(type="imtcp" port="%[5]d" address="127.0.0.1" ruleset="traces" supportOctetCountedFraming="on")
`, dir, cert, key, out, port))
	p := exec.Command(program, "-n", "-i", filepath.Join(dir, "pid"), "-f", filepath.Join(dir, "rsyslog.conf"))
	text := new(logged)
	p.Stdout, p.Stderr = text, text
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Signal(os.Interrupt)
		p.Process.Kill()
		p.Wait()
		if t.Failed() {
			t.Logf("rsyslogd: %s\n%s", text, w.logged)
		}
	})
	w.append(300)
	s, stop := w.start(export.Config{Name: "siem", Kind: export.Syslog, Address: fmt.Sprintf("127.0.0.1:%d", port), CAFile: cert, CertificateFile: cert, KeyFile: key})
	w.caughtUp(s)
	stop()
	received := func() []string {
		text, err := os.ReadFile(out)
		if err != nil {
			return nil
		}
		return split(strings.ReplaceAll(string(text), "\ufeff", ""))
	}
	await(t, "rsyslog has written everything", func() bool { return len(received()) >= 300 })
	w.covered(received())
}
