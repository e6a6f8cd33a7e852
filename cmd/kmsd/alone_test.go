package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/raftkms/raftkms/client/admin"
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
