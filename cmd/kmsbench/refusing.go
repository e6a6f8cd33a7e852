package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/bench/survival"
	"github.com/raftkms/raftkms/bench/target"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/wire"
)

// A node that has to refuse: it works on few calls at once, so that far fewer
// connections than it takes are more than may wait (four times as many), and one
// user asks for several times what it can, whatever it answers, while another
// one asks for little.
const (
	fewCalls        = 64
	loudConnections = 1024
	loudTimes       = 4 // as much as the peak
	quietRate       = 100
	quietWorkers    = 16
)

// asker is a user and what became of the user's calls in one situation, round by round.
type asker struct {
	name        string
	poster      *load.Poster
	connections int

	asked, rates, tails []float64
	calls, busy, failed uint64 // busy: with 503 and Retry-After; failed: in any other way
	first               error  // of the failed
}

// ask puts the user's load on the node: at a rate, or at 0 the next call when
// the last one is answered.
func (a *asker) ask(ctx context.Context, progress io.Writer, of effort, rate float64) error {
	var busy, ended, answered atomic.Uint64 // the last two: within the time, for refusals may take a second more
	var first atomic.Pointer[error]
	begun := time.Now()
	of.workers, of.rate = a.connections, rate
	report, err := underLoad(ctx, progress, a.name, of, func(ctx context.Context, worker int) error {
		err := a.poster.Call(ctx, worker)
		if time.Since(begun) < of.duration {
			ended.Add(1)
			if err == nil {
				answered.Add(1)
			}
		}
		if status, ok := errors.AsType[*load.StatusError](err); ok && status.Busy() {
			busy.Add(1)
		} else if err != nil {
			first.CompareAndSwap(nil, &err)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case report.Calls == 0:
		return fmt.Errorf("measuring %s: all calls failed, the first one so: %w", a.name, report.FirstError)
	}
	a.asked = append(a.asked, float64(ended.Load())/of.duration.Seconds())
	a.rates = append(a.rates, float64(answered.Load())/of.duration.Seconds())
	a.tails = append(a.tails, milliseconds(report.Latency(99)))
	a.calls += report.Calls + report.Errors
	a.busy += busy.Load()
	a.failed += report.Errors - busy.Load()
	if f := first.Load(); f != nil && a.first == nil {
		a.first = *f
	}
	return nil
}

// refuse measures a node that refuses.
func (o *overload) refuse(ctx context.Context, out io.Writer) (err error) {
	of := o.cluster
	of.nodes, of.calls = 1, fewCalls
	s, err := openCluster(ctx, of, "", &plan{operation: target.CreateDataKey, latencies: []time.Duration{0}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	cfg, err := s.prepare(ctx, 1)
	if err != nil {
		return err
	}
	another, err := s.addUser(ctx, "quiet")
	if err != nil {
		return err
	}
	loud, err := load.NewPoster(withWorkers(cfg, loudConnections))
	if err != nil {
		return err
	}
	defer loud.Close()
	cfg.AccessKey, cfg.SecretKey = another.Access, string(another.Secret)
	quiet, err := load.NewPoster(withWorkers(cfg, quietWorkers))
	if err != nil {
		return err
	}
	defer quiet.Close()

	all := []*asker{
		{name: "one user, the peak", poster: loud, connections: o.effort.workers},
		{name: fmt.Sprintf("one user, %d times as much", loudTimes), poster: loud, connections: loudConnections},
		{name: "another user, alone", poster: quiet, connections: quietWorkers},
		{name: "another user, beside that", poster: quiet, connections: quietWorkers},
	}
	peak, much, alone, beside := all[0], all[1], all[2], all[3]
	measured := o.effort
	measured.warmup = 0 // refusals of one would be counted
	for i := range o.rounds {
		for _, a := range []*asker{peak, alone} {
			rate := 0.0
			if a == alone {
				rate = quietRate
			}
			if err := a.ask(ctx, o.progress, measured, rate); err != nil {
				return err
			}
		}
		warm := *much // connections are made, anew after the pause, before anything counts
		if err := warm.ask(ctx, o.progress, effort{duration: max(o.effort.warmup, time.Second)}, 0); err != nil {
			return err
		}
		var both sync.WaitGroup
		var errs [2]error
		both.Go(func() { errs[0] = much.ask(ctx, o.progress, measured, loudTimes*peak.rates[i]) })
		both.Go(func() { errs[1] = beside.ask(ctx, io.Discard, measured, quietRate) })
		both.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	return o.printRefusals(out, all)
}

func withWorkers(cfg load.PosterConfig, n int) load.PosterConfig {
	cfg.Workers = n
	return cfg
}

// addUser makes a user who may use keys, with an access key.
func (s *stand) addUser(ctx context.Context, name string) (key wire.Credential, err error) {
	identities := s.huawei.Client().Identities()
	user, err := identities.CreateUser(ctx, wire.NewUser{NewNamed: wire.NewNamed{Name: name}})
	if err != nil {
		return key, fmt.Errorf("making a second user: %w", err)
	}
	if err := identities.Assign(ctx, policy.RoleKMSCrypto, client.Holder{UserID: user.ID, ProjectID: s.file.ProjectID}); err != nil {
		return key, fmt.Errorf("letting the second user use keys: %w", err)
	}
	if key, err = identities.CreateAccessKey(ctx, user.ID, ""); err != nil {
		return key, fmt.Errorf("making the second user's access key: %w", err)
	}
	return key, nil
}

func (o *overload) printRefusals(out io.Writer, all []*asker) error {
	fmt.Fprintf(out, "\ncreate-datakey of a node that works on %d calls at once; %d connections at the peak, %d at %d times as much, in an open loop; another user asks %d times a second; medians\n\n",
		fewCalls, o.effort.workers, loudConnections, loudTimes, quietRate)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tasked/s\tanswered/s\tover the peak\tlow to high\tp99\trefused as busy\tfailed\t")
	for i, a := range all {
		ratio := "\t"
		if i < 2 {
			s := over(a.rates, all[0].rates)
			ratio = fmt.Sprintf("%.2f\t%.2f to %.2f", s.median, s.low, s.high)
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%s\t%.1f ms\t%d of %d\t%d\t\n", a.name, survival.Median(a.asked), survival.Median(a.rates), ratio, survival.Median(a.tails), a.busy, a.calls, a.failed)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, a := range all {
		if a.first != nil {
			fmt.Fprintf(out, "%s: the first that failed: %v\n", a.name, a.first)
		}
	}
	_, err := fmt.Fprintln(out, "\nwanted: 0.90 of the peak at least, and the other user not refused\nwhere less is asked than that, this machine cannot ask for more: the node refuses as fast as it is asked")
	return err
}
