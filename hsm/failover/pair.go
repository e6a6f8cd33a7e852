package failover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raftkms/raftkms/hsm"
)

const (
	defaultPause     = 2 * time.Second
	defaultOpenLimit = 30 * time.Second
	// admitWithin bounds the proof of a device's roots.
	admitWithin = 30 * time.Second
	// checkWithin bounds the look at a device that nobody uses.
	checkWithin = 5 * time.Second
	// closeWithin bounds the wait for the pair's own goroutines, and for a device
	// that is being opened.
	closeWithin = 15 * time.Second
)

// Device is one of the two, as the configuration names it.
type Device struct {
	// Name is what people and metrics call it: "first".
	Name string
	// Open opens it. It is called again, every few seconds, while the device
	// cannot be reached. It may hang for as long as the library does, and then is
	// not called again before that is over.
	Open func(ctx context.Context) (hsm.Module, error)
}

// Config names the two devices, the preferred one first.
type Config struct {
	Devices [2]Device
	// Pause is the time between two attempts to open a device, or to have it prove
	// its roots, and between two looks at one that nobody uses; 0 means 2 seconds.
	Pause time.Duration
	// OpenLimit is how long Open waits for both devices before it goes on with
	// the one that is there; 0 means 30 seconds.
	OpenLimit time.Duration
	// Logger receives what an operator should know; nil means nobody.
	Logger *slog.Logger
}

// Pair is two devices. It implements [hsm.Module], [hsm.Monitored] and
// [hsm.Redundant].
type Pair struct {
	members [2]*member
	log     *slog.Logger
	pause   time.Duration

	// changing is held by who changes or proves roots, one at a time; a channel,
	// since a device that hangs must not keep those whose time is over.
	changing chan struct{}
	roots    atomic.Pointer[roots]

	spell atomic.Pointer[spell]
	nudge chan struct{} // wakes who judges
	stop  context.CancelFunc
	loops sync.WaitGroup
	calls sync.WaitGroup // goroutines inside a device

	ending sync.RWMutex
	ended  bool // no further call goes in
}

// roots is what the devices have to prove.
type roots struct {
	cluster hsm.ClusterID
	current hsm.RootGeneration // the highest that one of them holds
	canary  hsm.Canary         // of that generation
}

var (
	_ hsm.Module    = (*Pair)(nil)
	_ hsm.Monitored = (*Pair)(nil)
	_ hsm.Redundant = (*Pair)(nil)
)

// Open opens both devices, at the same time. One that cannot be reached, or whose
// library hangs, is left for later, as long as the other is there; one that refuses its PIN, or lacks what is needed, is
// an error: nobody should believe to have two.
func Open(ctx context.Context, cfg Config) (*Pair, error) {
	p := &Pair{log: cfg.Logger, pause: cfg.Pause, changing: make(chan struct{}, 1), nudge: make(chan struct{}, 1)}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.pause <= 0 {
		p.pause = defaultPause
	}
	limit := cfg.OpenLimit
	if limit <= 0 {
		limit = defaultOpenLimit
	}
	running, stop := context.WithCancel(context.Background())
	p.stop = stop
	for i, d := range cfg.Devices {
		p.members[i] = &member{name: d.Name, open: d.Open, retry: make(chan struct{}, 1)}
		p.members[i].at.Store(&standing{reason: errNotOpened})
		p.begin(running, i)
	}
	if err := p.gather(ctx, limit); err != nil {
		stop()
		// Nobody waits for a library that hangs: its goroutine stays for as long.
		go func() {
			if err := p.closeLate(); err != nil {
				p.log.Error("closing an HSM that took too long to open", "error", err)
			}
		}()
		return nil, errors.Join(err, p.closeMembers())
	}
	p.spell.Store(newSpell(p.outage()))
	p.loops.Go(func() { p.judge(running) })
	for i := range p.members {
		p.loops.Go(func() { p.admit(running, i) })
	}
	return p, nil
}

// Describe says what both can do: a capability that one of them lacks is none.
func (p *Pair) Describe() hsm.Description {
	var all []hsm.Description
	var names []string
	for _, m := range p.members {
		if module := m.at.Load().module; module != nil {
			all, names = append(all, module.Describe()), append(names, m.name)
		}
	}
	d := all[0]
	d.Notes = nil
	for i, one := range all {
		for _, note := range one.Notes {
			d.Notes = append(d.Notes, fmt.Sprintf("Of the %s HSM: %s", names[i], note))
		}
		d.Hardware = d.Hardware && one.Hardware
		d.Sessions, d.MaxBlocks = min(d.Sessions, one.Sessions), min(d.MaxBlocks, one.MaxBlocks)
		d.Capabilities = slices.DeleteFunc(d.Capabilities, func(c hsm.Capability) bool { return !one.CarriesFor(c.Spec, c.Use) })
	}
	return d
}

// Close closes both. Errors as of the devices' own.
func (p *Pair) Close() error {
	p.stop()
	p.ending.Lock()
	p.ended = true
	p.ending.Unlock()
	err := p.closeMembers()
	ended := make(chan error, 1)
	go func() {
		p.loops.Wait()
		p.calls.Wait()
		// Who was opening a device meanwhile has left it in its place, or does so
		// when its library lets go of it.
		ended <- errors.Join(p.closeMembers(), p.closeLate())
	}()
	select {
	case late := <-ended:
		return errors.Join(err, late)
	case <-time.After(closeWithin):
		return errors.Join(err, fmt.Errorf("%w: a call is still inside an HSM", hsm.ErrUnavailable))
	}
}

func (p *Pair) closeMembers() error {
	errs := make([]error, len(p.members))
	var wg sync.WaitGroup
	for i, m := range p.members {
		if m == nil {
			continue
		}
		if module := m.at.Load().module; module != nil {
			wg.Go(func() {
				if err := module.Close(); err != nil {
					errs[i] = m.says(err)
				}
			})
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// lock takes the right to change or prove roots.
func (p *Pair) lock(ctx context.Context) error {
	select {
	case p.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Pair) unlock() { <-p.changing }
