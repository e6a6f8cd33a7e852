package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/raftkms/raftkms/fsm"
)

// job is work that comes with time rather than with a request.
type job struct {
	name string
	// leader says that only the node that leads does it.
	leader bool
	// pause is the time from the end of one run to the next.
	pause time.Duration
	// run does what is due at now, the replicated time in Unix milliseconds.
	// Whatever it proposes carries what it saw, so that apply can tell whether
	// it was done meanwhile: leadership may be lost at any moment, and another
	// node may do the same. What is not done now is looked for again.
	run func(ctx context.Context, now int64) error
}

// jobs are all that a member does by the clock, on this page.
func (s *Server) jobs(m *member) []job {
	return []job{
		{name: "deleting keys", leader: true, pause: 500 * time.Millisecond, run: m.service.DeleteDueKeys},
		{name: "rotating keys", leader: true, pause: time.Second, run: m.service.RotateDueKeys},
		{name: "expiring imports", leader: true, pause: time.Second, run: m.service.ExpireImports},
		{name: "putting things under new root keys", leader: true, pause: time.Second, run: m.rewrapper.run},
		{name: "warning of deletions", leader: true, pause: time.Minute, run: m.service.WarnOfDeletions},
		{name: "erasing deleted keys", pause: erasureLook, run: s.newEraser(m).run},
		{name: "publishing checkpoints of the traces", pause: s.cfg.CheckpointPause, run: m.publisher.run},
		{name: "asking for proofs of peers' traces", pause: s.cfg.CheckpointPause, run: m.publisher.proveLate},
		{name: "reporting uses", pause: time.Minute, run: m.service.ReportUses},
		{name: "reporting uses of access keys", pause: time.Minute, run: m.service.ReportAccesses},
		{name: "telling of refusals", pause: untracedPause, run: s.tellUntraced},
		{name: "forgetting revocations", leader: true, pause: 10 * time.Minute, run: m.service.ForgetRevoked},
	}
}

// scheduler runs the jobs of a member, each by itself: one that waits for a
// module holds up no other. It keeps nothing: what is due is read from the
// state, so that a restart or another leader goes on where it was.
type scheduler struct {
	machine *fsm.Machine
	logger  *slog.Logger
	leads   func() bool
	// allowed says whether this node's clock may be believed now; nil: always.
	allowed func() error
	now     func() time.Time
}

// failurePause is how long a job waits after it has failed.
const failurePause = 10 * time.Second

// startJobs runs the jobs until ctx ends.
func (s *Server) startJobs(ctx context.Context, m *member) {
	k := &scheduler{machine: s.machine, logger: s.cfg.Logger, leads: m.node.IsLeader, now: time.Now, allowed: func() error {
		if allowed, why := m.node.TimedWork(); !allowed {
			return errors.New(why)
		}
		return nil
	}}
	for _, j := range s.jobs(m) {
		s.tasks.Go(func() { k.repeat(ctx, j) })
	}
}

// repeat runs one job again and again.
func (k *scheduler) repeat(ctx context.Context, j job) {
	for {
		pause := j.pause
		if err := k.once(ctx, j); err != nil && ctx.Err() == nil {
			k.logger.Warn("timed work is not done, and will be tried again", "work", j.name, "error", err)
			pause = max(pause, failurePause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// once runs a job if it is this node's to do now.
func (k *scheduler) once(ctx context.Context, j job) error {
	root := k.machine.State()
	if root.Cluster() == nil || j.leader && !k.leads() {
		return nil
	}
	if j.leader && k.allowed != nil {
		if err := k.allowed(); err != nil {
			return err
		}
	}
	err := j.run(ctx, max(k.now().UnixMilli(), root.Now()))
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}
