package export_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/audit/export"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a trace log and what exports of it need.
type world struct {
	t        *testing.T
	dir      string
	log      *audit.Log
	appended int
	logged   *logged
}

type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), logged: new(logged)}
	w.openLog(audit.Config{})
	t.Cleanup(func() { w.shut() })
	return w
}

func (w *world) openLog(cfg audit.Config) {
	w.t.Helper()
	cfg.Dir, cfg.NodeID, cfg.SegmentSize, cfg.Reserve = filepath.Join(w.dir, "audit"), "n1", 16<<10, 8<<10
	var err error
	if w.log, err = audit.OpenConfig(cfg); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) shut() {
	if err := w.log.Close(); err != nil {
		w.t.Error(err)
	}
}

// append appends n records, every fifth of them a refusal.
func (w *world) append(n int) {
	w.t.Helper()
	for range n {
		w.appended++
		r := audit.Record{
			TraceName: "createDataKey", Rating: audit.RatingNormal, ResourceType: "cmk", ResourceID: "k1", ResourceName: `or"de]rs\`, SourceIP: "192.0.2.7",
			RequestID: fmt.Sprint("request-", w.appended), ProjectID: "p1", User: audit.User{ID: "u1", Name: "ops", AccessKeyID: "AK1"},
			Code: "200", Time: time.UnixMilli(1700000000000), RecordTime: time.UnixMilli(1700000000003),
		}
		if w.appended%5 == 0 {
			r.Rating, r.Code = audit.RatingWarning, "403"
		}
		if err := w.log.Append(w.t.Context(), &r); err != nil {
			w.t.Fatal(err)
		}
	}
}

// lines are all lines of the log.
func (w *world) lines() (all []string) {
	w.t.Helper()
	r, err := w.log.NewReader(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	for above := uint64(0); ; {
		b, err := r.Read(w.t.Context(), above, 1000, 1<<20)
		if err != nil {
			w.t.Fatal(err)
		}
		for i := range b.Lines {
			all = append(all, string(b.Lines[i].AppendRaw(nil)))
		}
		if above = b.Above; above == b.End {
			return all
		}
	}
}

// start starts sinks; stop stops them.
func (w *world) start(configs ...export.Config) (s *export.Set, stop func()) {
	w.t.Helper()
	s = w.open(configs...)
	s.Start()
	return s, w.stopper(s)
}

func (w *world) open(configs ...export.Config) *export.Set {
	w.t.Helper()
	s, err := export.Open(export.Options{Dir: filepath.Join(w.dir, "export"), NodeID: "n1", Log: w.log, Logger: slog.New(slog.NewTextHandler(w.logged, nil))}, configs)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) stopper(s *export.Set) func() {
	stop := sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain: ", what)
		}
	}
}

// caughtUp waits until the only sink has taken everything, and has kept its place.
func (w *world) caughtUp(s *export.Set) {
	w.t.Helper()
	await(w.t, "the export has caught up", func() bool {
		above, _ := s.Exported()
		return s.Stats()[0].Lag == 0 && above == w.log.Durable()
	})
}

// covered wants every line of the log to be among those that a sink has got, in
// their order; repeats are allowed.
func (w *world) covered(got []string) {
	w.t.Helper()
	want := w.lines()
	next := 0
	for _, line := range got {
		if next < len(want) && line == want[next] {
			next++
		} else if i := indexOf(want[:next], line); i < 0 {
			w.t.Fatalf("a line that is none of the log, or comes too soon (after %d): %s", next, line)
		}
	}
	if next != len(want) {
		w.t.Fatalf("%d lines were taken of %d", next, len(want))
	}
}

func indexOf(all []string, one string) int {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i] == one {
			return i
		}
	}
	return -1
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func certificate(t *testing.T) (tls.Certificate, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "receiver"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, cert, keyFile
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func split(text string) (lines []string) {
	for line := range strings.Lines(text) {
		lines = append(lines, line)
	}
	return lines
}
