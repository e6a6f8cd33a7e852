package transport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raftkms/raftkms/cluster/clustertest"
	"github.com/raftkms/raftkms/cluster/pki"
	"github.com/raftkms/raftkms/cluster/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), clustertest.Patience)
	t.Cleanup(cancel)
	return ctx
}

// peer is an open port with calls.
type peer struct {
	*transport.Port
	*transport.RPC
	address string
	close   func()
}

// book is who is where.
type book struct{ sync.Map }

func (b *book) address(nodeID string) (string, bool) {
	address, ok := b.Load(nodeID)
	if !ok {
		return "", false
	}
	return address.(string), true
}

func open(t *testing.T, id *transport.Identity, at string, addresses *book) *peer {
	t.Helper()
	l, err := transport.Listen(at)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{address: l.Addr().String()}
	p.Port = transport.OpenPort(transport.PortConfig{
		Identity: id, Listener: l, Advertise: p.address, Logger: slog.New(slog.DiscardHandler),
	})
	p.RPC = transport.NewRPC(p.Port, addresses.address)
	p.Handle("who", func(_ context.Context, caller string, _ []byte) ([]byte, error) { return []byte(caller), nil })
	p.Serve()
	var once sync.Once
	p.close = func() { once.Do(func() { p.Port.Close(); p.RPC.Close() }) }
	t.Cleanup(p.close)
	addresses.Store(id.NodeID(), p.address)
	return p
}

// TestPeers: who may call whom.
func TestPeers(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	addresses := new(book)
	a := open(t, ca.Identity(t, "a"), "127.0.0.1:0", addresses)
	bID := ca.Identity(t, "b")
	b := open(t, bID, "127.0.0.1:0", addresses)
	if reply, err := a.Call(patience(t), "b", "who", nil); err != nil || string(reply) != "a" {
		t.Fatalf("b takes a for %q, %v", reply, err)
	}

	// c's address is b's: b is not c, so nothing is sent.
	addresses.Store("c", b.address)
	if _, err := a.Call(patience(t), "c", "who", nil); !errors.Is(err, transport.ErrUnreachable) || !strings.Contains(err.Error(), "that of node b") {
		t.Fatalf("b passed for c: %v", err)
	}

	refused := func(who string, id *transport.Identity, node string) {
		t.Helper()
		stranger := open(t, id, "127.0.0.1:0", new(book))
		defer stranger.close()
		theirs := new(book)
		theirs.Store(node, b.address)
		caller := open(t, id, "127.0.0.1:0", theirs)
		defer caller.close()
		if _, err := caller.Call(patience(t), node, "who", nil); err == nil {
			t.Errorf("%s may call", who)
		}
		addresses.Store("stranger", stranger.address)
		if _, err := a.Call(patience(t), "stranger", "who", nil); !errors.Is(err, transport.ErrUnreachable) {
			t.Errorf("%s may be called: %v", who, err)
		}
	}
	// Strangers that would believe b; b does not believe them.
	fake := clustertest.NewAuthority(t, "blue")
	cert, key := fake.Issue(t, "stranger")
	id, err := transport.NewIdentity("blue", "stranger", cert, key, fake.CertDER, ca.CertDER)
	if err != nil {
		t.Fatal(err)
	}
	refused("a node of another CA", id, "b")
	refused("a node of another cluster", clustertest.NewAuthority(t, "red").Identity(t, "stranger"), "b")

	bID.SetAdmitted(func(nodeID string, _ [32]byte, _ time.Time) bool { return nodeID == "a" })
	caller := open(t, ca.Identity(t, "d"), "127.0.0.1:0", addresses)
	if _, err := caller.Call(patience(t), "b", "who", nil); err == nil {
		t.Error("a node that is not admitted may call")
	}
	if _, err := a.Call(patience(t), "b", "who", nil); err != nil {
		t.Errorf("a node that is admitted may not call: %v", err)
	}
}

// TestNamesInCertificate: the CA's signature alone makes no node of this
// cluster.
func TestNamesInCertificate(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	b := open(t, ca.Identity(t, "b"), "127.0.0.1:0", new(book))
	caCert, err := x509.ParseCertificate(ca.CertDER)
	if err != nil {
		t.Fatal(err)
	}
	caKey, err := x509.ParsePKCS8PrivateKey(ca.KeyPKCS8)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := func(ok bool, protocol string, usage x509.ExtKeyUsage, names ...string) {
		t.Helper()
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		}
		for _, name := range names {
			u, err := url.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			template.URIs = append(template.URIs, u)
		}
		der, err := x509.CreateCertificate(rand.Reader, template, caCert, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		if got := accepted(t, b.address, protocol, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}); got != ok {
			t.Errorf("%v as %s: accepted %v, want %v", names, protocol, got, ok)
		}
	}
	client := x509.ExtKeyUsageClientAuth
	f(true, "h2", client, "raftkms://blue/node/x")
	f(true, "raftkms-raft/1", client, "raftkms://blue/node/x")
	f(false, "h2", x509.ExtKeyUsageServerAuth, "raftkms://blue/node/x")
	f(false, "h2", client)
	f(false, "h2", client, "raftkms://red/node/x")
	f(false, "raftkms-raft/1", client, "raftkms://red/node/x")
	f(false, "h2", client, "raftkms://blue/ca")
	f(false, "h2", client, "raftkms://blue/node/x/y")
	f(false, "h2", client, "raftkms://blue/node/x?y")
	f(false, "h2", client, "raftkms://blue/node/x", "raftkms://blue/node/y")
	f(false, "h2", client, "https://blue/node/x")
}

// accepted reports whether the server keeps the connection after the handshake.
// In TLS 1.3 the client learns of a refusal only when it reads.
func accepted(t *testing.T, address, protocol string, cert *tls.Certificate) bool {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: strings.Split(protocol, " ")}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_, err = conn.Read(make([]byte, 1))
	var timeout net.Error
	return err == nil || errors.As(err, &timeout) && timeout.Timeout()
}

// TestNoCertificate: without a certificate there is joining and nothing else.
func TestNoCertificate(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	p := open(t, ca.Identity(t, "a"), "127.0.0.1:0", new(book))
	f := func(protocols string, want bool) {
		t.Helper()
		if got := accepted(t, p.address, protocols, nil); got != want {
			t.Errorf("%q: accepted %v, want %v", protocols, got, want)
		}
	}
	f("h2", false)
	f("raftkms-raft/1", false)
	f("http/1.1", false)
	f("raftkms-join/1", true)
	for _, offer := range [][]string{{"h2", "raftkms-join/1"}, {"raftkms-raft/1", "raftkms-join/1"}} {
		conn, err := tls.Dial("tcp", p.address, &tls.Config{InsecureSkipVerify: true, NextProtos: offer})
		if err != nil {
			t.Fatalf("%v: %v", offer, err)
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != "raftkms-join/1" {
			t.Errorf("%v: got %s", offer, got)
		}
		conn.Close()
	}
	if conn, err := tls.Dial("tcp", p.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"raftkms-join/1"}, MaxVersion: tls.VersionTLS12}); err == nil {
		conn.Close()
		t.Error("TLS 1.2 is spoken")
	}
}

// TestSilentCallers: connections that say nothing hold up nobody.
func TestSilentCallers(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	addresses := new(book)
	a := open(t, ca.Identity(t, "a"), "127.0.0.1:0", addresses)
	b := open(t, ca.Identity(t, "b"), "127.0.0.1:0", addresses)
	for range 300 {
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if _, err := a.Call(patience(t), "b", "who", nil); err != nil {
		t.Fatalf("calling past the silent: %v", err)
	}
}

// TestJoin: pin, size and rate.
func TestJoin(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	a := open(t, ca.Identity(t, "a"), "127.0.0.1:0", new(book))
	join := func(pin [32]byte, body []byte, at ...string) ([]byte, error) {
		return transport.Join(patience(t), append(at, a.address), pin, body)
	}
	var refusal *transport.RemoteError
	if _, err := join(ca.PublicKeyHash, nil); !errors.As(err, &refusal) && !strings.Contains(err.Error(), "admits nobody") {
		t.Fatalf("without a handler: %v", err)
	}
	heard := make(chan string, 100)
	a.HandleJoin(func(_ context.Context, remote string, body []byte) ([]byte, error) {
		heard <- remote
		if string(body) == "secret" {
			return nil, errors.New("the password is swordfish")
		}
		return bytes.ToUpper(body), nil
	})
	if _, err := join([32]byte{1}, []byte("hi")); err == nil || !strings.Contains(err.Error(), "not of the cluster that the join token names") {
		t.Fatalf("another pin: %v", err)
	}
	if len(heard) != 0 {
		t.Fatal("something was sent to a server with another pin")
	}
	// The first address does not answer; the second does.
	if reply, err := join(ca.PublicKeyHash, []byte("hi"), "127.0.0.1:1"); err != nil || string(reply) != "HI" {
		t.Fatalf("%q, %v", reply, err)
	}
	big := bytes.Repeat([]byte("a"), 64<<10)
	if reply, err := join(ca.PublicKeyHash, big); err != nil || len(reply) != len(big) {
		t.Fatalf("a large request: %v", err)
	}
	if _, err := join(ca.PublicKeyHash, append(big, 'a')); err == nil {
		t.Fatal("a request that is too large was sent")
	}
	if _, err := join(ca.PublicKeyHash, []byte("secret")); err == nil || strings.Contains(err.Error(), "swordfish") {
		t.Fatalf("an internal error came out as %v", err)
	}
	served := 0
	for range 40 {
		_, err := join(ca.PublicKeyHash, []byte("hi"))
		switch {
		case err == nil:
			served++
		case !strings.Contains(err.Error(), "too many requests"):
			t.Fatal(err)
		}
	}
	if served == 0 || served == 40 {
		t.Fatalf("%d of 40 requests at once were served", served)
	}
}

// TestPinNeedsCA: a certificate that merely has the pinned key along is no CA.
func TestPinNeedsCA(t *testing.T) {
	ca, fake := clustertest.NewAuthority(t, "blue"), clustertest.NewAuthority(t, "blue")
	cert, key := fake.Issue(t, "a")
	parsed, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		NextProtos:   []string{"raftkms-join/1"},
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert, fake.CertDER, ca.CertDER}, PrivateKey: parsed}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 16)
		n, _ := conn.Read(b)
		got <- b[:n]
	}()
	if _, err := transport.Join(patience(t), []string{l.Addr().String()}, ca.PublicKeyHash, []byte("secret")); err == nil {
		t.Fatal("joined an impostor")
	}
	if b := <-got; len(b) != 0 {
		t.Fatalf("the impostor was sent %q", b)
	}
}

// TestCertificatesChange: a node takes new certificates and CAs without a
// restart, and old ones are refused once their CA is gone.
func TestCertificatesChange(t *testing.T) {
	before, after := clustertest.NewAuthority(t, "blue"), clustertest.NewAuthority(t, "blue")
	addresses := new(book)
	aID, bID := before.Identity(t, "a"), before.Identity(t, "b")
	a := open(t, aID, "127.0.0.1:0", addresses)
	open(t, bID, "127.0.0.1:0", addresses)
	replace := func(id *transport.Identity, ca clustertest.Authority, cas ...[]byte) {
		t.Helper()
		cert, key := ca.Issue(t, id.NodeID())
		if err := id.Replace(cert, key, cas...); err != nil {
			t.Fatal(err)
		}
	}
	works := func(want bool) {
		t.Helper()
		a.CloseIdle()
		if _, err := a.Call(patience(t), "b", "who", nil); (err == nil) != want {
			t.Fatalf("calling: %v", err)
		}
	}
	works(true)
	replace(bID, before, before.CertDER, after.CertDER)
	replace(aID, after, before.CertDER, after.CertDER)
	works(true)
	replace(bID, after, after.CertDER)
	works(true)
	replace(aID, before, before.CertDER, after.CertDER)
	works(false)

	cert, key := before.Issue(t, "z")
	f := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	f("another node's certificate", aID.Replace(cert, key, before.CertDER))
	own, ownKey := before.Issue(t, "a")
	f("another key", aID.Replace(own, key, before.CertDER))
	f("another CA", aID.Replace(own, ownKey, after.CertDER))
	f("another cluster's CA", aID.Replace(own, ownKey, before.CertDER, clustertest.NewAuthority(t, "red").CertDER))
	if got, err := aID.GetCertificate(nil); err != nil || pki.Fingerprint(got.Leaf.RawSubjectPublicKeyInfo) == [32]byte{} {
		t.Errorf("certificate %v, %v", got, err)
	}
}

// TestVouchedTime: what is expired by this machine's clock alone may be called,
// and nothing else that is wrong with it is overlooked.
func TestVouchedTime(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	addresses := new(book)
	aID := ca.Identity(t, "a")
	a := open(t, aID, "127.0.0.1:0", addresses)
	_, key := ca.Issue(t, "b")
	csr, err := pki.CSR(key)
	if err != nil {
		t.Fatal(err)
	}
	const lifetime = time.Second
	short, err := pki.SignNode(ca.CertDER, ca.KeyPKCS8, csr, "b", nil, time.Now(), lifetime)
	if err != nil {
		t.Fatal(err)
	}
	bID, err := transport.NewIdentity("blue", "b", short, key, ca.CertDER)
	if err != nil {
		t.Fatal(err)
	}
	open(t, bID, "127.0.0.1:0", addresses)
	before := time.Now()
	time.Sleep(time.Until(bID.Expires().Add(time.Second))) // certificates have seconds
	works := func(want bool, vouched time.Time) {
		t.Helper()
		aID.SetVouchedTime(func() time.Time { return vouched })
		a.CloseIdle()
		if _, err := a.Call(patience(t), "b", "who", nil); (err == nil) != want {
			t.Errorf("calling, with %s vouched for: %v", vouched, err)
		}
	}
	works(false, time.Time{})
	works(true, before)
	works(false, time.Now())
	works(false, before.Add(-24*time.Hour))
	at, _ := addresses.address("b")
	addresses.Store("c", at) // who answers there is another node
	aID.SetVouchedTime(func() time.Time { return before })
	if _, err := a.Call(patience(t), "c", "who", nil); err == nil {
		t.Error("b passed for c")
	}
}

// TestOutOfTime: a certificate that the clock does not fit is refused with words
// that say which of the two has which time, on its own node and by a joiner.
func TestOutOfTime(t *testing.T) {
	ca := clustertest.NewAuthority(t, "blue")
	_, key := ca.Issue(t, "a")
	csr, err := pki.CSR(key)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(at time.Time) []byte {
		t.Helper()
		der, err := pki.SignNode(ca.CertDER, ca.KeyPKCS8, csr, "a", nil, at, pki.NodeLifetime)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	now := time.Now().Truncate(time.Second)
	refused := func(what string, err error, at time.Time) {
		t.Helper()
		invalid, is := errors.AsType[*transport.ValidityError](err)
		if !is {
			t.Fatalf("%s: %v", what, err)
		}
		if !pki.Issued(&x509.Certificate{NotBefore: invalid.From}).Equal(at) || !invalid.Until.Equal(at.Add(pki.NodeLifetime)) || invalid.Clock.Sub(now).Abs() > time.Minute {
			t.Errorf("%s: %+v", what, invalid)
		}
		for _, moment := range []time.Time{invalid.Clock, invalid.From, invalid.Until} {
			if !strings.Contains(err.Error(), moment.UTC().Format(time.RFC3339)) {
				t.Errorf("%s: %q does not name %s", what, err, moment)
			}
		}
	}
	past, future := now.Add(-2*pki.NodeLifetime), now.Add(pki.NodeLifetime)
	for what, at := range map[string]time.Time{"it has run out": past, "it is not valid yet": future} {
		_, err := transport.NewIdentity("blue", "a", signed(at), key, ca.CertDER)
		refused(what, err, at)
	}
	short, err := pki.SignNode(ca.CertDER, ca.KeyPKCS8, csr, "a", nil, now, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	id, err := transport.NewIdentity("blue", "a", short, key, ca.CertDER)
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, id, "127.0.0.1:0", new(book))
	time.Sleep(time.Until(id.Expires().Add(time.Second)))
	_, err = transport.Join(patience(t), []string{a.address}, ca.PublicKeyHash, []byte("hi"))
	if _, is := errors.AsType[*transport.ValidityError](err); !is {
		t.Errorf("a joiner is shown a certificate that has run out: %v", err)
	}
}

// TestPortInUse names the port.
func TestPortInUse(t *testing.T) {
	l, err := transport.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = transport.Listen(l.Addr().String())
	if want := fmt.Sprintf("the cluster port %s is in use by another process", l.Addr()); err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}
