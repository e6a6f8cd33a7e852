package locked

import "unsafe"

// FirstChunk is the address of the arena's first pages.
func (a *Arena) FirstChunk() uintptr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return uintptr(unsafe.Pointer(unsafe.SliceData(a.chunks[0].mem)))
}

// Schedule is the locked memory that holds the key's expanded form.
func (k *Key) Schedule() []byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.schedule.buffer.Bytes()
}
