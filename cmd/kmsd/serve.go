package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/cmd/kmsd/logging"
	"github.com/raftkms/raftkms/server"
	"github.com/raftkms/raftkms/server/audit"
)

// logPatience is how long the exit waits for a blocked log.
const logPatience = time.Second

// moduleTimeout bounds opening the module.
const moduleTimeout = 30 * time.Second

func newServe() *cobra.Command {
	serve := &cobra.Command{
		Use:   "serve",
		Short: "Run one node until SIGINT or SIGTERM",
		Long: "Run one node until SIGINT or SIGTERM.\n\nSettings come from the YAML file, over it the environment (RAFTKMS_API_LISTEN for api.listen),\n" +
			"over that the flags. Secrets come from files that only their owner can read, or from systemd credentials (credential:NAME).",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return serveNode(cmd.Context(), c)
		},
	}
	addConfigFlags(serve)
	return serve
}

// serveNode runs the node that the configuration describes until ctx ends.
func serveNode(ctx context.Context, c *config.Config) (err error) {
	sink := logging.NewSink(os.Stderr)
	defer sink.Close(logPatience)
	logger, err := logging.New(sink, c.Log.Level, c.Log.Format)
	if err != nil {
		return err
	}
	logger = logger.With(slog.String("node", c.Node.ID))
	if err := makeDirectories(c); err != nil {
		return err
	}
	token, err := joinToken(c)
	if err != nil {
		return err
	}
	module, err := openModule(ctx, c, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, module.Close()) }()

	reads := cluster.ReadIndex
	if c.Cluster.LogMarks() {
		reads = cluster.LogMark
	}
	proxies, err := c.API.Proxies()
	if err != nil {
		return err
	}
	node, err := server.Open(ctx, server.Config{
		NodeID: c.Node.ID, DataDir: c.Node.DataDir, AdminSocket: c.Node.AdminSocket, Version: version,
		AuditDir: c.Audit.Dir, AuditSync: audit.Sync(c.Audit.Sync), AuditInterval: c.Audit.Interval,
		AuditRetention: c.Audit.Retention, AuditFull: audit.Full(c.Audit.Full),
		APIListen: c.API.Listen, APIURL: c.API.Advertise, APIMinTLS: c.API.MinTLSVersion(),
		APICertificateFile: c.API.CertificateFile, APIKeyFile: keyFile(c), ProxiesTrusted: proxies,
		ClusterListen: c.Cluster.Listen, ClusterAdvertise: c.Cluster.Advertise,
		Standby: c.Cluster.Standby, Reads: reads, GossipListen: c.Gossip.Listen, GossipAdvertise: c.Gossip.Advertise,
		JoinToken: token, Module: module, Logger: logger,
		DrainDelay: c.DrainDelay, ShutdownTimeout: c.ShutdownTimeout,
	})
	if err != nil {
		return err
	}
	return node.Run(ctx)
}

// makeDirectories makes the data directory and what lies below it. Directories
// elsewhere are not made: on a medium that is not mounted they would hide it.
func makeDirectories(c *config.Config) error {
	dirs := []string{c.Node.DataDir}
	if c.Module.Kind == "soft" {
		for _, file := range []string{c.Module.Soft.RootsFile, c.Module.Soft.PrivateKeyFile, c.Module.Soft.UnlockKeyFile} {
			if strings.HasPrefix(file, c.Node.DataDir+string(filepath.Separator)) {
				dirs = append(dirs, filepath.Dir(file))
			}
		}
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making the data directory: %w", err)
		}
	}
	return nil
}

// joinToken reads the join token, if one is named and there. A token is used
// once: that its file is gone afterwards is no error, and a node without a
// cluster waits for its operator.
func joinToken(c *config.Config) (string, error) {
	if c.Cluster.JoinTokenFile == "" {
		return "", nil
	}
	token, err := config.ReadSecret(c.Cluster.JoinTokenFile, credentialsDirectory())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cluster.join_token_file: %w", err)
	}
	return string(token), nil
}

// keyFile is the path of the API's private key; CheckSecrets has resolved the
// name once already, so it can be resolved.
func keyFile(c *config.Config) string {
	file, err := config.FindSecret(c.API.KeyFile, credentialsDirectory())
	if err != nil {
		return c.API.KeyFile
	}
	return file.Path
}
