package server

import (
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/failover"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/server/wire"
)

// The second HSM of a node gets the root keys by the operator's command, that of
// a joiner with the first, and both those of the next generation; each alone
// does the node's work.
func TestNodesWithTwoDevices(t *testing.T) {
	const officerPIN, userPIN = "officer-1234", "user-5678"
	dir := t.TempDir()
	library, err := pkcs11.FindSoftHSM()
	if err != nil {
		t.Fatalf("this test needs SoftHSM (apt-get install softhsm2): %v", err)
	}
	c := &trio{t: t, officerPIN: officerPIN, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test asks its own nodes on loopback
	}}}
	device := func(name, label string) failover.Device {
		environment, err := pkcs11.CreateSoftHSMToken(dir, label, []byte(officerPIN), []byte(userPIN))
		must(t, err)
		for name, value := range environment {
			t.Setenv(name, value)
		}
		return failover.Device{Name: name, Open: func(ctx context.Context) (hsm.Module, error) {
			return pkcs11.Open(ctx, pkcs11.Config{
				Library: library, TokenLabel: label, Sessions: 4, PIN: func() ([]byte, error) { return []byte(userPIN), nil },
			})
		}}
	}
	pairs := map[string]*failover.Pair{}
	c.open = func(id string) hsm.Module {
		p, err := failover.Open(t.Context(), failover.Config{Devices: [2]failover.Device{device("first", id+"-1"), device("second", id+"-2")}})
		must(t, err)
		pairs[id] = p
		return p
	}
	itself := func(cfg *Config) { cfg.Module = cfg.Module.(*breakable).Module }
	c.add("n1", itself)
	c.add("n2", itself)
	c.found()

	founder := c.nodes[0]
	status := func(node int) string {
		var problems []string
		for _, m := range c.nodes[node].modules() {
			if !m.Serves {
				problems = append(problems, m.Name+": "+m.Problem)
			}
		}
		return strings.Join(problems, "; ")
	}
	if got := status(0); !strings.Contains(got, "second: ") || !strings.Contains(got, "kmsctl root copy") {
		t.Errorf("after the foundation: %q", got)
	}
	if got := status(1); got != "" {
		t.Errorf("after the joiner was approved: %q", got)
	}
	if _, err := c.nodes[1].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsStatus}); err != nil {
		t.Error(err)
	}
	if _, err := founder.rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin, OfficerPIN: officerPIN}); err == nil || !strings.Contains(err.Error(), "the second HSM lacks") {
		t.Errorf("a rotation while a device lacks the root keys: %v", err)
	}
	copied, err := founder.copyRoots(t.Context(), wire.CopyRootsRequest{OfficerPIN: officerPIN})
	must(t, err)
	again, err := founder.copyRoots(t.Context(), wire.CopyRootsRequest{OfficerPIN: officerPIN})
	must(t, err)
	if len(copied.Copied) != 1 || copied.Copied[0] != (wire.CopiedRoots{HSM: "second", Generation: 1}) || len(again.Copied) != 0 || status(0) != "" {
		t.Errorf("copied %+v, then %+v; %q", copied, again, status(0))
	}

	kept := []string{c.sealedData(0, c.keyOf(0, `{"key_alias":"device"}`)), c.sealedData(1, c.keyOf(1, `{"key_alias":"memory","protection_level":"SOFTWARE"}`))}
	begun, err := founder.rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin, OfficerPIN: officerPIN})
	must(t, err)
	if begun.Generation != 2 {
		t.Fatalf("begun: %+v", begun)
	}
	await(t, "nothing to be left under the old root keys", func() bool {
		reply, err := founder.rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsRewrap, OfficerPIN: officerPIN})
		must(t, err)
		return reply.Remaining == 0
	})
	c.opensEverywhere("after the rotation", kept)
	for i, id := range []string{"n1", "n2"} {
		if got := status(i); got != "" {
			t.Errorf("after the rotation, node %s: %q", id, got)
		}
		lacking, err := pairs[id].Lacking(t.Context(), 2)
		must(t, err)
		if len(lacking) != 0 {
			t.Errorf("%d devices of node %s lack the new root keys", len(lacking), id)
		}
	}
	var shown strings.Builder
	founder.metrics.write(&shown)
	for _, want := range []string{`kmsd_hsm_member_serves{member="second"} 1`, `kmsd_hsm_faults_total{of="device",member="first"} 0`, `kmsd_hsm_objects{member="second"}`} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if _, err := (&Server{cfg: Config{Module: pairs["n1"]}}).copyRoots(t.Context(), wire.CopyRootsRequest{}); err != errNoCluster {
		t.Errorf("copied without a cluster: %v", err)
	}
}
