package envelope

import (
	"sync"

	"github.com/raftkms/raftkms/hsm/xaes"
)

// works is shared by all keys: a pool in each of thousands of keys would be
// emptied by the collector before it was used again. It holds nothing that
// anybody could see.
var works = sync.Pool{New: func() any { return new(work) }}

// work is memory that one message needs for a moment. Invariant: derived is
// zero and aad is empty in the pool.
type work struct {
	derived [xaes.DerivationSize]byte // the one-time key
	aad     []byte                    // nothing secret
}

func takeWork() *work { return works.Get().(*work) }

func (w *work) giveBack() {
	clear(w.derived[:])
	w.aad = w.aad[:0]
	works.Put(w)
}
