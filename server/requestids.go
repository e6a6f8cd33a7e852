package server

import (
	crypto "crypto/rand"
	"math/rand/v2"
	"sync"

	"github.com/google/uuid"
)

// requestIDs makes the ids of requests: UUIDs of version 4 (RFC 9562). They are
// names, not secrets, so they come from generators that the operating system
// seeds once, without a call to it for each.
type requestIDs struct {
	pool sync.Pool // of *rand.ChaCha8
}

func newRequestIDs() *requestIDs {
	return &requestIDs{pool: sync.Pool{New: func() any {
		var seed [32]byte
		_, _ = crypto.Read(seed[:]) // ends the process rather than to fail
		return rand.NewChaCha8(seed)
	}}}
}

func (r *requestIDs) next() string {
	generator := r.pool.Get().(*rand.ChaCha8)
	var id uuid.UUID
	_, _ = generator.Read(id[:]) // never fails
	r.pool.Put(generator)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id.String()
}
