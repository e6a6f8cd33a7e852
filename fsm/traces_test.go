package fsm_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// What was published stays: the newest all, of older ones one an hour, and no
// more than there is room for.
func TestCheckpointsAreKept(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	publish := func(size uint64) command.PublishCheckpoint {
		return command.PublishCheckpoint{NodeID: fsmtest.NodeID, From: 1, Size: size, Key: "key", Note: []byte("note")}
	}
	for i := range 10 * 60 {
		m.Must(publish(uint64(i + 1)))
		m.Now += 60_000
	}
	log, ok := m.State().TraceLog(fsmtest.NodeID)
	if !ok || len(log.Checkpoints) < 32+9 || len(log.Checkpoints) > 32+12 {
		t.Fatalf("%d checkpoints", len(log.Checkpoints))
	}
	for i, c := range log.Checkpoints[len(log.Checkpoints)-32:] {
		if want := uint64(600 - 31 + i); c.Size != want {
			t.Errorf("size %d, want %d", c.Size, want)
		}
	}
	if log.Checkpoints[0].Size != 1 {
		t.Errorf("the oldest is of size %d", log.Checkpoints[0].Size)
	}
	for i := range 500 {
		m.Must(publish(uint64(601 + i)))
		m.Now += 3_600_000
	}
	if log, _ = m.State().TraceLog(fsmtest.NodeID); len(log.Checkpoints) != 96 {
		t.Errorf("%d checkpoints", len(log.Checkpoints))
	}

	f := func(change func(b *command.PublishCheckpoint), want fsm.Code) {
		t.Helper()
		b := publish(9999)
		change(&b)
		if result := m.Do(b); codeOf(result) != want {
			t.Errorf("got %+v, want %s", result, want)
		}
	}
	f(func(b *command.PublishCheckpoint) { b.NodeID = "n2" }, fsm.CodeForbidden)
	f(func(b *command.PublishCheckpoint) { b.Size = 0 }, fsm.CodeInvalid)
	f(func(b *command.PublishCheckpoint) { b.Note = nil }, fsm.CodeInvalid)
	f(func(b *command.PublishCheckpoint) { b.Note = make([]byte, 2049) }, fsm.CodeInvalid)
	f(func(b *command.PublishCheckpoint) { b.Key = "" }, fsm.CodeInvalid)
}
