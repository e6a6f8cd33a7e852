package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// The first account of a dev cluster.
const (
	region     = "dev-region-1"
	domainName = "dev"
	userName   = "admin"
)

// Limits of waiting while the cluster comes up.
const (
	pollPeriod   = 50 * time.Millisecond
	phaseTimeout = 60 * time.Second
)

// bringUp starts the nodes and waits until each is a voter that serves.
func (c *cluster) bringUp(ctx context.Context) (wire.InitReply, error) {
	for _, n := range c.nodes {
		if err := n.prepare(c.plan); err != nil {
			return wire.InitReply{}, err
		}
	}
	if err := c.plan.save(); err != nil {
		return wire.InitReply{}, err
	}
	if c.plan.Complete {
		return c.restart(ctx)
	}
	return c.found(ctx)
}

// restart starts a cluster whose nodes all belong to it already.
func (c *cluster) restart(ctx context.Context) (wire.InitReply, error) {
	credentials, err := c.loadCredentials()
	if err != nil {
		return credentials, err
	}
	for _, n := range c.nodes {
		if err := n.launch(c.starter, c.options.Executable); err != nil {
			return credentials, err
		}
	}
	c.say.line("%d nodes started from %s", len(c.nodes), c.options.Dir)
	return credentials, c.awaitReady(ctx)
}

// found starts a new cluster on the first node and has the others join it.
// Interrupted anywhere, it goes on from there at the next start.
func (c *cluster) found(ctx context.Context) (wire.InitReply, error) {
	first := c.nodes[0]
	if err := first.launch(c.starter, c.options.Executable); err != nil {
		return wire.InitReply{}, err
	}
	credentials, err := c.initialise(ctx, first)
	if err != nil {
		return credentials, err
	}
	c.say.line("%s holds the new cluster %s", first.id, credentials.ClusterID)
	for _, n := range c.nodes[1:] {
		if err := c.admit(ctx, first, n); err != nil {
			return credentials, err
		}
		c.say.line("%s has joined and received the root keys", n.id)
	}
	if err := c.awaitReady(ctx); err != nil {
		return credentials, err
	}
	c.plan.Complete = true
	return credentials, c.plan.save()
}

// initialise makes the cluster and keeps its credentials, or reads the kept
// ones when that was done before.
func (c *cluster) initialise(ctx context.Context, first *node) (wire.InitReply, error) {
	status, err := c.await(ctx, first, "answer on its admin socket", func(wire.StatusReply) bool { return true })
	if err != nil {
		return wire.InitReply{}, err
	}
	if status.ClusterID != "" {
		return c.loadCredentials()
	}
	credentials, err := first.admin.Init(ctx, wire.InitRequest{Region: region, DomainName: domainName, UserName: userName})
	if err != nil {
		return credentials, fmt.Errorf("starting a cluster on %s: %w", first.id, err)
	}
	return credentials, c.saveCredentials(credentials)
}

// admit has one node join, and gives its module the roots after comparing
// fingerprints as an operator would: the node's own with the one that the
// cluster was told.
func (c *cluster) admit(ctx context.Context, first, n *node) error {
	token, err := c.joinToken(ctx, first)
	if err != nil {
		return err
	}
	if err := devfile.WriteAtomic(n.settings.Cluster.JoinTokenFile, []byte(token+"\n")); err != nil {
		return err
	}
	if err := n.launch(c.starter, c.options.Executable); err != nil {
		return err
	}
	status, err := c.await(ctx, n, "join", func(s wire.StatusReply) bool {
		return s.Roots || s.Fingerprint != ""
	})
	if err != nil || status.Roots {
		return err
	}
	if _, err := c.await(ctx, first, "replicate to "+n.id, func(s wire.StatusReply) bool {
		m, ok := member(s, n.id)
		return ok && m.Fingerprint != "" && (m.Role == "standby" || m.Role == "voter")
	}); err != nil {
		return err
	}
	pin, err := first.officerPIN(c.plan)
	if err != nil {
		return err
	}
	err = first.admin.ApproveRoots(ctx, wire.ApproveRootsRequest{NodeID: n.id, Fingerprint: status.Fingerprint, OfficerPIN: pin})
	if err != nil {
		return fmt.Errorf("approving the root keys for %s: %w", n.id, err)
	}
	_, err = c.await(ctx, n, "take the root keys", func(s wire.StatusReply) bool { return s.Roots })
	return err
}

// joinToken asks the first node, which may still be electing itself.
func (c *cluster) joinToken(ctx context.Context, first *node) (string, error) {
	if _, err := c.await(ctx, first, "serve", func(s wire.StatusReply) bool { return s.Ready }); err != nil {
		return "", err
	}
	reply, err := first.admin.JoinToken(ctx, 0)
	if err != nil {
		return "", fmt.Errorf("making a join token on %s: %w", first.id, err)
	}
	return reply.Token, nil
}

// awaitReady waits until every node is a voter, and its API says that it serves.
func (c *cluster) awaitReady(ctx context.Context) error {
	for _, n := range c.nodes {
		if _, err := c.await(ctx, n, "serve", func(s wire.StatusReply) bool { return s.Ready && c.allVote(s) }); err != nil {
			return err
		}
	}
	pool, err := client.ReadCA(filepath.Join(c.options.Dir, caFile))
	if err != nil {
		return err
	}
	probe := newProbe(pool)
	defer probe.CloseIdleConnections()
	for _, n := range c.nodes {
		if err := ready(ctx, probe, n); err != nil {
			return err
		}
		c.say.line("%s serves on %s", n.id, n.settings.API.Advertise)
	}
	return nil
}

// allVote says whether the status lists every node as an approved voter.
func (c *cluster) allVote(s wire.StatusReply) bool {
	for _, n := range c.nodes {
		m, ok := member(s, n.id)
		if !ok || m.Role != "voter" || !m.RootsApproved {
			return false
		}
	}
	return true
}

// ready asks the node's API itself.
func ready(ctx context.Context, probe *http.Client, n *node) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, n.settings.API.Advertise+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("asking %s whether it serves: %w", n.id, err)
	}
	answer, err := probe.Do(r)
	if err != nil {
		return fmt.Errorf("asking %s whether it serves: %w", n.id, err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s says on /readyz that it does not serve (status %d)", n.id, answer.StatusCode)
	}
	return nil
}

func member(s wire.StatusReply, id string) (wire.MemberInfo, bool) {
	for _, m := range s.Members {
		if m.ID == id {
			return m, true
		}
	}
	return wire.MemberInfo{}, false
}

// await polls a node's status until it is as wanted. what completes the
// sentence "NODE did not ...".
func (c *cluster) await(ctx context.Context, n *node, what string, good func(wire.StatusReply) bool) (wire.StatusReply, error) {
	ctx, cancel := context.WithTimeout(ctx, phaseTimeout)
	defer cancel()
	ticker := time.NewTicker(pollPeriod)
	defer ticker.Stop()
	var last error
	for {
		status, err := n.admin.Status(ctx)
		if err == nil && good(status) {
			return status, nil
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-n.child.ended:
			return status, fmt.Errorf("%s ended while it started: %s", n.id, n.lastWords())
		case <-ctx.Done():
			return status, fmt.Errorf("%s did not %s within %s (see %s): %w", n.id, what, phaseTimeout, n.logFile(), errors.Join(last, ctx.Err()))
		case <-ticker.C:
		}
	}
}

// saveCredentials keeps what the cluster shows only once.
func (c *cluster) saveCredentials(credentials wire.InitReply) error {
	text, err := json.MarshalIndent(credentials, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the credentials: %w", err)
	}
	if err := devfile.WriteAtomic(filepath.Join(c.options.Dir, credentialsFile), append(text, '\n')); err != nil {
		return err
	}
	return devfile.WriteAtomic(filepath.Join(c.options.Dir, caFile), []byte(credentials.CACertificate))
}

func (c *cluster) loadCredentials() (wire.InitReply, error) {
	var credentials wire.InitReply
	text, err := os.ReadFile(filepath.Join(c.options.Dir, credentialsFile))
	if errors.Is(err, os.ErrNotExist) {
		return credentials, fmt.Errorf("%s holds a cluster whose credentials were lost: remove the directory and start again", c.options.Dir)
	}
	if err != nil {
		return credentials, fmt.Errorf("reading the credentials: %w", err)
	}
	if err := json.Unmarshal(text, &credentials); err != nil {
		return credentials, fmt.Errorf("reading %s: %w", credentialsFile, err)
	}
	return credentials, nil
}

// describe is the content of dev.json.
func (c *cluster) describe(k wire.InitReply) *devfile.File {
	f := &devfile.File{
		Region: k.Region, DomainID: k.DomainID, DomainName: k.DomainName,
		ProjectID: k.ProjectID, ProjectName: k.ProjectName,
		UserID: k.UserID, UserName: k.UserName, Password: k.Password,
		AccessKey: k.AccessKey, SecretKey: k.SecretKey, AWSAccountID: k.AWSAccountID,
		CAFile: filepath.Join(c.options.Dir, caFile),
	}
	for _, n := range c.nodes {
		f.Nodes = append(f.Nodes, n.describe())
	}
	return f
}
