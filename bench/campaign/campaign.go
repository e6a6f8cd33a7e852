package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/bench/nemesis"
	"github.com/raftkms/raftkms/client"
)

// Why a campaign fails, besides broken promises.
var (
	// ErrTooLittle: it did not inject every kind of fault, or too few calls
	// succeeded: that nothing was found says nothing.
	ErrTooLittle = errors.New("the campaign did too little to be worth anything")
	// ErrCrashed: a process ended that nobody had told to.
	ErrCrashed = errors.New("a process ended by itself")
	// ErrUnfinished: the cluster did not serve after everything was healed.
	ErrUnfinished = errors.New("the healed cluster did not serve")
)

// Scenario is what a campaign does.
type Scenario struct {
	Name    string
	Nodes   int
	Workers int
	// Load is how long the nemesis goes on; every kind of fault is injected at
	// least once, however long that takes. Where a busy machine has done too
	// little by then, it goes on for up to twice as long again.
	Load time.Duration
	// Kinds of faults, each of which lasts up to Longest.
	Kinds   []nemesis.Kind
	Longest time.Duration
	// Successes are how many calls must succeed meanwhile.
	Successes int
	// Revokers take rights away; 0: nobody does. Revocations of every kind must
	// be acknowledged and seen, so many of each.
	Revokers, Revocations int
	// Erasing has keys be deleted on every node all the time, so that the nodes
	// have no log behind their snapshots; each erases again and again.
	Erasing bool
	// Module is that of the nodes: soft when empty, or pkcs11, which takes
	// [Config.Device].
	Module string
	// Packets has every node be in a network namespace of its own, and callers in
	// another one, so that faults of the network meet all that a node sends; see
	// [nemesis.Packets]. Otherwise relays carry what nodes say to one another over
	// TCP, and nothing else can be cut.
	Packets bool
	// Strict has every use of a key ask for a read index instead of relying on
	// the node's lease.
	Strict bool
	// MaxAge has nodes without contact go on using keys by a state up to so old, and
	// say how old it is: the mode available. 0: no state may be old.
	MaxAge time.Duration
}

// Config is one run of a scenario.
type Config struct {
	Scenario Scenario
	Seed     uint64
	Kmsd     string // the program
	// Other is another build of it, for scenarios in which nodes change between
	// the two.
	Other string
	// Device makes, in a directory, a PKCS #11 library that forwards to another
	// one and misbehaves when it is told to.
	Device func(dir, library string) (path string, device nemesis.Device, err error)
	Dir    string // empty, and short enough for Unix sockets; what is left in it is the caller's
	// Say is told what is going on; nil: nobody.
	Say func(format string, args ...any)
}

// calm is how long the load goes on before the first fault and after the last.
const calm = time.Second

// Run runs a scenario and reports. The error is [Report.Err], or says why
// there is no report. After a failure Dir also holds history.jsonl, report.txt
// and drawings of the calls that cannot be put in order.
func Run(ctx context.Context, cfg Config) (report *Report, err error) {
	c, err := found(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	r := &run{cfg: cfg, cluster: c, recorder: history.NewRecorder(), secrets: new(secrets)}
	defer r.closeAskers()
	if err := r.openAskers(ctx); err != nil {
		return nil, err
	}
	r.drive(ctx)
	h := r.recorder.History()
	report = &Report{
		Scenario: cfg.Scenario, Seed: cfg.Seed, Elapsed: r.recorder.Now(),
		Unknown: c.network.Unknown() - r.strangers, Lost: c.lost(), Led: c.leaders.programs(), SentOn: r.sentOn, Erasures: r.erasures, Problems: r.problems,
	}
	report.fill(h)
	for _, crash := range c.crashes() {
		report.Problems = append(report.Problems, fmt.Errorf("%w: %s", ErrCrashed, crash))
	}
	report.Problems = append(report.Problems, errorsOf(report.tooLittle())...)
	report.Violations = history.Check(h)
	err = report.Err()
	if err != nil {
		report.Problems = append(report.Problems, keep(cfg.Dir, h, report)...)
	}
	return report, err
}

// run is a campaign that is going on.
type run struct {
	cfg       Config
	cluster   *cluster
	recorder  *history.Recorder
	nodes     []*direct // patient ones
	hasty     []*direct
	roaming   roaming
	secrets   *secrets
	granting  *granting
	strangers int64 // connections of the processes that kmsd dev had started
	sentOn    int   // calls that a node had no state for, and a peer answered
	erasures  int   // of nodes' files, as their logs tell
	problems  []error
}

func (r *run) openAskers(ctx context.Context) error {
	file := r.cluster.file
	r.secrets.add("the administrator's secret key", []byte(file.SecretKey))
	ca, err := client.ReadCA(file.CAFile)
	if err != nil {
		return err
	}
	dial := r.cluster.dialer()
	for i := range file.Nodes {
		r.nodes = append(r.nodes, newDirect(file, i, ca, patient, r.secrets, dial))
		r.hasty = append(r.hasty, newDirect(file, i, ca, hasty, r.secrets, dial))
	}
	own, err := client.New(client.Config{
		Endpoints: r.cluster.endpoints(), CA: ca, AccessKey: file.AccessKey, SecretKey: file.SecretKey, ProjectID: file.ProjectID,
		Patience: roamPatience,
	})
	if err != nil {
		return err
	}
	r.roaming = roaming{own, r.cfg.Scenario.MaxAge}
	if told := r.nodes[0].send(ctx, "PUT", kmsPath(r.nodes[0], "user-quotas"), json.RawMessage(`{"resources":[{"type":"CMK","quota":10000}]}`), nil, r.nodes[0].sign); told.outcome != history.OK {
		return fmt.Errorf("allowing for many keys: %w", told.err)
	}
	theirs, account, err := neighbour(ctx, r.nodes[0], file)
	if err != nil {
		return err
	}
	r.secrets.add("another administrator's secret key", []byte(theirs.SecretKey))
	r.granting = &granting{
		number: r.cfg.Scenario.Workers, owner: r.nodes, account: account, prefix: r.prefix(), recorder: r.recorder,
		random: rand.New(rand.NewPCG(r.cfg.Seed, uint64(r.cfg.Scenario.Workers))),
	}
	for i := range theirs.Nodes {
		r.granting.grantee = append(r.granting.grantee, newDirect(theirs, i, ca, patient, r.secrets, dial))
	}
	if err := r.delay(ctx); err != nil {
		return err
	}
	return plant(ctx, r.granting.grantee[0], r.secrets)
}

// prefix begins the names of a campaign's keys.
func (r *run) prefix() string { return "c" + strconv.FormatUint(r.cfg.Seed, 10) }

func (r *run) closeAskers() {
	for _, d := range slices.Concat(r.nodes, r.hasty) {
		d.close()
	}
	if r.granting != nil {
		for _, d := range r.granting.grantee {
			d.close()
		}
	}
	if r.roaming.Client != nil {
		r.roaming.close()
	}
}

// drive does everything between the founding and the judging.
func (r *run) drive(ctx context.Context) {
	r.strangers = r.cluster.network.Unknown()
	scraping, stopScraping := context.WithCancel(ctx)
	var scrapers sync.WaitGroup
	for i := range r.cluster.processes {
		scrapers.Go(func() { r.cluster.scrape(scraping, r.recorder, i) })
	}
	loading, stopLoad := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for _, w := range r.workers() {
		workers.Go(func() { w.work(loading) })
	}
	for i := range r.cfg.Scenario.Revokers {
		v := &revoker{
			random: rand.New(rand.NewPCG(r.cfg.Seed, uint64(1000+i))), prefix: fmt.Sprintf("r%d-%d", r.cfg.Seed, i), nodes: r.nodes, recorder: r.recorder,
		}
		workers.Go(func() { v.work(loading) })
	}
	workers.Go(func() { r.granting.work(loading) })
	if r.cfg.Scenario.Erasing {
		for i, node := range r.granting.grantee {
			d := &deleter{node: node, prefix: r.prefix(), random: rand.New(rand.NewPCG(r.cfg.Seed, uint64(2000+i)))}
			workers.Go(func() { d.work(loading) })
		}
	}
	time.Sleep(calm)
	err := r.breakThings(ctx)
	time.Sleep(calm)
	stopLoad()
	workers.Wait()
	if err == nil {
		r.say("%8s looking at everything", r.recorder.Now().Round(time.Millisecond))
		err = finish(ctx, r.recorder, r.nodes)
	}
	stopScraping()
	scrapers.Wait()
	if err == nil {
		err = r.cluster.settle(ctx, r.recorder)
	}
	if err == nil {
		err = r.cluster.meet(ctx)
	}
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("%w: %w", ErrUnfinished, err))
		for _, p := range r.cluster.processes {
			r.problems = append(r.problems, errorsOf(p.Dump())...)
		}
		return
	}
	metrics := r.metrics()
	for _, text := range metrics {
		r.sentOn += sentOn(text)
	}
	r.problems = append(r.problems, errorsOf(r.cluster.stop())...)
	r.say("%8s looking through the files of every node", r.recorder.Now().Round(time.Millisecond))
	for _, err := range []error{r.collectTraces(), r.collectInstalls(), r.seek(metrics)} {
		if err != nil {
			r.problems = append(r.problems, fmt.Errorf("%w: %w", ErrUnfinished, err))
		}
	}
}

// sentOn is how many calls of a node peers have answered for want of a state, by
// its metrics.
func sentOn(metrics []byte) int {
	for line := range bytes.Lines(metrics) {
		if rest, is := bytes.CutPrefix(line, []byte(`kmsd_calls_sent_on_total{lack="state"} `)); is {
			count, _ := strconv.Atoi(string(bytes.TrimSpace(rest)))
			return count
		}
	}
	return 0
}

func (r *run) say(format string, args ...any) {
	if r.cfg.Say != nil {
		r.cfg.Say(format, args...)
	}
}

// breakThings lets the nemesis work, and heals.
func (r *run) breakThings(ctx context.Context) error {
	ctx, stop := r.untilEnough(ctx)
	defer stop()
	o := &operator{cluster: r.cluster, keys: r.granting.grantee}
	if r.cfg.Scenario.Strict {
		if err := o.Strictly(ctx, true); err != nil {
			return fmt.Errorf("changing to the mode strict: %w", err)
		}
	}
	if age := r.cfg.Scenario.MaxAge; age > 0 {
		r.recorder.Allow(age)
		if err := o.allow(ctx, age); err != nil {
			return fmt.Errorf("changing to the mode available: %w", err)
		}
	}
	n := &nemesis.Nemesis{
		Processes: r.cluster.processes, Links: r.cluster.links(), Recorder: r.recorder,
		Operator: o,
		Devices:  r.cluster.devices,
		Supplies: r.cluster.supplies,
		Rooms:    r.cluster.rooms, Refuses: r.cluster.refuses, Gone: r.cluster.gone,
		Leader: r.cluster.leader, Recovered: r.cluster.ready, Say: r.cfg.Say,
	}
	if r.cfg.Other != "" {
		n.Programs = []string{r.cfg.Kmsd, r.cfg.Other}
	}
	if r.cluster.packets != nil {
		n.Callers = callers
	}
	return n.Run(ctx, nemesis.NewSchedule(r.cfg.Seed, r.cfg.Scenario.Longest, r.cfg.Scenario.Kinds...))
}

// untilEnough returns a context that ends when the load of the scenario is over,
// and enough calls have succeeded and rights been taken away by then.
func (r *run) untilEnough(ctx context.Context) (context.Context, func()) {
	load := r.cfg.Scenario.Load
	ctx, cancel := context.WithTimeout(ctx, 3*load)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		for wait := load; ctx.Err() == nil; wait = time.Second {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			report := &Report{Scenario: r.cfg.Scenario}
			report.fill(r.recorder.History())
			if report.tooFew() == nil {
				return
			}
		}
	})
	return ctx, func() { cancel(); watching.Wait() }
}

// workers makes the workers. Most choose a node for every call; every fourth
// leaves that to our client. Where a state may be old every
// fourth one only uses keys: others wait for a change during most of a fault.
func (r *run) workers() []*worker {
	b := newBoard(r.prefix())
	all := make([]*worker, r.cfg.Scenario.Workers)
	for i := range all {
		w := &worker{number: i, random: rand.New(rand.NewPCG(r.cfg.Seed, uint64(i))), board: b, recorder: r.recorder, rotates: rotations}
		switch {
		case i%4 == 3:
			w.askers, w.rotates = []asker{r.roaming}, ownRotations
		case i%4 == 2:
			w.askers, w.uses = askers(r.hasty), r.cfg.Scenario.MaxAge > 0
		default:
			w.askers = askers(r.nodes)
		}
		all[i] = w
	}
	return all
}

func askers(nodes []*direct) (all []asker) {
	for _, d := range nodes {
		all = append(all, d)
	}
	return all
}

// keep writes what is needed to study a failure.
func keep(dir string, h *history.History, report *Report) []error {
	problems := errorsOf(h.Save(filepath.Join(dir, "history.jsonl")))
	problems = append(problems, errorsOf(os.WriteFile(filepath.Join(dir, "report.txt"), []byte(report.String()), 0o600))...)
	drawn := make(map[string]bool)
	for _, v := range report.Violations {
		if v.Name != "" && !drawn[v.Name] {
			drawn[v.Name] = true
			problems = append(problems, errorsOf(draw(dir, h, v.Name))...)
		}
	}
	return problems
}

func draw(dir string, h *history.History, name string) error {
	file, err := os.OpenFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".html"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	return errors.Join(history.Visualize(h, name, file), file.Close())
}

// errorsOf is a list of at most one error.
func errorsOf(err error) []error {
	if err == nil {
		return nil
	}
	return []error{err}
}
