package failover_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
)

// Who closes a key does not wait for a call with it that was left inside a device.
func TestKeyIsClosedBesideACallThatHangs(t *testing.T) {
	first, second := newToken(t), newToken(t)
	d := faulty(t, &first)
	p := openPair(t, first, second)
	t.Cleanup(d.Heal)
	rooted(t, p)
	w, err := p.Generate(testContext(t), hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	load := func() hsm.Key {
		t.Helper()
		key, err := hsm.LoadKey(testContext(t), p, w)
		ok(t, err)
		return key
	}
	closed := func(key hsm.Key) <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- key.Close() }()
		return ended
	}
	within := func(what string, ended <-chan error) {
		t.Helper()
		select {
		case err := <-ended:
			ok(t, err)
		case <-time.After(5 * time.Second):
			t.Fatalf("a key was not closed %s", what)
		}
	}
	expect := make([]byte, 16)
	left, early := load(), load()
	ok(t, left.EncryptBlocks(testContext(t), expect, make([]byte, 16)))

	d.Hang(faultylib.Encrypt)
	answered := make(chan error, 1)
	go func() { answered <- early.EncryptBlocks(testContext(t), make([]byte, 16), make([]byte, 16)) }()
	await(t, "call inside", func() bool { return d.Inside() == 1 })
	ended := closed(early)
	out := make([]byte, 16)
	ok(t, left.EncryptBlocks(testContext(t), out, make([]byte, 16)))
	if !bytes.Equal(out, expect) {
		t.Error("the second device made something else of it")
	}
	within("during the outage", closed(left))
	within("that was used when the device began to hang", ended)
	if n := p.Health().Loaded; n != 0 {
		t.Errorf("%d keys count as loaded", n)
	}
	<-answered // by the second device, or refused since the key is closed

	d.Release()
	await(t, "use of the first device again", func() bool { return used(t, p) == "first" })
	await(t, "end of the calls that were left", func() bool { return p.Health().Inside == 0 })
	if err := left.EncryptBlocks(testContext(t), out, make([]byte, 16)); err == nil {
		t.Error("a closed key encrypts")
	}
	if n := d.Objects(); n != 0 {
		t.Errorf("%d objects are in the first device", n)
	}
	ok(t, left.Close())
	if n := p.Health().Loaded; n != 0 {
		t.Errorf("%d keys count as loaded after a second Close", n)
	}
}
