package batch_test

import (
	"context"
	"errors"
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
