package main_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/client"
)

const (
	// frozenFor is how long a node may take to notice that a disk hangs (11 s),
	// and to end.
	frozenFor = 25 * time.Second
	// frozenRoom is the size in bytes of a disk that can be frozen.
	frozenRoom = 128 << 20
)

// onFrozenDisk is a node that is alone, and the disk of it that is frozen.
type onFrozenDisk struct {
	*alone
	disk   *nemesis.Volume
	config string
	says   string // why it ends
	open   net.Conn
}

// A node one of whose disks hangs, so that not even SIGKILL would end it, lets go
// of its clients and refuses others in time, for they can go elsewhere; and it
// goes on with all that it had acknowledged when it is started again.
func TestADiskThatHangs(t *testing.T) {
	if trouble := nemesis.VolumeTrouble(); trouble != nil {
		t.Logf("no disk hangs here: %v", trouble)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	nodes := []*onFrozenDisk{
		newOnFrozenDisk(ctx, t, "audit", "the disk of the trace log does not answer"),
		newOnFrozenDisk(ctx, t, "data", "the disk hangs"),
	}
	keys := make([]string, len(nodes))
	for i, n := range nodes {
		c := n.client(t)
		var err error
		keys[i], err = c.CreateKey(ctx, client.NewKey{Name: "before"})
		must(t, err)
		n.open, err = tls.Dial("tcp", n.address(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
		must(t, err)
		t.Cleanup(func() { n.open.Close() })
		must(t, n.disk.Freeze())
		t.Cleanup(func() { must(t, n.disk.Thaw()) })
		hanging, giveUp := context.WithCancel(ctx)
		defer giveUp()
		go func() { _, _ = c.CreateKey(hanging, client.NewKey{Name: "during"}) }()
	}
	for _, n := range nodes {
		must(t, n.open.SetReadDeadline(time.Now().Add(frozenFor)))
		if _, err := n.open.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: a client's connection is open after %v", n.says, frozenFor)
		}
		await(t, "a port that refuses", func() bool {
			c, err := net.DialTimeout("tcp", n.address(), time.Second)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		await(t, "the reason", func() bool { return strings.Contains(n.out.String(), n.says) })
	}
	for i, n := range nodes {
		must(t, n.disk.Thaw())
		if err := n.wait(); err == nil {
			t.Errorf("%s: it ended as if all was well", n.says)
		}
		n.process = start(t, "serve", "--config", n.config)
		if key, err := n.client(t).DescribeKey(ctx, keys[i]); err != nil || key.Name != "before" {
			t.Errorf("%s: %v, %v", n.says, key, err)
		}
	}
}

func newOnFrozenDisk(ctx context.Context, t *testing.T, hangs, says string) *onFrozenDisk {
	t.Helper()
	dir := t.TempDir()
	disk, err := nemesis.NewVolume(filepath.Join(dir, "image"), filepath.Join(dir, hangs), frozenRoom)
	must(t, err)
	t.Cleanup(func() { must(t, disk.Close()) })
	more := fmt.Sprintf("module: {kind: soft}\naudit: {dir: %s}\n", filepath.Join(dir, "audit", "traces"))
	return &onFrozenDisk{alone: foundAlone(ctx, t, dir, more), disk: disk, config: filepath.Join(dir, "kmsd.yaml"), says: says}
}

func (n *onFrozenDisk) address() string { return fmt.Sprintf("127.0.0.1:%d", n.port) }
