package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/cluster/clocksource"
	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/cmd/kmsd/device"
	"github.com/raftkms/raftkms/cmd/kmsd/logging"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/gate"
)

// logPatience is how long the exit waits for a blocked log.
const logPatience = time.Second

// stopPatience is how long a node may take to end beyond its shutdown timeout: a
// call that hangs in its device never comes back, and only the end of the
// process frees it.
const stopPatience = 5 * time.Second

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

// headroom is memory, in bytes, that is reserved and never touched, so that it
// costs addresses only. The garbage collector counts it as in use and waits for
// about as much garbage before it begins, where a node with few keys would have
// it begin after every 4 MB, many times a second. GOGC and GOMEMLIMIT in the
// environment mean what they always do.
const headroom = 64 << 20

// serveNode runs the node that the configuration describes until ctx ends.
func serveNode(ctx context.Context, c *config.Config) (err error) {
	reserved := make([]byte, headroom)
	defer runtime.KeepAlive(reserved)
	sink := logging.NewSink(os.Stderr)
	defer sink.Close(logPatience)
	logger, err := logging.New(sink, c.Log.Level, c.Log.Format)
	if err != nil {
		return err
	}
	logger = logger.With(slog.String("node", c.Node.ID))
	warnOfClock(clocksource.File, logger)
	if err := device.MakeDirectories(c); err != nil {
		return err
	}
	token, err := joinToken(c)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	endInTime(ctx, c)
	module, err := device.Open(ctx, c, logger, func(err error) { endHung(logger, stop, err) })
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
	sinks, err := c.Audit.Sinks(credentialsDirectory())
	if err != nil {
		return err
	}
	highest, err := strconv.ParseUint(cmp.Or(featureLevel, "0"), 10, 32)
	if err != nil {
		return fmt.Errorf("reading the feature level that this program was built with: %w", err)
	}
	node, err := server.Open(ctx, server.Config{
		NodeID: c.Node.ID, OwnProcess: true, DataDir: c.Node.DataDir, AdminSocket: c.Node.AdminSocket, Version: version, FeatureLevel: uint32(highest),
		AuditDir: c.Audit.Dir, AuditSync: audit.Sync(c.Audit.Sync), AuditInterval: c.Audit.Interval,
		AuditRetention: c.Audit.Retention, AuditFull: audit.Full(c.Audit.Full), AuditExport: sinks,
		AuditRetentionSize: c.Audit.RetentionSize, CheckpointPause: c.Audit.CheckpointPause, RefusalAlarm: c.Audit.RefusalAlarm,
		APIListen: c.API.Listen, APIURL: c.API.Advertise, CatalogURL: c.API.CatalogURL, APIMinTLS: c.API.MinTLSVersion(),
		APICertificateFile: c.API.CertificateFile, APIKeyFile: keyFile(c), ProxiesTrusted: proxies,
		Limits: gate.Config{
			Connections: c.Limits.Connections, Failures: c.Limits.Failures, AddressRate: c.Limits.AddressRate, UserRate: c.Limits.UserRate,
			Calls: c.Limits.Calls,
		},
		ClusterListen: c.Cluster.Listen, ClusterAdvertise: c.Cluster.Advertise,
		Standby: c.Cluster.Standby, DeadAfter: c.Cluster.DeadAfter, Reads: reads, GossipListen: c.Gossip.Listen, GossipAdvertise: c.Gossip.Advertise,
		JoinToken: token, Module: module, LoadedKeys: c.Module.LoadedKeys, Logger: logger,
		MinDeletionWait: c.Keys.DeletionMinimum, ErasurePause: c.Keys.ErasurePause, ForbidWeakImport: c.Keys.ForbidWeakImport, Services: c.Keys.Services,
		DrainDelay: c.DrainDelay, ShutdownTimeout: c.ShutdownTimeout,
	})
	if err != nil {
		return err
	}
	defer reopenOnHangup(node)()
	lending, endLending := context.WithCancel(ctx)
	defer lendProcessors(lending, module.Describe().Sessions, node.DeviceCall, logger)()
	defer endLending()
	if err := node.Run(ctx); err != nil {
		return err
	}
	if cause := context.Cause(ctx); errors.Is(cause, hsm.ErrUnavailable) {
		return cause
	}
	return nil
}

// reopenOnHangup has exports open their files anew on SIGHUP, which is how those
// who rename files say so. It returns what ends that.
func reopenOnHangup(node *server.Server) (end func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			node.ReopenExports()
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

// endHung ends a node with a call that hangs in its device for good. The service
// manager starts it again.
func endHung(logger *slog.Logger, stop context.CancelCauseFunc, err error) {
	logger.Error("the node stops: a call hangs in its HSM for good, and only the end of the process frees it", "error", err)
	stop(err)
}

// endInTime ends the process when it has not ended by itself in the time that it
// has once ctx is done, as a crash would: all that was acknowledged is on disk.
func endInTime(ctx context.Context, c *config.Config) {
	within := c.DrainDelay + c.ShutdownTimeout + stopPatience
	context.AfterFunc(ctx, func() {
		time.AfterFunc(within, func() {
			why := "a call hangs in its HSM, or its disk does not answer"
			if cause := context.Cause(ctx); errors.Is(cause, hsm.ErrUnavailable) {
				why = oneLine(cause)
			}
			fmt.Fprintf(os.Stderr, "kmsd: the node did not end within %v of being asked to and was cut off, which loses nothing that was acknowledged: %s\n", within, why)
			os.Exit(1)
		})
	})
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
