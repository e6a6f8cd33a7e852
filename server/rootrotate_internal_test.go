package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/wire"
)

// keyOf makes a key and returns its id.
func (c *trio) keyOf(node int, body string) string {
	c.t.Helper()
	status, reply := c.ask(node, "create-key", body)
	if status != http.StatusOK {
		c.t.Fatal(status, reply)
	}
	return reply["key_info"].(map[string]any)["key_id"].(string)
}

// sealedData encrypts something under a key and returns the ciphertext.
func (c *trio) sealedData(node int, key string) string {
	c.t.Helper()
	status, reply := c.ask(node, "encrypt-data", `{"key_id":"`+key+`","plain_text":"something to keep"}`)
	if status != http.StatusOK {
		c.t.Fatal(status, reply)
	}
	return reply["cipher_text"].(string)
}

// opensEverywhere wants every node to open every ciphertext.
func (c *trio) opensEverywhere(when string, ciphertexts []string) {
	c.t.Helper()
	for node := range c.nodes {
		for i, text := range ciphertexts {
			if status, reply := c.ask(node, "decrypt-data", `{"cipher_text":"`+text+`"}`); status != http.StatusOK || reply["plain_text"] != "something to keep" {
				c.t.Errorf("%s: node %d and ciphertext %d: %d %v", when, node, i, status, reply)
			}
		}
	}
}

func (c *trio) leader() int {
	for i, s := range c.nodes {
		if m := s.member.Load(); m != nil && m.node.IsLeader() {
			return i
		}
	}
	return -1
}

// leading is the node that leads, once one does: on a busy machine none may for a
// while.
func (c *trio) leading() (s *Server) {
	c.t.Helper()
	await(c.t, "a leader", func() bool {
		node := c.leader()
		if node >= 0 {
			s = c.nodes[node]
		}
		return node >= 0
	})
	return s
}

// handOver has another node lead.
func (c *trio) handOver() {
	c.t.Helper()
	await(c.t, "leadership to be handed on", func() bool {
		return c.leading().member.Load().node.TransferLeadership(c.t.Context()) == nil
	})
}

// The root keys are rotated under load, while leadership changes: no call fails,
// every key opens before, between and after, and in the end the old root keys
// are nowhere.
func TestRootsAreRotatedUnderLoad(t *testing.T) {
	c := newTrio(t)
	var ciphertexts []string
	for _, spec := range []string{"AES_256", "SM4"} {
		for range 3 {
			key := c.keyOf(len(ciphertexts)%3, `{"key_alias":"k`+spec+string(rune('a'+len(ciphertexts)))+`","key_spec":"`+spec+`"}`)
			ciphertexts = append(ciphertexts, c.sealedData(0, key))
		}
	}
	loaded := c.keyOf(0, `{"key_alias":"loaded"}`)
	external := c.keyOf(0, `{"key_alias":"external","origin":"external"}`)
	token := c.login(1)

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var calls, made atomic.Int64
	for node := range c.nodes {
		load.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if status, reply := c.ask(node, "create-datakey", `{"key_id":"`+loaded+`","datakey_length":"256"}`); status != http.StatusOK {
					t.Errorf("create-datakey on node %d: %d %v", node, status, reply)
				} else if status, reply := c.ask((node+1)%3, "decrypt-datakey", `{"key_id":"`+loaded+`","cipher_text":"`+reply["cipher_text"].(string)+`","datakey_cipher_length":"32"}`); status != http.StatusOK {
					t.Errorf("decrypt-datakey on node %d: %d %v", node, status, reply)
				}
				calls.Add(1)
				if i%8 == 0 && made.Add(1) < 40 { // a project may have 100
					if status, reply := c.ask(node, "create-key", `{"key_alias":"load`+randomText(12)+`"}`); status != http.StatusOK {
						t.Errorf("create-key on node %d: %d %v", node, status, reply)
					}
				}
			}
		})
	}
	rotate := func(node int, action string) wire.RotateRootsReply {
		t.Helper()
		reply, err := c.nodes[node].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: action})
		must(t, err)
		return *reply
	}
	reply := rotate(1, wire.RootsBegin)
	if reply.Generation != 2 || reply.Old != 1 || reply.Next != 0 || len(reply.Waiting) != 0 {
		t.Errorf("begun: %+v", reply)
	}
	if again := rotate(2, wire.RootsBegin); again.Generation != 2 || again.Old != 1 {
		t.Errorf("begun twice: %+v", again)
	}
	c.handOver()
	await(t, "nothing to be left under the old root keys", func() bool {
		return rotate(0, wire.RootsRewrap).Remaining == 0
	})
	c.opensEverywhere("between", ciphertexts)
	if status, body := c.listKeys(2, "X-Auth-Token", token); status != http.StatusOK {
		t.Errorf("a token from before: %d %s", status, body)
	}
	stop()
	load.Wait()
	if calls.Load() < 10 {
		t.Errorf("%d calls were made meanwhile: this tests nothing", calls.Load())
	}
	// A node that joins now gets both.
	if _, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsRetire}); err == nil || !strings.Contains(err.Error(), "tokens of users") {
		t.Errorf("retired while tokens count: %v", err)
	}
	c.add("n4", func(cfg *Config) { cfg.Standby = true })
	c.admit(c.nodes[3])
	await(t, "the fourth node", func() bool { return c.nodes[3].member.Load().ready.now() == nil })
	c.opensEverywhere("with a fourth node", ciphertexts)
	await(t, "nothing to be left under the old root keys", func() bool { return rotate(0, wire.RootsRewrap).Remaining == 0 })

	retired, err := c.nodes[2].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsRetire, EndTokens: true})
	must(t, err)
	if retired.Old != 0 || retired.Generation != 2 {
		t.Errorf("retired: %+v", retired)
	}
	for i, s := range c.nodes {
		await(t, "every module to have destroyed the old root keys", func() bool {
			_, err := c.modules[i].Under(1).MAC(t.Context(), []byte("x"))
			return errors.Is(err, hsm.ErrNoRoots)
		})
		id, _, err := loadIdentity(s.cfg.DataDir)
		must(t, err)
		if canary, err := id.canary(); err != nil || canary.Generation != 2 {
			t.Errorf("node %s would prove its module with generation %d, %v", s.cfg.NodeID, canary.Generation, err)
		}
	}
	c.opensEverywhere("after", ciphertexts)
	if status, _ := c.listKeys(2, "X-Auth-Token", token); status != http.StatusUnauthorized {
		t.Errorf("a token under root keys that are gone: %d", status)
	}
	for _, s := range c.nodes {
		if got := verifyAll(t, c.nodes[0], s.cfg.NodeID); !got.Holds || len(got.Failures) > 0 || got.RootGeneration != 2 {
			t.Errorf("node %s: %+v", s.cfg.NodeID, got)
		}
	}
	if status, answer := c.ask(0, "get-parameters-for-import", `{"key_id":"`+external+`","wrapping_algorithm":"RSAES_OAEP_SHA_256"}`); status != http.StatusOK {
		t.Errorf("an import under the new root keys: %d %v", status, answer)
	}
	if _, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsRetire}); err == nil {
		t.Error("retired twice")
	}
	if _, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: "turn"}); err == nil {
		t.Error("turned")
	}
	if _, err := (&Server{}).rotateRoots(t.Context(), wire.RotateRootsRequest{}); err != errNoCluster {
		t.Errorf("without a cluster: %v", err)
	}
}

// Operators who begin at once, on different nodes, begin one rotation: what one
// node has made never takes the place of what another has sent.
func TestRotationsThatBeginAtOnce(t *testing.T) {
	c := newTrio(t)
	key := c.keyOf(0, `{"key_alias":"k"}`)
	kept := []string{c.sealedData(0, key)}
	var all sync.WaitGroup
	for _, s := range c.nodes {
		all.Go(func() {
			// One begins it; the others go on with it, or are told who has begun.
			_, err := s.rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin})
			if err != nil {
				t.Logf("node %s: %v", s.cfg.NodeID, err)
			}
		})
	}
	all.Wait()
	await(t, "one of them to go on", func() bool {
		for _, s := range c.nodes {
			if reply, err := s.rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin}); err == nil && reply.Generation == 2 {
				return true
			}
		}
		return false
	})
	await(t, "nothing to be left under the old root keys", func() bool {
		reply, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsRewrap})
		return err == nil && reply.Remaining == 0
	})
	if _, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsRetire, EndTokens: true}); err != nil {
		t.Error(err)
	}
	c.opensEverywhere("after", kept)
	for _, s := range c.nodes {
		if got := verifyAll(t, c.nodes[0], s.cfg.NodeID); !got.Holds || len(got.Failures) > 0 || got.RootGeneration != 2 {
			t.Errorf("node %s: %+v", s.cfg.NodeID, got)
		}
	}
}

// A node that cannot take the new root keys holds the rotation up before
// anything uses them; it goes on when the node is back. A member that cannot
// prove that it holds the old ones is sent none.
func TestRotationWaitsForEveryNode(t *testing.T) {
	c := newTrio(t)
	key := c.keyOf(0, `{"key_alias":"k"}`)
	kept := []string{c.sealedData(0, key)}
	c.modules[2].set(hsm.ErrUnavailable)
	_, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin})
	if err == nil || !strings.Contains(err.Error(), "nothing uses them") {
		t.Errorf("without the third node: %v", err)
	}
	status, err := c.nodes[1].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsStatus})
	must(t, err)
	if status.Generation != 1 || status.Next != 2 || len(status.Waiting) == 0 {
		t.Errorf("meanwhile: %+v", status)
	}
	err = c.nodes[0].member.Load().service.RotateRoots(t.Context(), "r", command.RotateRoots{Step: command.RootUse, Generation: 2})
	if err == nil || !strings.Contains(err.Error(), "node n3 does not hold root generation 2") {
		t.Errorf("used before all hold them: %v", err)
	}
	c.keyOf(0, `{"key_alias":"made-meanwhile"}`)
	// Another node gives up what this one made; all who held it destroy it, and its
	// number serves again.
	aborted, err := c.nodes[1].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsAbort})
	must(t, err)
	if aborted.Next != 0 || aborted.Generation != 1 {
		t.Errorf("given up: %+v", aborted)
	}
	if _, err := c.nodes[1].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsAbort}); err == nil || !strings.Contains(err.Error(), "no staged root keys") {
		t.Errorf("given up twice: %v", err)
	}
	for i := range 2 {
		await(t, "what was given up to be destroyed", func() bool {
			_, err := c.modules[i].Under(2).MAC(t.Context(), []byte("x"))
			return errors.Is(err, hsm.ErrNoRoots)
		})
	}
	c.modules[2].set(nil)
	// Another operator goes on where it was, on a node that holds the new keys.
	await(t, "the rotation to go on", func() bool {
		reply, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin})
		return err == nil && reply.Generation == 2
	})
	await(t, "nothing to be left under the old root keys", func() bool {
		reply, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsRewrap})
		return err == nil && reply.Remaining == 0
	})
	c.opensEverywhere("after", kept)

	forged := provedKeyMessage("n2", []byte("key"))
	mac, err := c.modules[0].Under(2).MAC(t.Context(), forged)
	must(t, err)
	if err := c.modules[0].VerifyMAC(t.Context(), provedKeyMessage("n3", []byte("key")), mac); !errors.Is(err, hsm.ErrMAC) {
		t.Errorf("the proof of one node serves another: %v", err)
	}
}
