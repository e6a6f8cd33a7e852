package client

import (
	"io"
	"testing"
)

// A body is wiped when the call is over and nobody sends it any more, and not
// before: of two tries one may still be on its way.
func TestABodyIsWipedWhenNobodyReadsIt(t *testing.T) {
	m := newMessage([]byte("secret"))
	first, second := m.open(), m.open()
	got, err := io.ReadAll(first)
	if err != nil || string(got) != "secret" {
		t.Fatalf("read %q, %v", got, err)
	}
	first.Close()
	first.Close() // counts once
	m.done()
	if got, err := io.ReadAll(second); err != nil || string(got) != "secret" {
		t.Errorf("a try that goes on reads %q, %v", got, err)
	}
	second.Close()
	if string(m.text) != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("%q is left", m.text)
	}
}

func TestHedgesAreATenthInTheLongRun(t *testing.T) {
	var h hedges
	h.fill()
	spent := 0
	for range 1000 {
		h.earn()
		if h.spend() {
			spent++
		}
	}
	if spent < 100 || spent > 110 {
		t.Errorf("%d of 1000 calls were hedged", spent)
	}
}
