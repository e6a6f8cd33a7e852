package locked

import (
	"crypto/aes"
	"crypto/cipher"
	"reflect"
	"unsafe"
)

// schedule is an expanded AES key. The standard library makes one on the Go
// heap; its first words are the key itself, so locking only the 32 raw bytes
// would protect nothing. It is therefore moved: the structure that crypto/aes
// returns is copied into locked memory, used from there, and wiped on the heap.
type schedule struct {
	block  cipher.Block
	buffer *Buffer // nil when block is on the heap
}

// newSchedule expands the 32 bytes of raw; the caller holds the lock of the arena.
func newSchedule(a *Arena, raw []byte) (*schedule, error) {
	if a.closed {
		return nil, ErrClosed
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, err
	}
	heap := reflect.ValueOf(block)
	if !movable(heap.Type()) {
		// Another crypto/aes than the one this was written for: correct, wiped
		// on Close as far as possible, and Key.Locked tells.
		return &schedule{block: block}, nil
	}
	defer heap.Elem().SetZero()
	buffer, err := a.take(int(heap.Type().Elem().Size()))
	if err != nil {
		return nil, err
	}
	// Slots are aligned to their size, a power of two, or to a page.
	moved := reflect.NewAt(heap.Type().Elem(), unsafe.Pointer(unsafe.SliceData(buffer.slot.mem)))
	moved.Elem().Set(heap.Elem())
	return &schedule{block: moved.Interface().(cipher.Block), buffer: buffer}, nil
}

func (s *schedule) destroy() {
	if s.buffer != nil {
		s.buffer.Destroy()
	} else if v := reflect.ValueOf(s.block); v.Kind() == reflect.Pointer && v.Elem().CanSet() {
		v.Elem().SetZero()
	}
	s.block = nil
}

// movable tells whether t points to a structure that means the same at any
// address outside the Go heap: one without pointers.
func movable(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct && pointerFree(t.Elem())
}

func pointerFree(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Struct:
		for field := range t.Fields() {
			if !pointerFree(field.Type) {
				return false
			}
		}
		return true
	case reflect.Array:
		return pointerFree(t.Elem())
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return false
	}
}
