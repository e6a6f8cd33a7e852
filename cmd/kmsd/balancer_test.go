package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/aksk"
	"github.com/raftkms/raftkms/client/devfile"
)

// balancerAddress is where HAProxy's connections to the nodes come from, and
// clientAddress where its clients are: both are loopback addresses.
const (
	balancerAddress = "127.0.0.2"
	clientAddress   = "127.0.0.3"
)

// TestRollingRestartBehindHAProxy restarts every node in turn behind the real
// balancer, as an upgrade does, under the load of clients that retry nothing:
// no request may fail. It plays both of scripts/haproxy.
func TestRollingRestartBehindHAProxy(t *testing.T) {
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Fatal("haproxy is missing: scripts/install-test-deps.sh installs it")
	}
	dir := t.TempDir()
	port := freePort(t, 3)
	c := startCluster(t, dir, "--port", strconv.Itoa(port))
	key := sdks(t, c)[0].createKey("balanced")
	c.stop(syscall.SIGTERM) // now each node by itself, with what HAProxy wants of it
	nodes := make([]*process, 3)
	serve := func(i int) {
		nodes[i] = start(t, "serve", "--config", c.configFile(i), "--drain-delay", "2s", "--api-proxies-trusted", balancerAddress)
	}
	for i := range nodes {
		serve(i)
	}
	for i := range nodes {
		c.awaitReady(t, i)
	}
	for _, mode := range []string{"tcp", "http"} {
		t.Run(mode, func(t *testing.T) {
			address, ca := startHAProxy(t, c, mode)
			load := startBalanced(t, c.file, address, ca, key)
			load.await(t, 200)
			for i := range nodes {
				nodes[i].stop(syscall.SIGTERM)
				serve(i)
				c.awaitReady(t, i)
				load.await(t, 200)
				time.Sleep(time.Second) // until the health check has seen it, as an operator would wait
			}
			load.stop(t)
		})
	}
	for i := range nodes {
		if sources := tracedSources(t, filepath.Join(c.file.Nodes[i].DataDir, "audit")); !sources[clientAddress] || sources[balancerAddress] {
			t.Errorf("%s traced calls from %v, want %s", c.file.Nodes[i].ID, sources, clientAddress)
		}
		nodes[i].stop(syscall.SIGTERM)
	}
}

// startHAProxy runs HAProxy with a configuration of scripts/haproxy and returns
// its address and who signs what it shows to clients.
func startHAProxy(t *testing.T, c *cluster, mode string) (address string, ca *x509.CertPool) {
	t.Helper()
	address = net.JoinHostPort("127.0.0.1", strconv.Itoa(freePort(t, 1)))
	environment := []string{
		"RAFTKMS_BIND=" + address, "RAFTKMS_CA_FILE=" + c.file.CAFile, "RAFTKMS_SOURCE=" + balancerAddress,
	}
	for i, node := range c.file.Nodes {
		u, err := url.Parse(node.URL)
		if err != nil {
			t.Fatal(err)
		}
		environment = append(environment, fmt.Sprintf("KMS_NODE_%d=%s", i+1, u.Host))
	}
	if mode == "http" {
		var file string
		file, ca = makeCertificate(t)
		environment = append(environment, "RAFTKMS_CERTIFICATE="+file)
	} else {
		var err error
		if ca, err = client.ReadCA(c.file.CAFile); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("haproxy", "-db", "-f", filepath.Join("..", "..", "scripts", "haproxy", mode+".cfg"))
	cmd.Env = append(os.Environ(), environment...)
	said := new(output)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("haproxy said:\n%s", said)
		}
	})
	await(t, "haproxy", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("haproxy ended: %v", err)
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return address, ca
}

// makeCertificate writes a certificate for 127.0.0.1 and its key to one file.
func makeCertificate(t *testing.T) (file string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "balancer"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	file = filepath.Join(t.TempDir(), "balancer.pem")
	text := append(certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return file, pool
}

// balanced makes data keys through the balancer and repeats nothing.
type balanced struct {
	stopped context.CancelFunc
	all     sync.WaitGroup
	done    atomic.Int64

	mu     sync.Mutex
	failed []string
}

func startBalanced(t *testing.T, dev *devfile.File, address string, ca *x509.CertPool, key string) *balanced {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &balanced{stopped: cancel}
	dialer := &net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(clientAddress)}}
	callers := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: ca}, MaxIdleConnsPerHost: 16,
	}}
	signer := aksk.NewSigner(dev.AccessKey, dev.SecretKey)
	path := "/v1.0/" + dev.ProjectID + "/kms/create-datakey"
	body := []byte(`{"key_id":"` + key + `"}`)
	for range 6 {
		b.all.Go(func() {
			for ctx.Err() == nil {
				if problem := callOnce(callers, signer, address, path, body); problem != "" && ctx.Err() == nil {
					b.mu.Lock()
					b.failed = append(b.failed, time.Now().Format("15:04:05.000 ")+problem)
					b.mu.Unlock()
				}
				b.done.Add(1)
			}
		})
	}
	t.Cleanup(func() { cancel(); b.all.Wait(); callers.CloseIdleConnections() })
	return b
}

// callOnce sends one signed request and returns what is wrong with the answer.
func callOnce(callers *http.Client, signer *aksk.Signer, address, path string, body []byte) string {
	r, err := http.NewRequest(http.MethodPost, "https://"+address+path, bytes.NewReader(body))
	if err != nil {
		return err.Error()
	}
	r.GetBody = nil // the transport may not repeat it by itself
	date := aksk.FormatDate(time.Now())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(aksk.DateHeader, date)
	r.Header.Set("Authorization", signer.Authorization(aksk.Request{
		Method: r.Method, Path: path, Headers: map[string]string{"host": address}, Body: body, Date: date,
	}))
	answer, err := callers.Do(r)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Sprintf("%d %.200s %v", answer.StatusCode, text, err)
	}
	return ""
}

// await waits for n further calls.
func (b *balanced) await(t *testing.T, n int64) {
	t.Helper()
	target := b.done.Load() + n
	await(t, "calls through the balancer", func() bool { return b.done.Load() >= target })
}

func (b *balanced) stop(t *testing.T) {
	t.Helper()
	calls := b.done.Load()
	b.stopped()
	b.all.Wait()
	if len(b.failed) > 0 {
		t.Errorf("%d of %d calls failed:\n%s", len(b.failed), calls, strings.Join(b.failed[:min(20, len(b.failed))], "\n"))
	}
	t.Logf("%d calls", calls)
}

// tracedSources are the addresses in a node's traces of data keys.
func tracedSources(t *testing.T, dir string) map[string]bool {
	t.Helper()
	sources := make(map[string]bool)
	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, segment := range segments {
		file, err := os.Open(segment)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			var trace struct {
				Name   string `json:"trace_name"`
				Source string `json:"source_ip"`
			}
			if err := json.Unmarshal(lines.Bytes(), &trace); err == nil && trace.Name == "createDataKey" {
				sources[trace.Source] = true
			}
		}
		file.Close()
	}
	return sources
}
