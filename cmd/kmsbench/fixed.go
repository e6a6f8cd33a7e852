package main

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
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"github.com/valyala/fasthttp"
)

// The fixed-response server is what raftkms is compared with: the same web
// server and TLS, the same requests, answers of the same size, and no work
// between the two. It runs as a process of its own, so that its CPU time is
// measured in the same way. Where it is told to append, it also puts as many
// bytes on disk for every answer as a trace has.

// fixedHello is what the server's process says when it is ready.
type fixedHello struct {
	URL         string `json:"url"`
	Certificate []byte `json:"certificate"` // DER
}

func newFixedServer() *cobra.Command {
	var size, record int
	cmd := &cobra.Command{
		Use: "fixed-server", Hidden: true, Args: cobra.NoArgs,
		Short: "Answer every request with the same bytes until standard input ends",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveFixed(cmd.InOrStdin(), cmd.OutOrStdout(), size, record)
		},
	}
	cmd.Flags().IntVar(&size, "size", 0, "Bytes of an answer.")
	cmd.Flags().IntVar(&record, "append", 0, "Bytes to put on disk before each answer, with those of who else waits; 0: none.")
	return cmd
}

func serveFixed(in io.Reader, out io.Writer, size, record int) (err error) {
	certificate, err := selfSigned()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	body := bytes.Repeat([]byte{'x'}, size)
	appended := func() error { return nil }
	if record > 0 {
		a, err := newAppender(os.TempDir(), record) // where the nodes are that are run
		if err != nil {
			return errors.Join(err, listener.Close())
		}
		defer func() { err = errors.Join(err, a.close()) }()
		appended = a.append
	}
	s := &fasthttp.Server{
		Handler: func(rc *fasthttp.RequestCtx) {
			if err := appended(); err != nil {
				rc.Error("appending: "+err.Error(), fasthttp.StatusInternalServerError)
				return
			}
			rc.SetContentType("application/json")
			rc.SetBody(body)
		},
		NoDefaultServerHeader: true,
	}
	hello := fixedHello{URL: "https://" + listener.Addr().String(), Certificate: certificate.Certificate[0]}
	if err := json.NewEncoder(out).Encode(hello); err != nil {
		return fmt.Errorf("saying hello: %w", err)
	}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13}))
	}()
	_, _ = io.Copy(io.Discard, in)             // ends with the parent, however that ends
	return errors.Join(s.Shutdown(), <-served) // nobody is being answered any more
}

// selfSigned makes a certificate for the loopback address, of the kind that
// nodes have (ECDSA P-256).
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fixed response"},
		NotBefore: now.Add(-time.Minute), NotAfter: now.Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// fixedServer is the running process.
type fixedServer struct {
	url   string
	ca    *x509.CertPool
	cmd   *exec.Cmd
	stdin io.WriteCloser
}

// startFixed runs the server with answers of size bytes, for each of which it
// puts record bytes on disk (0: none).
func startFixed(ctx context.Context, size, record int) (*fixedServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	f := &fixedServer{ca: x509.NewCertPool(), cmd: exec.CommandContext(ctx, self, "fixed-server", fmt.Sprintf("--size=%d", size), fmt.Sprintf("--append=%d", record))}
	f.cmd.Stderr = os.Stderr
	if f.stdin, err = f.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting the fixed-response server: %w", err)
	}
	stdout, err := f.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the fixed-response server: %w", err)
	}
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the fixed-response server: %w", err)
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the fixed-response server: %w", err), f.stop())
	}
	var hello fixedHello
	if err := json.Unmarshal(line, &hello); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the fixed-response server: %w", err), f.stop())
	}
	certificate, err := x509.ParseCertificate(hello.Certificate)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the fixed-response server: %w", err), f.stop())
	}
	f.url = hello.URL
	f.ca.AddCert(certificate)
	return f, nil
}

// stop ends the process and waits for it.
func (f *fixedServer) stop() error {
	f.stdin.Close()
	if err := f.cmd.Wait(); err != nil {
		return fmt.Errorf("stopping the fixed-response server: %w", err)
	}
	return nil
}
