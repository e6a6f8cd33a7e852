package kms

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/batch"
	"github.com/raftkms/raftkms/hsm/entropy"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/gate"
)

// Replica is this node's copy of the replicated state.
type Replica interface {
	// Barrier returns when this node has applied everything that was
	// committed before the call.
	Barrier(ctx context.Context) error
	// Root returns the newest state applied here.
	Root() *state.Root
	// Serving tells whether this node's own state, loaded afterwards, may answer
	// a call that has begun before: whether it holds a serving lease.
	Serving() bool
	// Age returns how old this node's state may be at most.
	Age() (age time.Duration, known bool)
	// LeaderTime is what the leader stamps commands with now, as far as this node
	// has been told: no more than that, but for 10 s; zero when it has not.
	LeaderTime() time.Time
	// Released returns when no node answers from a state before that index any more.
	Released(ctx context.Context, index uint64) error
	// Propose returns the result of a command once it is applied on the leader
	// and here, and released. Its errors are those of [cluster.Node.Propose].
	Propose(ctx context.Context, command []byte) (fsm.Result, error)
}

// Traces is where the trace of every call goes before its answer.
type Traces interface {
	// Append returns when the record counts as written.
	Append(ctx context.Context, record *audit.Record) error
	// Reserve claims room for one record, which AppendTo fills.
	Reserve(ctx context.Context) (*audit.Room, error)
	AppendTo(ctx context.Context, room *audit.Room, record *audit.Record) error
}

// Config is what a Service is made of.
type Config struct {
	NodeID  string
	Replica Replica
	Module  hsm.Module
	Traces  Traces
	Logger  *slog.Logger
	// Search looks for traces on every node.
	Search TraceSearch
	// Follow reads on where a page before has ended, on every node.
	Follow TraceSearch
	// Untraced tells whether the refusal of a request from a source, which says
	// nothing of the state, is told of together with others rather than by a
	// trace of its own; nil: never.
	Untraced func(source string, err error) bool
	// Lanes bound the calls that are worked on at once.
	Lanes Lanes
	// RefusalAlarm is how many refusals of one user or address, or about one key,
	// within a minute are an incident; 0 means 30, less than 0 that none are.
	RefusalAlarm int
	// LoadedKeys is how many key versions are kept loaded; 0 means 4096.
	LoadedKeys int
	// MinDeletionWait is how long a key waits for its deletion at least; 0 means 7 days.
	MinDeletionWait time.Duration
	// ForbidWeakImport refuses imports with RSAES_OAEP_SHA_1 and RSAES_PKCS1_V1_5.
	ForbidWeakImport bool
	// Services have a default master key, SERVICE/default; nil means obs, evs, ims, sfs, rds, dds.
	Services []string
}

// Lanes are where calls wait for their turn once it is known who asks; nil: they
// do not.
type Lanes struct {
	Uses   *gate.Lane // uses of keys
	Others *gate.Lane // all other calls
}

// Service is every operation of raftkms, once. It is safe for concurrent use.
type Service struct {
	nodeID  string
	replica Replica
	module  hsm.Module
	traces  Traces
	logger  *slog.Logger
	keys    *keyring
	entropy *entropy.Pool
	pairs   *pairPool // wrapping pairs for imports
	search  TraceSearch
	follow  TraceSearch

	untraced func(source string, err error) bool
	lanes    Lanes
	stranded atomic.Bool // uses of keys were sent on to peers; see stranded.go

	minDeletionWait  time.Duration
	forbidWeakImport bool
	services         []string
	warned           warnings
	accesses         accesses
	alarms           *alarms
}

// defaultDeletionWait is the shortest wait before a deletion where the
// configuration says nothing.
const defaultDeletionWait = 7 * 24 * time.Hour

// New returns a service. Close it before the module.
func New(cfg Config) *Service {
	if cfg.Services == nil {
		cfg.Services = defaultServices
	}
	if cfg.MinDeletionWait == 0 {
		cfg.MinDeletionWait = defaultDeletionWait
	}
	s := &Service{
		minDeletionWait:  cfg.MinDeletionWait,
		forbidWeakImport: cfg.ForbidWeakImport,
		services:         cfg.Services,

		nodeID:  cfg.NodeID,
		replica: cfg.Replica,
		module:  cfg.Module,
		traces:  cfg.Traces,
		logger:  cfg.Logger,
		keys:    newKeyring(cfg.Module, cfg.LoadedKeys, cfg.Logger),
		entropy: entropy.NewPool(cfg.Module),
		search:  cfg.Search,
		follow:  cfg.Follow,

		untraced: cfg.Untraced,
		lanes:    cfg.Lanes,
		alarms:   newAlarms(cfg.RefusalAlarm),
	}
	s.pairs = newPairPool(func(ctx context.Context) (hsm.Wrapped, error) {
		return s.generate(ctx, s.pairLevel(), hsm.SpecRSA2048)
	})
	return s
}

// inUse is the module with the generation of root keys that the state has in use.
func (s *Service) inUse() hsm.Module {
	c := s.replica.Root().Cluster()
	if c == nil {
		return s.module
	}
	return s.module.Under(hsm.RootGeneration(c.RootGeneration))
}

// Close unloads every key and wipes what was drawn for data keys. Calls still
// under way fail; none gets a wrong answer.
func (s *Service) Close() {
	s.pairs.close()
	s.keys.close()
	s.entropy.Close()
}

// Batches counts the derivations that went to the HSM and the calls that
// carried them; zero where keys are in this process.
func (s *Service) Batches() batch.Stats { return s.keys.batches() }

// Run is the only way to a [Call]. It hands do a state that may answer it
// (consistency.go), a newer one again where that denies what the first one was
// asked for, and has the trace written, whatever do returned, before it returns
// itself. do may be run twice: what it leaves behind counts only when it returns
// nil. When the trace cannot be written the error is of KindTraceFailed, or of
// KindOutcomeUnknown where a change was made, and the caller must not answer
// with what do produced.
func (s *Service) Run(ctx context.Context, in Incoming, do func(ctx context.Context, c *Call) error) error {
	return s.run(ctx, in, func(ctx context.Context, c *Call) error {
		if c.Root.Cluster() == nil {
			return Refuse(KindUnavailable, "the cluster is not initialised")
		}
		return do(ctx, c)
	})
}

// run is Run without asking for an initialised cluster.
func (s *Service) run(ctx context.Context, in Incoming, do func(ctx context.Context, c *Call) error) error {
	c, err := s.decide(ctx, in, do)
	return s.end(ctx, c, err)
}

// end writes the trace of a call that ended with err, and returns what its
// caller must be told.
func (s *Service) end(ctx context.Context, c *Call, err error) error {
	in := &c.in
	defer func() {
		if c.room != nil {
			c.room.Release() // does nothing once the trace is in it
		}
	}()
	if in.Forwarded {
		return err
	}
	if err != nil && !c.proposed && s.untraced != nil && s.untraced(in.Source, err) {
		s.watchRefusal(ctx, c, err)
		return err
	}
	if traceErr := s.writeTrace(ctx, c, err); traceErr != nil {
		s.logger.Error("writing a trace", "request_id", in.RequestID, "operation", in.Operation.Name, "error", traceErr)
		if c.proposed && (err == nil || KindOf(err) == KindOutcomeUnknown) {
			return &Error{Kind: KindOutcomeUnknown, Message: "the change was made or may have been, but its trace could not be written: ask for its state before trying again", Err: traceErr}
		}
		return untraced("this call is not answered", traceErr)
	}
	s.watchRefusal(ctx, c, err)
	if err != nil && in.Status != nil {
		// The client is told no detail of what went wrong here; the log is.
		if status, code := in.Status(err); status >= 500 {
			s.logger.Error("a call failed", "request_id", in.RequestID, "operation", in.Operation.Name, "code", code, "error", err)
		}
	}
	return err
}

// untraced says what is not done because it cannot be traced, and why.
func untraced(what string, err error) error {
	why := "its trace could not be written"
	if errors.Is(err, audit.ErrFull) {
		why = "the disk for traces of this node is full"
	}
	return &Error{Kind: KindTraceFailed, Message: what + ": " + why + "; try another node", Err: err}
}

// writeTrace writes the trace of a call, into the room that was claimed for it
// where there is one.
func (s *Service) writeTrace(ctx context.Context, c *Call, err error) error {
	record := s.trace(c, err)
	if c.room != nil {
		return s.traces.AppendTo(ctx, c.room, record)
	}
	return s.traces.Append(ctx, record)
}

// currentTimeout bounds the wait for current state: longer than an election,
// shorter than a client should wait to be told to try another node.
const currentTimeout = 5 * time.Second

// Current returns when this node has applied everything that was committed
// before the call.
func (s *Service) Current(ctx context.Context) error { return s.current(ctx, currentTimeout) }

func (s *Service) current(ctx context.Context, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.replica.Barrier(ctx); err != nil {
		return &Error{Kind: KindUnavailable, Message: "this node cannot prove that its state is current; try again or try another node", Err: err}
	}
	return nil
}

// NeedsAnotherModule says whether a call failed because this node's module does
// not serve, before it changed anything, so that another node may do it.
func (c *Call) NeedsAnotherModule(err error) bool {
	return err != nil && c.room == nil && !c.in.Forwarded && ModuleGone(err)
}

// ModuleGone says whether err means that this node's module does not serve.
func ModuleGone(err error) bool {
	return errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrPIN) || errors.Is(err, hsm.ErrNoRoots) ||
		errors.Is(err, entropy.ErrGenerator)
}

// SetModuleOutage has calls that wait for the module, and those that come,
// told at once that it does not serve; with nil it serves again.
func (s *Service) SetModuleOutage(err error) { s.keys.fail(err) }

// LoadedKeys is how many key versions are loaded.
func (s *Service) LoadedKeys() int { return s.keys.size() }

// moduleError gives a failure of the HSM its kind.
func moduleError(doing string, err error) error {
	kind := KindInternal
	if ModuleGone(err) || errors.Is(err, hsm.ErrFull) || isContextError(err) {
		kind = KindUnavailable
	}
	return &Error{Kind: kind, Message: doing, Err: err}
}

// proposeError gives a failure of replication its kind.
func proposeError(err error) error {
	if errors.Is(err, cluster.ErrOutcomeUnknown) {
		return &Error{Kind: KindOutcomeUnknown, Message: "the change may or may not have been made: ask for its state before trying again", Err: err}
	}
	return &Error{Kind: KindUnavailable, Message: "the change was not made: the cluster has no leader that could be reached; try again", Err: err}
}
