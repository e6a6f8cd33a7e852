package main

import (
	"encoding/pem"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/raftkms/raftkms/client/devfile"
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
	kmsd, cluster := realCluster(t)
	servers["KMSD"], servers["PORT"] = kmsd, strconv.Itoa(freePort(t))
	servers["REAL"], servers["PROJECT"], servers["REALCA"] = cluster.URLs()[0], cluster.ProjectID, cluster.CAFile
	servers["ACCESS"], servers["SECRET"], servers["PID"] = cluster.AccessKey, cluster.SecretKey, strconv.Itoa(cluster.Nodes[0].PID)
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

// realCluster builds kmsd and runs a node until the test ends.
func realCluster(t *testing.T) (kmsd string, file *devfile.File) {
	t.Helper()
	kmsd = buildKMSD(t)
	cluster, err := startCluster(t.Context(), clusterOptions{kmsd: kmsd, nodes: 1, module: "soft", port: freePort(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.stop(); err != nil {
			t.Error(err)
		}
	})
	if file, err = devfile.Read(cluster.path); err != nil {
		t.Fatal(err)
	}
	return kmsd, file
}

// buildKMSD builds kmsd for a test.
func buildKMSD(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "kmsd")
	if out, err := exec.Command("go", "build", "-o", program, "../kmsd").CombinedOutput(); err != nil {
		t.Fatalf("building kmsd: %v\n%s", err, out)
	}
	return program
}

// freePort is the first of the ports of four nodes, below those that the system
// hands out and above those that other packages' tests choose from.
func freePort(t *testing.T) int {
	t.Helper()
	free := func(port int) bool {
		listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		return listener.Close() == nil
	}
	for range 1000 {
		p, all := 30100+10*rand.IntN(250), true
		for node := range 4 {
			for port := range 3 {
				all = all && free(p+10*node+port)
			}
		}
		if all {
			return p
		}
	}
	t.Fatal("no port is free")
	return 0
}
