package server

import (
	"crypto/tls"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/custody"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/server/wire"
)

// newPair is a cluster of two nodes in this process, each with a token of SoftHSM.
func newPair(t *testing.T) *trio {
	t.Helper()
	const officerPIN, userPIN = "officer-1234", "user-5678"
	dir := t.TempDir()
	library, err := pkcs11.FindSoftHSM()
	if err != nil {
		t.Fatalf("this test needs SoftHSM (apt-get install softhsm2): %v", err)
	}
	c := &trio{t: t, officerPIN: officerPIN, client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the test asks its own nodes on loopback
	}}}
	for _, id := range []string{"n1", "n2", "fresh"} {
		environment, err := pkcs11.CreateSoftHSMToken(dir, id, []byte(officerPIN), []byte(userPIN))
		must(t, err)
		for name, value := range environment {
			t.Setenv(name, value)
		}
	}
	c.open = func(id string) hsm.Module {
		module, err := pkcs11.Open(t.Context(), pkcs11.Config{
			Library: library, TokenLabel: id, PIN: func() ([]byte, error) { return []byte(userPIN), nil },
		})
		must(t, err)
		return module
	}
	c.add("n1")
	c.add("n2")
	c.found()
	return c
}

// With devices, keys of the level HSM change roots inside them, by leave of the
// security officer; a backup for custodians is restored in an empty token.
func TestRootsOfDevices(t *testing.T) {
	c := newPair(t)
	kept := []string{
		c.sealedData(0, c.keyOf(0, `{"key_alias":"device"}`)),
		c.sealedData(1, c.keyOf(1, `{"key_alias":"memory","protection_level":"SOFTWARE"}`)),
	}
	signer := c.keyOf(0, `{"key_alias":"signer","key_spec":"EC_P256","key_usage":"SIGN_VERIFY"}`)
	rotate := func(node int, req wire.RotateRootsRequest) *wire.RotateRootsReply {
		t.Helper()
		reply, err := c.nodes[node].rotateRoots(t.Context(), req)
		must(t, err)
		return reply
	}
	if _, err := c.nodes[1].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin, OfficerPIN: "wrong-9999"}); err == nil {
		t.Error("begun with a wrong officer's PIN")
	}
	begun := rotate(1, wire.RotateRootsRequest{Action: wire.RootsBegin, OfficerPIN: c.officerPIN})
	if begun.Generation != 2 || begun.Old != 1 {
		t.Fatalf("begun: %+v", begun)
	}
	// All but the two keys in the device, for which somebody has to give leave.
	await(t, "what needs no leave to be done", func() bool {
		reply := rotate(1, wire.RotateRootsRequest{Action: wire.RootsRewrap})
		return reply.Blocked == 2 && reply.Remaining == 2
	})
	c.opensEverywhere("between", kept)
	await(t, "nothing to be left under the old root keys", func() bool {
		return rotate(1, wire.RotateRootsRequest{Action: wire.RootsRewrap, OfficerPIN: c.officerPIN}).Remaining == 0
	})
	rotate(0, wire.RotateRootsRequest{Action: wire.RootsRetire, EndTokens: true})
	for i := range c.nodes {
		await(t, "every token to have destroyed the old root keys", func() bool {
			_, err := c.modules[i].Under(1).MAC(t.Context(), []byte("x"))
			return errors.Is(err, hsm.ErrNoRoots)
		})
	}
	c.opensEverywhere("after", kept)
	for node := range c.nodes {
		if status, reply := c.ask(node, "sign", `{"key_id":"`+signer+`","message":"bWVzc2FnZQ==","message_type":"RAW","signing_algorithm":"ECDSA_SHA_256"}`); status != http.StatusOK {
			t.Errorf("a signature after the rotation: %d %v", status, reply)
		}
		if got := verifyAll(t, c.nodes[node], c.nodes[node].cfg.NodeID); !got.Holds || len(got.Failures) > 0 || got.RootGeneration != 2 {
			t.Errorf("node %d: %+v", node, got)
		}
	}
	// Nothing gives leave any more.
	if _, err := c.modules[1].Rewrap(t.Context(), hsm.Wrapped{Level: hsm.LevelHSM, Spec: hsm.SpecAES256, Generation: 2, Blob: make([]byte, 40)}, 2); !errors.Is(err, hsm.ErrNotPermitted) {
		t.Errorf("after the rotation: %v", err)
	}

	backup, err := c.nodes[0].backUpRoots(t.Context(), wire.BackUpRootsRequest{Threshold: 3, Shares: 5, OfficerPIN: c.officerPIN})
	must(t, err)
	fresh := c.open("fresh")
	defer func() { must(t, fresh.Close()) }()
	if _, err := custody.Restore(t.Context(), fresh, backup.File, backup.Shares[:2]); !errors.Is(err, custody.ErrTooFew) {
		t.Errorf("two shares of three: %v", err)
	}
	_, err = custody.Restore(t.Context(), fresh, backup.File, []string{backup.Shares[4], backup.Shares[0], backup.Shares[2]})
	must(t, err)
	canary, err := canaryOf(c.nodes[0].machine.State().Cluster(), 2)
	must(t, err)
	must(t, canary.Verify(t.Context(), fresh))
}
