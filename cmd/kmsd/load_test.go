package main_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
)

// acknowledged is what the cluster has promised to keep: it survives the load
// that wrote it, and must be there ever after.
type acknowledged struct {
	names   map[string]string // of created keys, by id
	toggled string            // a key that is disabled and enabled in turn
	enabled bool              // its last acknowledged state
	unsure  bool              // a change after that has an unknown outcome
	late    bool              // and may take effect at any time until another one has
}

// maxCreated keeps the load well below the keys that a project may hold.
const maxCreated = 30

// load makes and opens data keys and writes over all nodes with our own
// client, which retries, until it is stopped.
type load struct {
	client *client.Client
	key    string
	cancel context.CancelFunc
	all    sync.WaitGroup
	calls  atomic.Int64
	writes atomic.Int64

	mu     sync.Mutex
	failed error

	kept *acknowledged // the writer's while it runs
}

// startLoad starts a load on a data key's CMK. kept goes from load to load.
func startLoad(t *testing.T, c *cluster, key string, kept *acknowledged) *load {
	t.Helper()
	own, err := client.NewFromDevFile(filepath.Join(c.dir, devfile.Name))
	if err != nil {
		t.Fatal(err)
	}
	if kept.names == nil {
		kept.names = make(map[string]string)
		if kept.toggled, err = own.CreateKey(context.Background(), client.NewKey{Name: "toggled"}); err != nil {
			t.Fatal(err)
		}
		kept.names[kept.toggled], kept.enabled = "toggled", true
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{client: own, key: key, cancel: cancel, kept: kept}
	for range 3 {
		l.all.Go(func() { l.roundTrips(ctx) })
	}
	l.all.Go(func() { l.write(ctx) })
	t.Cleanup(func() { l.cancel(); l.all.Wait(); own.Close() })
	return l
}

func (l *load) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // it was the stop
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

func (l *load) roundTrips(ctx context.Context) {
	for ctx.Err() == nil {
		made, err := l.client.CreateDataKey(ctx, l.key, client.DataKeyOptions{})
		if err != nil {
			l.fail(ctx, err)
			return
		}
		opened, err := l.client.DecryptDataKey(ctx, l.key, made.Ciphertext, client.DataKeyOptions{})
		if err != nil {
			l.fail(ctx, err)
			return
		}
		if !bytes.Equal(opened, made.Plaintext) {
			l.fail(ctx, errors.New("the opened data key differs from the made one"))
			return
		}
		l.calls.Add(1)
	}
}

// write creates keys and toggles one. That an outcome is unknown is an honest
// answer; every other refusal is a failure.
func (l *load) write(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		var err error
		if n%4 == 0 && len(l.kept.names) < maxCreated {
			err = l.create(ctx)
		} else {
			err = l.toggle(ctx)
		}
		if err != nil {
			l.fail(ctx, err)
			return
		}
		l.writes.Add(1)
	}
}

func (l *load) create(ctx context.Context) error {
	name := fmt.Sprintf("load/%d", time.Now().UnixNano())
	id, err := l.client.CreateKey(ctx, client.NewKey{Name: name})
	if errors.Is(err, client.ErrOutcomeUnknown) {
		return nil
	}
	if err == nil {
		l.kept.names[id] = name
	}
	return err
}

func (l *load) toggle(ctx context.Context) error {
	if l.kept.unsure { // look first, as a person would
		key, err := l.client.DescribeKey(ctx, l.kept.toggled)
		if err != nil {
			return err
		}
		l.kept.enabled, l.kept.unsure = key.State == client.Enabled, false
	}
	change := l.client.EnableKey
	if l.kept.enabled {
		change = l.client.DisableKey
	}
	l.kept.unsure = true
	err := change(ctx, l.kept.toggled)
	refused, ok := errors.AsType[*client.Error](err)
	switch {
	case err == nil:
		l.kept.enabled, l.kept.unsure, l.kept.late = !l.kept.enabled, false, false
	case errors.Is(err, client.ErrOutcomeUnknown):
		l.kept.late = true
	case ok && l.kept.late && (refused.Code == "KMS.1201" || refused.Code == "KMS.1301"):
		// The change whose outcome was unknown took effect after we had looked.
	default:
		return err
	}
	return nil
}

// awaitCalls waits for n further round trips.
func (l *load) awaitCalls(t *testing.T, n int64) {
	t.Helper()
	target := l.calls.Load() + n
	await(t, strconv.FormatInt(n, 10)+" calls", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.failed != nil || l.calls.Load() >= target
	})
}

// stop ends the load and wants that no call failed and that every
// acknowledged write is there.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.all.Wait()
	if l.failed != nil {
		t.Errorf("a call failed: %v", l.failed)
	}
	if l.writes.Load() == 0 {
		t.Error("nothing was written")
	}
	l.kept.check(t, l.client)
	t.Logf("%d round trips, %d writes", l.calls.Load(), l.writes.Load())
}

// check wants that everything acknowledged is there.
func (a *acknowledged) check(t *testing.T, c *client.Client) {
	t.Helper()
	for id, name := range a.names {
		key, err := c.DescribeKey(context.Background(), id)
		if err != nil || key.Name != name {
			t.Errorf("an acknowledged key %s is %+v, %v", name, key, err)
		}
		if id == a.toggled && !a.unsure && (key.State == client.Enabled) != a.enabled {
			t.Errorf("the toggled key is %s, acknowledged as enabled=%t", key.State, a.enabled)
		}
	}
}

// TestKilledNodesLoseNothing kills nodes with SIGKILL, one after the other and
// then all at once, under load. RAFTKMS_TORTURE makes it go on for that long.
func TestKilledNodesLoseNothing(t *testing.T) {
	budget := time.Duration(0)
	if text := os.Getenv("RAFTKMS_TORTURE"); text != "" {
		var err error
		if budget, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	port := strconv.Itoa(freePort(t, 3))
	begin := time.Now()
	c := startCluster(t, dir, "--port", port)
	key := sdks(t, c)[0].createKey("torture")
	kept := new(acknowledged)
	for round := 1; ; round++ {
		killEachInTurn(t, c, key, kept)
		c.stop(syscall.SIGTERM)
		t.Logf("round %d done after %s", round, time.Since(begin).Round(time.Second))
		c = startCluster(t, dir)
		own, err := client.NewFromDevFile(filepath.Join(dir, devfile.Name))
		if err != nil {
			t.Fatal(err)
		}
		kept.check(t, own)
		own.Close()
		if t.Failed() || time.Since(begin) >= budget {
			break
		}
	}
	c.stop(syscall.SIGTERM)
}

// killEachInTurn kills and revives every node under load, and then kills all
// at once: what was acknowledged is on disk.
func killEachInTurn(t *testing.T, c *cluster, key string, kept *acknowledged) {
	t.Helper()
	l := startLoad(t, c, key, kept)
	var revived []*process
	for i, n := range c.file.Nodes {
		l.awaitCalls(t, 20)
		kill(t, n.PID)
		l.awaitCalls(t, 20)
		revived = append(revived, start(t, "serve", "--config", c.configFile(i)))
		c.awaitReady(t, i)
	}
	l.stop(t)
	for _, p := range revived {
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.ended
	}
}
