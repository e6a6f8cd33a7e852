package locked

import "sync"

// Secret is key material in locked memory that is lent for a call at a time. It
// is safe for concurrent use; [Secret.Close] waits for the calls that are inside.
type Secret struct {
	arena *Arena

	mu     sync.RWMutex
	buffer *Buffer // nil once closed
}

// NewSecret makes a secret of raw, and wipes raw whether it succeeds or not.
func (a *Arena) NewSecret(raw []byte) (*Secret, error) {
	defer clear(raw)
	if len(raw) < 1 || len(raw) > MaxBuffer {
		return nil, errSize(len(raw))
	}
	// One lock over all of it, as for a Key.
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.take(len(raw))
	if err != nil {
		return nil, err
	}
	copy(b.slot.mem, raw)
	s := &Secret{arena: a, buffer: b}
	a.keys[s] = struct{}{}
	return s, nil
}

// Lend calls f with the material, which f must not keep. Close waits for it.
// After Close it returns [ErrClosed].
func (s *Secret) Lend(f func(material []byte) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.buffer == nil {
		return ErrClosed
	}
	// Not Bytes: while the arena is being closed the memory is still there, as
	// long as this lock is held.
	return f(s.buffer.slot.mem[:s.buffer.size:s.buffer.size])
}

// Close wipes the material after the calls inside have ended. A second Close
// does nothing.
func (s *Secret) Close() error {
	s.shut()
	s.arena.mu.Lock()
	defer s.arena.mu.Unlock()
	delete(s.arena.keys, s)
	return nil
}

func (s *Secret) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.buffer; b != nil {
		s.buffer = nil
		b.Destroy()
	}
}
