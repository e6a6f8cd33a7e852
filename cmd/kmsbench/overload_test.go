package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestOverloadsThatCannotBeMeasured(t *testing.T) {
	f := func(change func(o *overload), want string) {
		t.Helper()
		o := overload{cluster: clusterOptions{module: "soft"}, rounds: 3, idle: 10, slow: 10, effort: effort{workers: 64, duration: time.Second}}
		change(&o)
		err := o.check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f(func(*overload) {}, "")
	f(func(o *overload) { o.cluster.module = "hard" }, `--module "hard"`)
	f(func(o *overload) { o.rounds = 0 }, "--rounds 0")
	f(func(o *overload) { o.effort.workers = 82 }, "--workers 82")
	f(func(o *overload) { o.effort.duration = 0 }, "--duration")
	f(func(o *overload) { o.idle = 0 }, "--idle 0")
	f(func(o *overload) { o.slow = 20_000 }, "--slow 20000")
}

// Slow senders go on until they are closed, which they notice, or have no patience left.
func TestSlowSenders(t *testing.T) {
	certified := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer certified.Close()
	ca := x509.NewCertPool()
	ca.AddCert(certified.Certificate())
	f := func(closes bool, want int, patience time.Duration) {
		t.Helper()
		listener, err := tls.Listen("tcp", "127.0.0.1:0", certified.TLS)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer conn.Close()
					for first := make([]byte, 1); !closes || first[0] == 0; {
						if _, err := conn.Read(first); err != nil {
							return
						}
					}
				}()
			}
		}()
		slow, err := sendSlowly(t.Context(), listener.Addr().String(), &tls.Config{RootCAs: ca, ServerName: "127.0.0.1"}, 3, 10*time.Millisecond, patience)
		if err != nil {
			t.Fatal(err)
		}
		if closed := slow.end(); closed.count != want || closed.last >= patience {
			t.Errorf("%d were closed, not %d, the last one after %s", closed.count, want, closed.last)
		}
	}
	f(false, 0, time.Second)
	f(true, 3, time.Minute)
}
