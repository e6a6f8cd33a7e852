package main_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/server/wire"
)

// alone is a node that has founded a cluster of its own.
type alone struct {
	*process
	port    int // of the API
	socket  *admin.Socket
	founded wire.InitReply
}

// foundAlone runs a node with its files in dir and founds a cluster. more goes
// into its configuration: at least the module.
func foundAlone(ctx context.Context, t *testing.T, dir, more string) *alone {
	t.Helper()
	port, socket := freePort(t, 1), filepath.Join(dir, "s")
	config := filepath.Join(dir, "kmsd.yaml")
	must(t, os.WriteFile(config, []byte(fmt.Sprintf(`
node: {id: n1, data_dir: %s, admin_socket: %s}
api: {listen: "127.0.0.1:%d"}
cluster: {listen: "127.0.0.1:%d"}
gossip: {listen: "127.0.0.1:%d"}
%s`, filepath.Join(dir, "data"), socket, port, port+1, port+2, more)), 0o600))
	n := &alone{process: start(t, "serve", "--config", config), port: port, socket: admin.Open(socket)}
	await(t, "the admin socket", func() bool {
		_, err := n.socket.Status(ctx)
		return err == nil
	})
	var err error
	n.founded, err = n.socket.Init(ctx, wire.InitRequest{Region: "r-1", DomainName: "d", UserName: "u"})
	must(t, err)
	return n
}

// foundWithHSM is foundAlone with an HSM that does what it is told to.
func foundWithHSM(ctx context.Context, t *testing.T, more string) (*alone, *faultylib.Device) {
	t.Helper()
	dir := t.TempDir()
	module, device := faultyModule(t, dir)
	return foundAlone(ctx, t, dir, module+more), device
}

// faultyModule is the configuration of a module with an HSM that does what it is
// told to, and has the token "node". More are further settings of module.pkcs11,
// which win.
func faultyModule(t *testing.T, dir string, more ...string) (text string, device *faultylib.Device) {
	t.Helper()
	const officerPIN, userPIN = "officer-1234", "user-5678"
	library, err := pkcs11.FindSoftHSM()
	if err != nil {
		t.Fatalf("this test needs SoftHSM (apt-get install softhsm2): %v", err)
	}
	device, err = faultylib.New(dir, library)
	must(t, err)
	environment, err := pkcs11.CreateSoftHSMToken(dir, "node", []byte(officerPIN), []byte(userPIN))
	must(t, err)
	settings := []string{"library: " + device.Path, "environment: {SOFTHSM2_CONF: " + environment["SOFTHSM2_CONF"] + "}"}
	for name, value := range map[string]string{"token_label": "node", "pin_file": secretFile(t, userPIN)} {
		if !slices.ContainsFunc(more, func(s string) bool { return strings.HasPrefix(s, name) }) {
			settings = append(settings, name+": "+value)
		}
	}
	return fmt.Sprintf("module:\n  kind: pkcs11\n  pkcs11: {%s}\n", strings.Join(append(settings, more...), ", ")), device
}

// client is that of the node's first administrator.
func (n *alone) client(t *testing.T) *client.Client {
	t.Helper()
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM([]byte(n.founded.CACertificate))
	c, err := client.New(client.Config{
		Endpoints: []string{fmt.Sprintf("https://127.0.0.1:%d", n.port)}, CA: ca, ProjectID: n.founded.ProjectID,
		AccessKey: n.founded.AccessKey, SecretKey: n.founded.SecretKey, Patience: time.Minute,
	})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// metric is one of the numbers that the node shows to monitoring.
func (n *alone) metric(ctx context.Context, t *testing.T, name string) float64 {
	t.Helper()
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM([]byte(n.founded.CACertificate))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/metrics", n.port), nil)
	must(t, err)
	response, err := (&http.Client{Transport: transport}).Do(request)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(line, name+" "); is {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			must(t, err)
			return number
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}
