package main

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kmsbench": main})
}

// TestScripts plays the scripts of testdata against small servers: what each
// answers is in its name.
func TestScripts(t *testing.T) {
	var ca []byte
	secure := func(handler http.HandlerFunc) string {
		server := httptest.NewTLSServer(handler)
		t.Cleanup(server.Close)
		ca = append(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})...)
		return server.URL
	}
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	plain := httptest.NewServer(answer(http.StatusOK, "{}"))
	t.Cleanup(plain.Close) // the scripts run once this function has returned
	var calls atomic.Int64
	good := secure(answer(http.StatusOK, "{}"))
	_, port, err := net.SplitHostPort(good[len("https://"):])
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]string{
		"NOBODY": "https://" + nobody.Addr().String(),
		"PLAIN":  "https://" + plain.Listener.Addr().String(),
		"GOOD":   good,
		"NAMED":  "https://localhost:" + port, // the certificate is of 127.0.0.1
		"REFUSING": secure(answer(http.StatusUnauthorized,
			`{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information"}`)),
		"FORBIDDING": secure(answer(http.StatusForbidden, `{"errors":["permission denied"]}`)),
		"SLOW": secure(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(100 * time.Millisecond)
			answer(http.StatusOK, "{}")(w, r)
		}),
		"BREAKING": secure(func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 {
				answer(http.StatusOK, "{}")(w, r)
				return
			}
			answer(http.StatusInternalServerError, "broken")(w, r)
		}),
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			for name, address := range servers {
				e.Setenv(name, address)
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "ca.pem"), ca, 0o600)
		},
		RequireExplicitExec: true,
	})
}
