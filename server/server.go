package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/audit/export"
	"github.com/raftkms/raftkms/server/gate"
	"github.com/raftkms/raftkms/server/kms"
)

// Server is one node.
type Server struct {
	cfg     Config
	machine *fsm.Machine
	traces  *audit.Log
	exports *export.Set
	metrics *nodeMetrics
	gate    *gate.Gate
	lanes   kms.Lanes
	events  *events
	// followers has room for those who wait for traces.
	followers chan struct{}

	requestIDs *requestIDs

	apiListener   net.Listener
	connections   connections
	adminListener net.Listener
	api           *fasthttp.Server

	// change is held while the node founds or joins a cluster or takes roots.
	change sync.Mutex
	// member is what runs once the node has a cluster; set once.
	member   atomic.Pointer[member]
	joining  atomic.Bool
	draining atomic.Bool

	running context.Context // of Run; ends every goroutine that a request starts
	fatal   chan error      // the first reason to end the process
	tasks   sync.WaitGroup  // every goroutine of Run
}

// Open checks the configuration, takes the API port and the admin socket, and
// opens the trace log. Run does the rest.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("checking the configuration: %w", err)
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	if err := checkIdentity(cfg); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, machine: fsm.NewAt(cfg.FeatureLevel), metrics: newMetrics(cfg.Version), events: newEvents(), followers: make(chan struct{}, maxFollowers),
		requestIDs: newRequestIDs(), fatal: make(chan error, 1), gate: gate.New(cfg.Limits, time.Now),
		lanes: kms.Lanes{Uses: gate.NewLane(cfg.Limits.Calls, 0), Others: gate.NewLane(cfg.Limits.Calls, 0)},
	}
	s.metrics.watchGate(s.gate)
	s.metrics.watchLanes(s.lanes)
	if err := s.listen(ctx); err != nil {
		return nil, err
	}
	s.traces, err = audit.OpenConfig(audit.Config{
		Dir: cfg.AuditDir, NodeID: cfg.NodeID, Logger: cfg.Logger,
		Sync: cfg.AuditSync, Interval: cfg.AuditInterval, RetentionAge: cfg.AuditRetention, RetentionSize: cfg.AuditRetentionSize, Full: cfg.AuditFull,
		Vouched: func() time.Time { return time.UnixMilli(s.machine.State().Now()) }, // replicated time, which no single clock can push ahead
	})
	if err == nil {
		s.exports, err = export.Open(export.Options{Dir: filepath.Join(cfg.DataDir, exportDir), NodeID: cfg.NodeID, Log: s.traces, Logger: cfg.Logger}, cfg.AuditExport)
		if err != nil {
			err = errors.Join(err, s.traces.Close())
		}
	}
	if err != nil {
		s.apiListener.Close()
		s.adminListener.Close()
		return nil, err
	}
	s.metrics.watchExports(s.exports)
	return s, nil
}

// listen takes the API port and the admin socket, so that a port in use is
// found out before anything is written.
func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	var err error
	if s.apiListener, err = lc.Listen(ctx, "tcp", s.cfg.APIListen); err != nil {
		return fmt.Errorf("taking the API port: %w", err)
	}
	if s.adminListener, err = listenAdmin(ctx, s.cfg.AdminSocket); err != nil {
		s.apiListener.Close()
		return err
	}
	return nil
}

// Run serves until ctx ends (then it returns nil) or until something happens
// that a node must not survive (then it returns what).
func (s *Server) Run(ctx context.Context) error {
	// What runs is not cut off when ctx ends: requests under way are answered
	// first, see shutDown.
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s.running = running
	s.exports.Start()
	s.tasks.Go(func() { s.watchTraces(running) })
	admin := s.serveAdmin()

	err := s.begin(ctx)
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-s.fatal:
		}
	} else if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // stopped while it was still trying to join
	}
	s.shutDown(admin, stop, err == nil)
	return err
}

// begin starts the member where the node has a cluster, joins where it has a
// token, and otherwise leaves it to the operator.
func (s *Server) begin(ctx context.Context) error {
	if recovering, err := s.finishRecovery(s.running); recovering || err != nil {
		return err
	}
	id, found, err := loadIdentity(s.cfg.DataDir)
	switch {
	case err != nil:
		return err
	case found && s.foundingInterrupted():
		return fmt.Errorf("the founding of this cluster was interrupted: empty %s and run `kmsctl cluster init` again", s.cfg.DataDir)
	case found:
		return s.resume(s.running, id)
	case s.cfg.JoinToken != "":
		return s.join(ctx, s.cfg.JoinToken)
	default:
		s.cfg.Logger.Info("this node has no cluster yet: `kmsctl cluster init` founds one, `kmsctl cluster join` joins one",
			"admin_socket", s.cfg.AdminSocket)
		return nil
	}
}

// exportDir is where, in the data directory, exports of traces keep how far they
// have come.
const exportDir = "export"

// ReopenExports has files that traces are exported to opened anew.
func (s *Server) ReopenExports() { s.exports.Reopen() }

// fail ends the process for a reason; the first one counts.
func (s *Server) fail(err error) {
	select {
	case s.fatal <- err:
	default:
	}
}

// waitForTasks waits for the goroutines of Run, but not longer than ctx: one
// of them may hang in a device, and the process ends soon.
func (s *Server) waitForTasks(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		s.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.cfg.Logger.Error("some work of this node has not ended; the process ends without it")
	}
}

// closeConnections has requests under way answered. Half of the time to stop is
// for that: a caller that hangs must not keep the leadership here, for the
// cluster would then miss it until it holds an election.
func (s *Server) closeConnections(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ShutdownTimeout/2)
	defer cancel()
	if err := s.api.ShutdownWithContext(ctx); err != nil {
		s.cfg.Logger.Warn("closing API connections", "error", err)
	}
}

// brokenTimeout bounds the end of a node that must not go on. All that it could
// still do for anybody is to be gone.
const brokenTimeout = 5 * time.Second

// tracesPatience is how long closing the trace log may take, whatever time is
// left to stop.
const tracesPatience = 2 * time.Second

// shutDown stops in the order in which clients and peers notice least:
// readiness first, then connections, then leadership, then replication. A node
// that must not go on lets go of its clients at once, for they find another: the
// end of the process may not do it, where a disk that hangs keeps a thread.
func (s *Server) shutDown(admin adminServer, stop context.CancelFunc, clean bool) {
	s.draining.Store(true)
	limit := s.cfg.ShutdownTimeout
	if !clean {
		limit = min(limit, brokenTimeout)
		s.apiListener.Close()
		s.connections.close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	m := s.member.Load()
	if clean && m != nil {
		time.Sleep(s.cfg.DrainDelay)
		s.closeConnections(ctx)
		if m.node.IsLeader() {
			if err := m.node.TransferLeadership(ctx); err != nil {
				s.cfg.Logger.Warn("handing leadership on", "error", err)
			}
		}
	}
	admin.close(ctx)
	s.apiListener.Close()
	stop()
	if m != nil {
		m.close(ctx)
	}
	s.waitForTasks(ctx)
	if err := s.exports.Stop(ctx); err != nil {
		s.cfg.Logger.Warn("the node stops while traces are on their way; they are sent again", "error", err)
	}
	if err := s.closeTraces(); err != nil {
		s.cfg.Logger.Error("closing the trace log", "error", err)
	}
}

// closeTraces waits for the disk of the traces, but not for long: all that was
// answered is on it.
func (s *Server) closeTraces() error {
	closed := make(chan error, 1)
	go func() { closed <- s.traces.Close() }()
	select {
	case err := <-closed:
		return err
	case <-time.After(tracesPatience):
		return cmp.Or(s.traces.Stalled(), fmt.Errorf("it takes longer than %v", tracesPatience))
	}
}
