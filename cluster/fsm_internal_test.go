package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
)

// tape is a state machine that remembers what it was given.
type tape struct {
	index   uint64
	got     []Entry
	fail    error
	replies int // how many too many
}

func (m *tape) Apply(entries []Entry) ([]Reply, error) {
	if m.fail != nil {
		return nil, m.fail
	}
	replies := make([]Reply, len(entries)+m.replies)
	for i, e := range entries {
		replies[i].Data = e.Data
	}
	m.got = append(m.got, entries...)
	m.index = entries[len(entries)-1].Index
	return replies, nil
}

func (m *tape) Snapshot() (io.WriterTo, error) {
	return bytes.NewReader(binary.BigEndian.AppendUint64(nil, m.index)), nil
}

func (m *tape) Restore(r io.Reader) error {
	var b [8]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return err
	}
	m.index = binary.BigEndian.Uint64(b[:])
	return nil
}

func (m *tape) AppliedIndex() uint64 { return m.index }

func newTape(t *testing.T) (*tape, *fsm, *[]error) {
	m := new(tape)
	var fatal []error
	f := &fsm{
		sm: m, applied: func(uint64, uint64) {}, members: func([]raft.Server) {},
		settle: func(uint64, uint64) error { return nil },
		fatal:  func(err error) { fatal = append(fatal, err) },
	}
	f.running.Store(true)
	return m, f, &fatal
}

func logs(from, to uint64) []*raft.Log {
	var out []*raft.Log
	for i := from; i <= to; i++ {
		out = append(out, &raft.Log{Index: i, Term: 1, Type: raft.LogCommand, Data: []byte{byte(i)}})
	}
	return out
}

// TestMembersAreMarks: a change of members reaches the state machine as an
// entry without data, and gets a response like any other; the newest one is told
// before the batch is said to be applied.
func TestMembersAreMarks(t *testing.T) {
	m, f, fatal := newTape(t)
	var told []string
	f.members = func(servers []raft.Server) {
		for _, server := range servers {
			told = append(told, string(server.ID))
		}
	}
	f.applied = func(index, _ uint64) { told = append(told, fmt.Sprint(index)) }
	configuration := func(l *raft.Log, id raft.ServerID) {
		l.Type = raft.LogConfiguration
		l.Data = raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: id}}})
	}
	batch := logs(1, 3)
	configuration(batch[0], "a")
	configuration(batch[1], "b")
	responses := f.ApplyBatch(batch)
	if len(responses) != 3 || !bytes.Equal(responses[2].(Reply).Data, []byte{3}) {
		t.Fatalf("responses %v", responses)
	}
	if len(m.got) != 3 || m.got[1].Index != 2 || m.got[1].Data != nil {
		t.Fatalf("entries %+v", m.got)
	}
	if want := []string{"b", "3"}; !slices.Equal(told, want) {
		t.Fatalf("told %v, want %v", told, want)
	}
	broken := logs(4, 4)
	broken[0].Type = raft.LogConfiguration
	if _, isErr := f.ApplyBatch(broken)[0].(error); !isErr || len(*fatal) != 1 {
		t.Fatalf("a configuration that cannot be read: fatal %v", *fatal)
	}
}

// TestNeverBack: when raft goes back, by a snapshot that arrives late, the
// state machine does not, and entries are not applied twice.
func TestNeverBack(t *testing.T) {
	m, f, fatal := newTape(t)
	var told []raft.Server
	f.members = func(servers []raft.Server) { told = servers }
	var settled uint64
	f.settle = func(index, _ uint64) error { settled = index; return nil }
	f.ApplyBatch(logs(1, 10))
	stores, err := storage.Open(storage.Config{
		Dir: t.TempDir() + "/raft", ClusterID: "blue", NodeID: "a", SlowWrite: 1e10, Fatal: func(error) {}, Logger: newRaftLogger(discard, "test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stores.Close()
	_, trans := raft.NewInmemTransport("")
	defer trans.Close()
	restore := func(index uint64) {
		t.Helper()
		sink, err := stores.Snapshots.Create(1, index, 1, raft.Configuration{Servers: []raft.Server{{ID: "a"}}}, 1, trans)
		if err != nil {
			t.Fatal(err)
		}
		sink.Write(binary.BigEndian.AppendUint64(nil, index))
		if err := sink.Close(); err != nil {
			t.Fatal(err)
		}
		_, r, err := stores.Snapshots.Open(sink.ID())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := f.Restore(r); err != nil {
			t.Fatal(err)
		}
	}
	restore(5)
	if m.index != 10 || settled != 0 || told != nil {
		t.Fatalf("the state machine went back to %d, members to %v", m.index, told)
	}
	if _, err := f.Snapshot(); err == nil {
		t.Fatal("the state of entry 10 is a snapshot of what Raft takes for entry 5")
	}
	if responses := f.ApplyBatch(logs(6, 12)); len(responses) != 7 || responses[4] != nil || responses[6] == nil {
		t.Fatalf("responses %v", responses)
	}
	var indexes []uint64
	for _, e := range m.got {
		indexes = append(indexes, e.Index)
	}
	if want := []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; !slices.Equal(indexes, want) {
		t.Fatalf("applied %v", indexes)
	}
	overtaken, err := f.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	restore(20)
	sink, err := stores.Snapshots.Create(1, 12, 1, raft.Configuration{Servers: []raft.Server{{ID: "a"}}}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	if err := overtaken.Persist(sink); !errors.Is(err, errOvertaken) {
		t.Fatalf("an older state is kept beside the leader's snapshot: %v", err)
	}
	if m.index != 20 || settled != 20 || len(told) != 1 || len(*fatal) != 0 {
		t.Fatalf("a newer snapshot: at %d, the log's end of it at %d, members %v, fatal %v", m.index, settled, told, *fatal)
	}
}

// TestBrokenStateMachine: any disagreement is fatal, and nothing is applied or
// written as a snapshot after it.
func TestBrokenStateMachine(t *testing.T) {
	check := func(name string, spoil func(*tape), do func(*fsm) error) {
		t.Helper()
		m, f, fatal := newTape(t)
		f.ApplyBatch(logs(1, 2))
		spoil(m)
		if err := do(f); err == nil || len(*fatal) != 1 {
			t.Errorf("%s: %v, fatal %v", name, err, *fatal)
		}
		applied := len(m.got)
		m.fail, m.replies = nil, 0
		if _, isErr := f.ApplyBatch(logs(9, 9))[0].(error); !isErr || len(m.got) != applied {
			t.Errorf("%s: applied after a failure", name)
		}
		if _, err := f.Snapshot(); err == nil {
			t.Errorf("%s: a snapshot after a failure", name)
		}
		if len(*fatal) != 1 {
			t.Errorf("%s: fatal %d times", name, len(*fatal))
		}
	}
	apply := func(f *fsm) error {
		err, _ := f.ApplyBatch(logs(3, 4))[1].(error)
		return err
	}
	check("an error", func(m *tape) { m.fail = errors.New("no") }, apply)
	check("a reply too many", func(m *tape) { m.replies = 1 }, apply)
	check("a snapshot that cannot be read", func(*tape) {}, func(f *fsm) error {
		return f.Restore(io.NopCloser(bytes.NewReader(nil)))
	})
}
