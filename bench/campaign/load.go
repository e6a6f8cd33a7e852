package campaign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

// Bounds of the board: enough calls meet on one key to overlap, and no name's
// history grows so long, or holds so many writes of unknown outcome, that it
// cannot be judged any more.
const (
	slots        = 4   // names in use at once
	maxNames     = 85  // a new project may have 100 keys
	callsPerName = 150 // then the name is retired
	maxUnknown   = 3   // likewise
	keptPerName  = 8   // ciphertexts that workers open again
)

// board is what the workers know together.
type board struct {
	prefix string

	mu    sync.Mutex
	slots [slots]*slot
	named int
}

// slot is a name in use.
type slot struct {
	name    string
	id      string // once an answer has told it
	calls   int
	unknown int
	sealed  []sealed
}

// sealed is a ciphertext, how to open it, and what should come out.
type sealed struct {
	op         history.Op
	ciphertext []byte
	digest     string
}

func newBoard(prefix string) *board {
	b := &board{prefix: prefix}
	for i := range b.slots {
		b.slots[i] = b.fresh()
	}
	return b
}

// fresh starts a name; mu is held, or nobody else knows the board.
func (b *board) fresh() *slot {
	b.named++
	return &slot{name: fmt.Sprintf("%s/%d", b.prefix, b.named)}
}

// plan chooses a call, and the key by which it names the key. Of what is asked of
// keys that are there so many percent are rotations.
func (b *board) plan(random *rand.Rand, rotations int) (key string, c history.Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.slots[random.IntN(slots)]
	c.Name, key = s.name, "alias/"+s.name
	if s.id == "" {
		c.Op = pick(random, history.Create, history.Create, history.Describe, history.MakeKey)
		return key, c
	}
	if random.IntN(3) > 0 {
		key = s.id
	}
	if random.IntN(100) < rotations {
		c.Op = history.Rotate
		return key, c
	}
	c.Op = pick(random, usual...)
	if c.Op.Opens() {
		if len(s.sealed) == 0 {
			c.Op = history.MakeKey
			return key, c
		}
		kept := s.sealed[random.IntN(len(s.sealed))]
		c.Op, c.Ciphertext, c.Wanted = kept.op, kept.ciphertext, kept.digest
	}
	return key, c
}

// Rotations, in percent of the calls about a key that is there. Our client asks
// again where it does not know the outcome, which is what could rotate a key twice,
// so whoever calls through it rotates more. A key has at most callsPerName versions
// and a few, of the 4000 that it may have.
const (
	rotations    = 3
	ownRotations = 15
)

// usual is what is asked of a key that is there, as often as it is named.
var usual = slices.Concat(
	slices.Repeat([]history.Op{history.Create}, 1),
	slices.Repeat([]history.Op{history.Describe}, 6),
	slices.Repeat([]history.Op{history.Enable}, 5),
	slices.Repeat([]history.Op{history.Disable}, 4),
	slices.Repeat([]history.Op{history.MakeKey}, 6),
	slices.Repeat([]history.Op{history.OpenKey}, 5), // or history.Decrypt, as the ciphertext is
	slices.Repeat([]history.Op{history.Encrypt}, 2),
)

// done takes note of what a call's answer told.
func (b *board) done(c *history.Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.slots {
		if s.name != c.Name {
			continue
		}
		s.calls++
		if c.Outcome == history.Unknown && (c.Op.Writes() || c.Op == history.Rotate) {
			s.unknown++
		}
		if c.Outcome == history.OK && c.KeyID != "" {
			s.id = c.KeyID
		}
		if c.Outcome == history.OK && c.Op.Seals() {
			s.keep(c)
		}
		if (s.calls >= callsPerName || s.unknown >= maxUnknown) && b.named < maxNames {
			b.slots[i] = b.fresh()
		}
	}
}

func (s *slot) keep(c *history.Call) {
	kept := sealed{op: opener(c.Op), ciphertext: c.Ciphertext, digest: c.Digest}
	if len(s.sealed) < keptPerName {
		s.sealed = append(s.sealed, kept)
	} else {
		s.sealed[s.calls%keptPerName] = kept
	}
}

// opener is the operation that opens what another one sealed.
func opener(op history.Op) history.Op {
	if op == history.Encrypt {
		return history.Decrypt
	}
	return history.OpenKey
}

// breath is the wait after a node could not serve: that it is down needs no
// thousand witnesses.
const breath = 20 * time.Millisecond

// usePause is the time between two calls of a worker that only uses keys: it waits
// for no change, so that it would be through with all names at once.
const usePause = 40 * time.Millisecond

// worker is one source of calls, each begun when the last one has ended.
type worker struct {
	number   int
	random   *rand.Rand
	askers   []asker // one is chosen for every call
	board    *board
	recorder *history.Recorder
	rotates  int  // percent of its calls
	uses     bool // it does nothing but use keys
	made     int
}

// work calls until ctx ends. A call that has begun is finished.
func (w *worker) work(ctx context.Context) {
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		key, c := w.board.plan(w.random, w.rotates)
		if w.uses {
			time.Sleep(usePause)
			if !c.Op.Uses() {
				c.Op = history.MakeKey
			}
		}
		w.ask(whole, pick(w.random, w.askers...), key, &c)
		if c.Outcome == history.NotDone {
			time.Sleep(breath)
		}
		if c.Op != history.Disable || c.Outcome != history.OK {
			continue
		}
		// A key whose disabling was just acknowledged: no node may use it.
		for _, a := range w.askers {
			probe := history.Call{Op: history.MakeKey, Name: c.Name}
			w.ask(whole, a, key, &probe)
		}
	}
}

// ask does one call and records it.
func (w *worker) ask(ctx context.Context, a asker, key string, c *history.Call) {
	c.Worker, c.Node = w.number, a.name()
	if c.Op == history.Create {
		w.made++
		c.Tag = fmt.Sprintf("made by worker %d as number %d", w.number, w.made)
	}
	record(ctx, w.recorder, a, key, c)
	w.board.done(c)
}

// record does one call and records it.
func record(ctx context.Context, r *history.Recorder, a asker, key string, c *history.Call) {
	c.Begin = r.Now()
	v := a.ask(ctx, key, c)
	c.End = r.Now()
	c.Outcome, c.Code, c.Request, c.Age = v.outcome, v.code, v.request, v.age
	if v.err != nil {
		c.Error = v.err.Error()
	}
	r.Call(*c)
}

func pick[T any](random *rand.Rand, from ...T) T { return from[random.IntN(len(from))] }
