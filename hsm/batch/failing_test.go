package batch_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/batch"
)

// While a call hangs in the only session, those who wait are told that the
// device does not serve, and those who come, until it serves again.
func TestFail(t *testing.T) {
	d := newDevice(t, batch.Config{MaxBlocks: 8, Sessions: 1})
	inside, release := make(chan struct{}, 1), make(chan struct{})
	k := d.Key(keyFunc(func(context.Context, []byte, []byte) error {
		inside <- struct{}{}
		<-release
		return nil
	}))
	results := make(chan error, 2)
	ask := func() { results <- k.EncryptBlocks(context.Background(), make([]byte, 16), make([]byte, 16)) }
	go ask()
	<-inside
	go ask()
	for d.Stats().Waiting == 0 {
	}
	d.Fail(hsm.ErrUnavailable)
	if err := <-results; !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("who waited: %v", err)
	}
	ask()
	if err := <-results; !errors.Is(err, hsm.ErrUnavailable) {
		t.Errorf("who came: %v", err)
	}
	close(release)
	if err := <-results; err != nil {
		t.Errorf("who was inside: %v", err)
	}
	d.Fail(nil)
	ask()
	if err := <-results; err != nil {
		t.Errorf("when it serves again: %v", err)
	}
}

// A call that hangs takes nobody along but the one who is inside: the others in
// it are told when the device is known to hang, and what the device says later
// touches nothing of theirs.
func TestFailFreesThoseInACallThatHangs(t *testing.T) {
	d := newDevice(t, batch.Config{MaxBlocks: 64, Sessions: 1})
	enter, release := make(chan int, 8), make(chan struct{})
	k := d.Key(keyFunc(func(_ context.Context, dst, src []byte) error {
		enter <- len(src)
		<-release
		copy(dst, src)
		return nil
	}))
	type result struct {
		err     error
		touched bool
	}
	results := make(chan result, 8)
	ask := func() {
		src, dst := blocks(1, 2), make([]byte, 32)
		err := k.EncryptBlocks(context.Background(), dst, src)
		results <- result{err, string(dst) != string(make([]byte, 32))}
	}
	go ask()
	<-enter
	for range 4 {
		go ask()
	}
	for d.Stats().Waiting < 4 {
		runtime.Gosched()
	}
	release <- struct{}{}
	if r := <-results; r.err != nil || !r.touched {
		t.Fatalf("the first: %+v", r)
	}
	if size := <-enter; size != 4*32 {
		t.Fatalf("%d bytes are inside", size)
	}
	d.Fail(hsm.ErrUnavailable)
	for range 3 {
		if r := <-results; !errors.Is(r.err, hsm.ErrUnavailable) || r.touched {
			t.Errorf("who is in a call that hangs: %+v", r)
		}
	}
	d.Fail(hsm.ErrUnavailable) // again: nobody is told twice
	release <- struct{}{}
	if r := <-results; r.err != nil || !r.touched {
		t.Errorf("who was inside: %+v", r)
	}
	d.Fail(nil)
	close(release)
	for range 8 { // with the requests that were given back meanwhile
		go ask()
	}
	for range 8 {
		if r := <-results; r.err != nil || !r.touched {
			t.Errorf("when it serves again: %+v", r)
		}
	}
}
