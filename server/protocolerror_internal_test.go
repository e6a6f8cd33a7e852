package server

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/gate"
)

// TestARequestThatDoesNotArriveInTimeIsToldSo: over TLS, as the first one of a
// connection and as a later one.
func TestARequestThatDoesNotArriveInTimeIsToldSo(t *testing.T) {
	lender := httptest.NewTLSServer(nil) // of a certificate
	certificates, known := lender.TLS.Certificates, x509.NewCertPool()
	known.AddCert(lender.Certificate())
	lender.Close()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const timeout = 2 * time.Second // a handshake has to be done in it
	api := &fasthttp.Server{
		Handler:      func(rc *fasthttp.RequestCtx) { rc.SetBodyString("ok") },
		ErrorHandler: writeProtocolError,
		ReadTimeout:  timeout, WriteTimeout: timeout, IdleTimeout: time.Minute,
	}
	listener := tls.NewListener(gate.New(gate.Config{}, time.Now).Listen(inner), &tls.Config{Certificates: certificates, MinVersion: tls.VersionTLS13})
	served := make(chan error, 1)
	go func() { served <- api.Serve(listener) }()
	t.Cleanup(func() {
		if err := api.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})

	f := func(complete int) {
		t.Helper()
		conn, err := tls.Dial("tcp", inner.Addr().String(), &tls.Config{RootCAs: known, ServerName: "example.com"})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		read := bufio.NewReader(conn)
		for range complete {
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Error(err)
				return
			}
			answer, err := http.ReadResponse(read, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("status %d, %v", answer.StatusCode, err)
				return
			}
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHo"); err != nil {
			t.Error(err)
			return
		}
		answer, err := http.ReadResponse(read, nil)
		if err != nil {
			t.Errorf("after %d requests: %v", complete, err)
			return
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(body), "did not arrive in time") {
			t.Errorf("after %d requests: status %d, %s, %v", complete, answer.StatusCode, body, err)
		}
	}
	var both sync.WaitGroup
	both.Go(func() { f(0) })
	both.Go(func() { f(1) })
	both.Wait()
}
