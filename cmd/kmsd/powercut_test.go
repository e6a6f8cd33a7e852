package main_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/client"
)

// A power cut takes from a node only what it had not acknowledged: keys, the
// root keys of the embedded module, and the trace of every answered call are
// there when it starts again.
func TestAPowerCut(t *testing.T) {
	if trouble := nemesis.VolumeTrouble(); trouble != nil {
		t.Logf("no power is cut here: %v", trouble)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	disk, err := nemesis.NewVolume(filepath.Join(dir, "image"), data, frozenRoom)
	must(t, err)
	t.Cleanup(func() { must(t, disk.Close()) })
	must(t, disk.KeepUnflushed())
	n := foundAlone(ctx, t, dir, "module: {kind: soft}\n")
	c := n.client(t)
	key, err := c.CreateKey(ctx, client.NewKey{Name: "before"})
	must(t, err)
	const calls = 5
	var last client.DataKey
	for range calls {
		last, err = c.CreateDataKey(ctx, key, client.DataKeyOptions{})
		must(t, err)
	}

	must(t, n.cmd.Process.Signal(syscall.SIGSTOP)) // the disk is copied while nothing is written
	after, err := disk.PowerCut(filepath.Join(dir, "image-after"), data)
	must(t, err)
	t.Cleanup(func() { must(t, after.Close()) })
	must(t, n.cmd.Process.Kill())
	<-n.ended

	n.process = start(t, "serve", "--config", filepath.Join(dir, "kmsd.yaml"))
	c = n.client(t)
	if found, err := c.DescribeKey(ctx, key); err != nil || found.Name != "before" {
		t.Errorf("the key is %v, %v", found, err)
	}
	if plain, err := c.DecryptDataKey(ctx, key, last.Ciphertext, client.DataKeyOptions{}); err != nil || !bytes.Equal(plain, last.Plaintext) {
		t.Errorf("the last data key is not the one that was made: %v", err)
	}
	if said := n.out.String(); strings.Contains(said, "level=WARN msg=\"this node may not find the others") {
		t.Error("where members are was lost: the file was replaced by one that was not on disk")
	}
	traces, err := c.SearchTraces(ctx, client.TraceFilter{Name: "createDataKey", ResourceID: key}, "", 2*calls)
	must(t, err)
	if len(traces.Traces) != calls || len(traces.Damaged) > 0 {
		t.Errorf("%d traces of %d calls are left; damaged: %v", len(traces.Traces), calls, traces.Damaged)
	}
}
