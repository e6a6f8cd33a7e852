package load_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/load"
)

func TestKindOf(t *testing.T) {
	timeout := time.Minute // patience only, but for the listener that never answers
	f := func(url string, ca *x509.CertPool, want string) {
		t.Helper()
		poster, err := load.NewPoster(load.PosterConfig{URLs: []string{url}, CA: ca, Path: "/", Body: []byte("{}"), Workers: 1, Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		defer poster.Close()
		err = poster.Call(context.Background(), 0)
		if err == nil {
			t.Fatalf("%s answers with success", url)
		}
		if got := load.KindOf(err); got != want {
			t.Errorf("%s: %v is of the kind %q", url, err, got)
		}
	}
	answering := func(status int, body string) (string, *x509.CertPool) {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		}))
		t.Cleanup(server.Close)
		ca := x509.NewCertPool()
		ca.AddCert(server.Certificate())
		return server.URL, ca
	}
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{404, `{"error":{"error_code":"KMS.0207","error_msg":"no"}}`, "404 KMS.0207"},
		{401, `{"error_code":"APIGW.0301","error_msg":"no"}`, "401 APIGW.0301"},
		{400, `{"__type":"com.amazonaws.kms#NotFoundException","message":"no"}`, "400 NotFoundException"},
		{400, `{"__type":"InvalidSignatureException"}`, "400 InvalidSignatureException"},
		{403, `{"errors":["permission denied"]}`, "403"},
		{503, "overloaded", "503"},
		{302, `{"error":1}`, "302"},
	} {
		url, ca := answering(c.status, c.body)
		f(url, ca, c.want)
	}
	url, _ := answering(200, "")
	f(url, x509.NewCertPool(), load.KindCertificate)

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	f("https://"+plain.Listener.Addr().String(), nil, load.KindNotTLS)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	timeout = 300 * time.Millisecond
	f("https://"+listener.Addr().String(), nil, load.KindTimeout) // nobody accepts, so nothing is answered
	timeout = time.Minute
	listener.Close()
	f("https://"+listener.Addr().String(), nil, load.KindRefused)

	closing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := closing.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	f("https://"+closing.Addr().String(), nil, load.KindReset)
	closing.Close()
	<-done

	if got := load.KindOf(context.DeadlineExceeded); got != load.KindTimeout {
		t.Errorf("a deadline that passed is of the kind %q", got)
	}
	if got := load.KindOf(&load.StatusError{Status: 500, Code: "0123456789012345678901234567890123456789 and more"}); len(got) != len("500 ")+40 {
		t.Errorf("a long code makes the kind %q", got)
	}
}

// Busy is who says when to come again.
func TestWhoIsBusy(t *testing.T) {
	f := func(status int, again string, want bool) {
		t.Helper()
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if again != "" {
				w.Header().Set("Retry-After", again)
			}
			w.WriteHeader(status)
		}))
		defer server.Close()
		ca := x509.NewCertPool()
		ca.AddCert(server.Certificate())
		poster, err := load.NewPoster(load.PosterConfig{URLs: []string{server.URL}, CA: ca, Path: "/", Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer poster.Close()
		refusal, ok := errors.AsType[*load.StatusError](poster.Call(t.Context(), 0))
		if !ok || refusal.Busy() != want {
			t.Errorf("%d with Retry-After %q: %+v", status, again, refusal)
		}
	}
	f(503, "1", true)
	f(503, "", false)
	f(429, "1", false)
}
