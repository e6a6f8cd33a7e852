package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/raftkms/raftkms/cluster/membership"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/wire"
)

// believed says whether a client that knows only that CA believes each node.
func (c *trio) believed(authority []byte) bool {
	c.t.Helper()
	parsed, err := x509.ParseCertificate(authority)
	must(c.t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	for _, s := range c.nodes {
		conn, err := tls.Dial("tcp", s.cfg.APIListen, &tls.Config{RootCAs: pool})
		if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
			return false
		}
		must(c.t, err)
		conn.Close()
	}
	return true
}

// The CA is rotated under load, each step from another node, while leadership
// changes: no call fails, a node that cannot take part for a while holds the steps
// up by name, one that joins in between trusts what it must, and in the end the
// old CA is worth nothing.
func TestCAIsRotatedUnderLoad(t *testing.T) {
	c := newTrio(t)
	key := c.keyOf(0, `{"key_alias":"loaded"}`)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var calls atomic.Int64
	for node, s := range c.nodes {
		url := s.cfg.APIURL // more nodes come while they are asked
		load.Go(func() {
			for ctx.Err() == nil {
				if status, reply := c.askAt(url, "create-datakey", `{"key_id":"`+key+`","datakey_length":"256"}`); status != http.StatusOK {
					t.Errorf("create-datakey on node %d: %d %v", node, status, reply)
				}
				calls.Add(1)
			}
		})
	}
	step := func(node int, step string) *wire.CAStatus {
		t.Helper()
		status, err := c.nodes[node].rotateCA(t.Context(), wire.CARequest{Step: step})
		must(t, err)
		return status
	}
	refused := func(step, want string) {
		t.Helper()
		if _, err := c.nodes[0].rotateCA(t.Context(), wire.CARequest{Step: step}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", step, err, want)
		}
	}
	all := func(status *wire.CAStatus, stage string, cas int) {
		t.Helper()
		if status.Stage != stage || len(status.CAs) != cas || len(status.Nodes) != len(c.nodes) {
			t.Errorf("%+v, want %s with %d CAs", status, stage, cas)
		}
		for _, node := range status.Nodes {
			if node.Behind() || node.Problem != "" {
				t.Errorf("%s: %+v", stage, node)
			}
		}
	}
	old := c.nodes[0].machine.State().Cluster().CACertificates[0]
	refused("use", "`kmsctl cluster ca rotate` makes one")
	refused("finish", "not being rotated")
	refused("abort", "not being rotated")
	refused("", "the steps are rotate, use, finish and abort")

	// One that is given up leaves nothing behind.
	all(step(0, "rotate"), wire.CAStaged, 2)
	all(step(1, "abort"), wire.CASettled, 1)
	if !c.believed(old) || len(c.nodes[0].machine.State().Cluster().SealedCAKeyNext) > 0 {
		t.Error("the old CA is not what it was")
	}

	all(step(1, "rotate"), wire.CAStaged, 2)
	fresh := c.nodes[0].machine.State().Cluster().CACertificates[1]
	all(step(2, "rotate"), wire.CAStaged, 2) // asked again, it is the same
	if now := c.nodes[2].machine.State().Cluster().CACertificates[1]; string(now) != string(fresh) {
		t.Error("another CA was made when it was asked again")
	}
	if !c.believed(old) {
		t.Error("the new CA signs already")
	}
	c.handOver()
	all(step(2, "use"), wire.CAInUse, 2)
	if !c.believed(fresh) || c.believed(old) {
		t.Error("not all nodes show certificates of the new CA")
	}
	refused("abort", "no way back")
	refused("rotate", "`kmsctl cluster ca finish` comes next")
	c.add("n4", func(cfg *Config) { cfg.Standby = true })
	c.admit(c.nodes[3])
	await(t, "the fourth node", func() bool { return c.nodes[3].member.Load().ready.now() == nil })
	all(step(3, "use"), wire.CAInUse, 2)
	all(step(0, "finish"), wire.CASettled, 1)
	for _, s := range c.nodes {
		creds, err := loadCredentials(s.cfg.DataDir)
		must(t, err)
		if !sameCAs(creds.authorities, [][]byte{fresh}) {
			t.Errorf("node %s would trust %d CAs when it starts again", s.cfg.NodeID, len(creds.authorities))
		}
		certificate, err := x509.ParseCertificate(creds.certificate)
		must(t, err)
		if due := renewalDueOf(certificate, certificateHosts(s.cfg.APIURL, s.cfg.ClusterAdvertise)); due {
			t.Errorf("the certificate of node %s is due already", s.cfg.NodeID)
		}
	}
	stop()
	load.Wait()
	if calls.Load() < 10 {
		t.Errorf("%d calls were made meanwhile: this tests nothing", calls.Load())
	}
	// Root keys are rotated with whatever CA there is, also one to come.
	all(step(0, "rotate"), wire.CAStaged, 2)
	_, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsBegin})
	must(t, err)
	await(t, "nothing to be left under the old root keys", func() bool {
		reply, err := c.nodes[0].rotateRoots(t.Context(), wire.RotateRootsRequest{Action: wire.RootsRewrap})
		return err == nil && reply.Remaining == 0
	})
	all(step(0, "use"), wire.CAInUse, 2)
	all(step(0, "finish"), wire.CASettled, 1)
}

// A node that cannot follow holds a step up, and is named; it goes on by itself
// as soon as it can.
func TestCARotationWaitsForEveryNode(t *testing.T) {
	c := newTrio(t)
	s := c.nodes[0]
	_, err := s.rotateCA(t.Context(), wire.CARequest{Step: "rotate"})
	must(t, err)
	// A node that was admitted and never came says nothing.
	token, err := s.createJoinToken(t.Context(), wire.JoinTokenRequest{})
	must(t, err)
	silent := c.silentNode(token.Token)
	_, err = s.rotateCA(t.Context(), wire.CARequest{Step: "use"})
	if err == nil || !strings.Contains(err.Error(), "node "+silent+" does not trust the new CA yet, and would be cut off") {
		t.Errorf("used without %s: %v", silent, err)
	}
	status, err := s.caStatus(t.Context())
	must(t, err)
	if last := status.Nodes[len(status.Nodes)-1]; last.NodeID != silent || !last.Behind() || last.Problem == "" {
		t.Errorf("status of the silent node: %+v", last)
	}
	_, err = s.removeNode(t.Context(), wire.NodeRequest{NodeID: silent})
	must(t, err)

	for _, module := range c.modules {
		module.set(hsm.ErrUnavailable)
	}
	must(t, s.member.Load().service.RotateCA(t.Context(), "r", command.RotateCA{Step: command.CAUse}))
	status, err = s.caStatus(t.Context())
	must(t, err)
	for _, node := range status.Nodes {
		if !node.Trusts || node.Renewed || node.Problem == "" {
			t.Errorf("while nothing can be signed: %+v", node)
		}
	}
	if _, err = s.rotateCA(t.Context(), wire.CARequest{Step: "finish"}); err == nil || !strings.Contains(err.Error(), "node n1 has no certificate of the new CA yet") {
		t.Errorf("finished without certificates: %v", err)
	}
	for _, module := range c.modules {
		module.set(nil)
	}
	await(t, "all nodes to renew by themselves", func() bool {
		for _, node := range s.machine.State().Nodes() {
			if string(node.CAIssuer) != string(reportOf(nil, s.machine.State().Cluster().CACertificates[0]).Issuer) {
				return false
			}
		}
		return true
	})
	status, err = s.rotateCA(t.Context(), wire.CARequest{Step: "finish"})
	if err != nil || status.Stage != wire.CASettled {
		t.Errorf("finished: %+v, %v", status, err)
	}
}

// silentNode spends a token for a node that is never heard of again.
func (c *trio) silentNode(token string) (id string) {
	c.t.Helper()
	s := &Server{cfg: c.nodes[1].cfg, machine: c.nodes[1].machine}
	s.cfg.NodeID, s.cfg.DataDir = "n9", c.t.TempDir()
	s.cfg.ClusterAdvertise, s.cfg.APIURL, s.cfg.GossipAdvertise = freeAddress(c.t), "https://"+freeAddress(c.t), freeAddress(c.t)
	key, err := s.joiningKey()
	must(c.t, err)
	parsed, err := membership.ParseToken(token)
	must(c.t, err)
	body, err := s.joinBody(c.t.Context(), parsed, key)
	must(c.t, err)
	_, err = s.askToJoin(c.t.Context(), parsed, body, 1)
	must(c.t, err)
	return "n9"
}

// Without a cluster there is nothing to rotate.
func TestCAOfNoCluster(t *testing.T) {
	s := &Server{}
	if _, err := s.rotateCA(t.Context(), wire.CARequest{Step: "rotate"}); err != errNoCluster {
		t.Errorf("got %v", err)
	}
	if _, err := s.caStatus(t.Context()); err != errNoCluster {
		t.Errorf("got %v", err)
	}
}
