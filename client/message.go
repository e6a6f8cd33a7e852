package client

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
)

// message is the body of a call. It may hold a plaintext, so it is wiped, but
// not before nobody reads it any more: net/http may still be sending a body
// when it has returned, and says by closing it that it no longer is.
type message struct {
	text  []byte
	users atomic.Int32
}

func newMessage(text []byte) *message {
	m := &message{text: text}
	m.users.Store(1) // the call itself
	return m
}

// done ends one use; the last one wipes.
func (m *message) done() {
	if m.users.Add(-1) == 0 {
		clear(m.text)
	}
}

// open returns a reader of the body for one try. The call has not ended yet.
func (m *message) open() io.ReadCloser {
	m.users.Add(1)
	return &messageReader{Reader: bytes.NewReader(m.text), m: m}
}

type messageReader struct {
	*bytes.Reader
	m      *message
	closed sync.Once
}

// Close implements [io.Closer].
func (r *messageReader) Close() error {
	r.closed.Do(r.m.done)
	return nil
}
