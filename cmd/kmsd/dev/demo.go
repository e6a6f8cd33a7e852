package dev

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
)

// The demonstration's load.
const (
	demoKey      = "demo" // the CMK's name; used again at the next start
	demoWorkers  = 32
	demoDuration = 5 * time.Second
)

// shownCiphertext is how much of a ciphertext is printed, in hex digits.
const shownCiphertext = 64

// newProbe is a plain HTTPS client that trusts the cluster's CA.
func newProbe(ca *x509.CertPool) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS12},
	}}
}

// demo shows the main job on the running cluster: a data key made on the first
// node is opened on the last one.
func (c *cluster) demo(ctx context.Context, path string) error {
	file, err := devfile.Read(path)
	if err != nil {
		return err
	}
	keyID, err := c.demoRoundTrip(ctx, file)
	if err != nil {
		return err
	}
	c.say.plain("")
	for _, n := range file.Nodes {
		c.say.plain("  %-12s %s", n.ID, n.URL)
	}
	c.say.plain("  %-12s %s", "CA file", file.CAFile)
	c.say.plain("  %-12s %s (region %s)", "project", file.ProjectID, file.Region)
	c.say.plain("  %-12s %s", "access key", file.AccessKey)
	c.say.plain("  %-12s %s", "secret key", file.SecretKey)
	c.say.plain("  %-12s %s / %s / %s", "login", file.DomainName, file.UserName, file.Password)
	c.say.plain("")
	return c.demoRate(ctx, file, keyID)
}

// demoRoundTrip returns the id of the key that it made.
func (c *cluster) demoRoundTrip(ctx context.Context, file *devfile.File) (string, error) {
	first, last := file.Nodes[0], file.Nodes[len(file.Nodes)-1]
	maker, err := clientOf(file, first)
	if err != nil {
		return "", err
	}
	defer maker.Close()
	opener, err := clientOf(file, last)
	if err != nil {
		return "", err
	}
	defer opener.Close()

	key, err := maker.EnsureKey(ctx, demoKey)
	if err != nil {
		return "", err
	}
	c.say.plain("\n  CMK          %s (%s), on %s", key, demoKey, first.ID)
	made, err := maker.CreateDataKey(ctx, key, client.DataKeyOptions{})
	if err != nil {
		return "", err
	}
	c.say.plain("  data key     %s, made on %s", hex.EncodeToString(made.Plaintext), first.ID)
	c.say.plain("  encrypted    %.*s... (%d bytes)", shownCiphertext, hex.EncodeToString(made.Ciphertext), len(made.Ciphertext))
	opened, err := opener.DecryptDataKey(ctx, key, made.Ciphertext, client.DataKeyOptions{Bytes: len(made.Plaintext)})
	if err != nil {
		return "", err
	}
	c.say.plain("  data key     %s, opened on %s", hex.EncodeToString(opened), last.ID)
	if !bytes.Equal(made.Plaintext, opened) {
		return "", errors.New("the two data keys differ")
	}
	c.say.plain("               the two match")
	return key, nil
}

// clientOf is a client of one node alone.
func clientOf(file *devfile.File, n devfile.Node) (*client.Client, error) {
	pool, err := client.ReadCA(file.CAFile)
	if err != nil {
		return nil, err
	}
	return client.New(client.Config{
		Endpoints: []string{n.URL}, CA: pool,
		AccessKey: file.AccessKey, SecretKey: file.SecretKey, ProjectID: file.ProjectID,
	})
}

// demoRate measures how many data keys a second the cluster makes.
func (c *cluster) demoRate(ctx context.Context, file *devfile.File, keyID string) error {
	poster, err := load.NewDataKeyPoster(file, keyID, demoWorkers)
	if err != nil {
		return err
	}
	defer poster.Close()
	report, err := load.Run(ctx, load.Config{
		Workers: demoWorkers, Duration: demoDuration,
		Progress: func(p load.Progress) {
			c.say.plain("  create-datakey %2.0f/%.0f s %s %8.0f/s", p.Elapsed.Seconds(), p.Of.Seconds(), bar(p.Elapsed, p.Of), p.Rate)
		},
	}, poster.Call)
	if err != nil {
		return err
	}
	if report.Errors > 0 {
		return fmt.Errorf("%d of %d calls failed, the first one so: %w", report.Errors, report.Errors+report.Calls, report.FirstError)
	}
	c.say.plain("  %d data keys in %.1f s from %d connections: %.0f/s, p50 %.1f ms, p99 %.1f ms\n", report.Calls, report.Elapsed.Seconds(),
		demoWorkers, report.Rate(), milliseconds(report.Latency(50)), milliseconds(report.Latency(99)))
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// bar draws how much of a time has passed.
func bar(elapsed, of time.Duration) string {
	const width = 20
	done := min(width, int(width*elapsed/of))
	return "[" + string(bytes.Repeat([]byte{'#'}, done)) + string(bytes.Repeat([]byte{'.'}, width-done)) + "]"
}
