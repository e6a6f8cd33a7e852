package locked

// Buffer is a piece of locked memory. It is safe for concurrent use as far as
// the memory itself is: two who write the same bytes must agree among themselves.
type Buffer struct {
	arena *Arena
	class int // index into slotSizes, or -1 for pages of its own
	slot  slot
	size  int // of the part in use
}

// Bytes returns the memory; nil once the buffer is destroyed or its arena
// closed. The slice must not be kept beyond that: the memory then belongs to
// someone else or to nobody.
func (b *Buffer) Bytes() []byte {
	b.arena.mu.Lock()
	defer b.arena.mu.Unlock()
	if b.arena.closed || b.slot.mem == nil {
		return nil
	}
	return b.slot.mem[:b.size:b.size]
}

// Locked tells whether the kernel keeps this memory from being swapped out.
func (b *Buffer) Locked() bool {
	b.arena.mu.Lock()
	defer b.arena.mu.Unlock()
	return b.slot.chunk != nil && b.slot.chunk.locked
}

// Destroy wipes the memory and gives it back. A second Destroy does nothing.
func (b *Buffer) Destroy() {
	a := b.arena
	a.mu.Lock()
	defer a.mu.Unlock()
	if b.slot.mem == nil || a.freed {
		return
	}
	clear(b.slot.mem)
	s := b.slot
	b.slot = slot{}
	if b.class >= 0 {
		a.free[b.class] = append(a.free[b.class], s)
		return
	}
	delete(a.large, s.chunk)
	size := len(s.chunk.mem)
	a.mapped -= size
	if !s.chunk.locked {
		a.unlocked -= size
	}
	// The pages are wiped whatever munmap says; there is nothing else to do
	// about a refusal, and nothing secret is left in them.
	_ = s.chunk.release()
}
