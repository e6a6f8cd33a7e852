package locked

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/raftkms/raftkms/hsm"
)

const (
	// chunkSize is small so that the few secrets of a small node fit under the
	// customary RLIMIT_MEMLOCK of 64 KiB.
	chunkSize = 16 << 10
	// MaxBuffer is the largest single [Buffer], in bytes.
	MaxBuffer = 1 << 20
)

// slotSizes are the sizes of memory that share pages: a raw key, the secret key
// of a credential with what is derived from it, and an expanded AES key schedule. Larger buffers have pages of their own.
var slotSizes = [...]int{32, 128, 512}

var (
	// ErrClosed: the key or the arena has been closed.
	ErrClosed = errors.New("locked memory is closed")
	// ErrFull: the arena's limit is reached. It is an [hsm.ErrMemory].
	ErrFull = fmt.Errorf("%w: locked memory is full", hsm.ErrMemory)
)

// Arena hands out locked memory up to a limit. Slots that are given back are
// used again; the pages under them stay until Close. It is safe for concurrent use.
type Arena struct {
	limit int

	ending sync.Mutex // held by who shuts or closes

	mu       sync.Mutex
	closed   bool // nothing is handed out any more
	freed    bool // and the memory is gone
	mapped   int  // bytes in chunks and large
	unlocked int  // bytes of these that the kernel refused to lock
	chunks   []*pages
	free     [len(slotSizes)][]slot
	large    map[*pages]struct{}
	keys     map[holder]struct{}
}

// holder is a [Key] or a [Secret]: what must be shut before the memory goes.
type holder interface{ shut() }

// slot is one piece of a chunk.
type slot struct {
	chunk *pages
	mem   []byte
}

// NewArena returns an arena of at most limit bytes. It maps nothing yet. One
// key takes 512 bytes.
func NewArena(limit int) *Arena {
	return &Arena{limit: limit, large: make(map[*pages]struct{}), keys: make(map[holder]struct{})}
}

// New returns a buffer of n zero bytes. It returns [ErrFull] at the limit and
// [ErrClosed] after Close.
func (a *Arena) New(n int) (*Buffer, error) {
	if n < 1 || n > MaxBuffer {
		return nil, errSize(n)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.take(n)
}

func errSize(n int) error {
	return fmt.Errorf("locking memory: %d bytes are not between 1 and %d", n, MaxBuffer)
}

// take is New for a caller that holds the lock.
func (a *Arena) take(n int) (*Buffer, error) {
	if a.closed {
		return nil, ErrClosed
	}
	for class, size := range slotSizes {
		if n <= size {
			return a.newSlot(class, n)
		}
	}
	p, err := a.mapPages(n)
	if err != nil {
		return nil, err
	}
	a.large[p] = struct{}{}
	return &Buffer{arena: a, class: -1, slot: slot{chunk: p, mem: p.mem}, size: n}, nil
}

// Locked tells whether the kernel has locked every page mapped so far.
func (a *Arena) Locked() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.unlocked == 0
}

// Shut closes the keys that are open, waiting for calls inside them, and hands
// out nothing more. The memory of buffers stays until Close: it is for who cannot
// know that nobody writes into one any more.
func (a *Arena) Shut() {
	a.ending.Lock()
	defer a.ending.Unlock()
	a.shut()
}

func (a *Arena) shut() {
	a.mu.Lock()
	keys := a.keys
	a.closed, a.keys = true, nil
	a.mu.Unlock()
	// The keys are shut outside the lock: each waits for its own callers.
	for k := range keys {
		k.shut()
	}
}

// Close wipes and unmaps everything. Keys still open are closed, and calls
// inside them are waited for; of buffers no slice may be in use any more. A
// second Close does nothing.
func (a *Arena) Close() error {
	a.ending.Lock()
	defer a.ending.Unlock()
	a.shut()

	a.mu.Lock()
	defer a.mu.Unlock()
	var errs []error
	for _, p := range a.chunks {
		errs = append(errs, p.release())
	}
	for p := range a.large {
		errs = append(errs, p.release())
	}
	a.chunks, a.large, a.free = nil, nil, [len(slotSizes)][]slot{}
	a.mapped, a.unlocked, a.freed = 0, 0, true
	return errors.Join(errs...)
}

func (a *Arena) newSlot(class, n int) (*Buffer, error) {
	if len(a.free[class]) == 0 {
		if err := a.grow(class); err != nil {
			return nil, err
		}
	}
	last := len(a.free[class]) - 1
	s := a.free[class][last]
	a.free[class] = a.free[class][:last]
	return &Buffer{arena: a, class: class, slot: s, size: n}, nil
}

// grow maps one more chunk and cuts it into slots.
func (a *Arena) grow(class int) error {
	p, err := a.mapPages(chunkSize)
	if err != nil {
		return err
	}
	a.chunks = append(a.chunks, p)
	size := slotSizes[class]
	for at := chunkSize - size; at >= 0; at -= size {
		a.free[class] = append(a.free[class], slot{chunk: p, mem: p.mem[at : at+size : at+size]})
	}
	return nil
}

func (a *Arena) mapPages(size int) (*pages, error) {
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	if size > a.limit-a.mapped {
		return nil, fmt.Errorf("%w: %d of %d bytes are in use", ErrFull, a.mapped, a.limit)
	}
	p, err := mapPages(size)
	if err != nil {
		return nil, err
	}
	a.mapped += size
	if !p.locked {
		a.unlocked += size
	}
	return p, nil
}
