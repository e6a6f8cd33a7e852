package snapshot_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/snapshot"
	"github.com/raftkms/raftkms/fsm/state"
)

var update = flag.Bool("update", false, "rewrite the golden snapshot: a change of the format, for which a version is needed")

// golden is a state with a record in every table.
func golden(t *testing.T) *state.Root {
	t.Helper()
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateKey("a"))
	m.Must(fsmtest.CreateKey("b"))
	m.Must(fsmtest.DisableKey("b"))
	m.Must(command.CreateJoinToken{ID: fsmtest.TokenID("t"), Expires: m.Now + 1000})
	m.Must(fsmtest.AdmitNode("t", "n2"))
	return m.State()
}

func write(t *testing.T, root *state.Root) []byte {
	t.Helper()
	var file bytes.Buffer
	if n, err := snapshot.Write(&file, root); err != nil || n != int64(file.Len()) {
		t.Fatalf("%d bytes: %v", n, err)
	}
	return file.Bytes()
}

// A snapshot that was written once can be read for ever, as the same state.
func TestGolden(t *testing.T) {
	const file = "testdata/v1.hex"
	root := golden(t)
	data := write(t, root)
	if *update {
		var out strings.Builder
		for rest := data; len(rest) > 0; {
			n := min(48, len(rest))
			out.WriteString(hex.EncodeToString(rest[:n]) + "\n")
			rest = rest[n:]
		}
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stored, data) {
		t.Error("the same state is written in other bytes")
	}
	read, err := snapshot.Read(bytes.NewReader(stored))
	if err != nil {
		t.Fatal(err)
	}
	if read.Hash() != root.Hash() || read.Applied() != root.Applied() {
		t.Error("the golden snapshot is another state")
	}
	seen := map[state.Table]bool{}
	for table := range read.Records() {
		seen[table] = true
	}
	if len(seen) < int(state.TableReply) {
		t.Errorf("the golden snapshot has records in %d of at least %d tables", len(seen), state.TableReply)
	}
}

func TestEmptyState(t *testing.T) {
	read, err := snapshot.Read(bytes.NewReader(write(t, state.NewRoot())))
	if err != nil || read.Applied() != 0 || read.Hash() != [32]byte{} || read.Cluster() != nil {
		t.Fatalf("got %+v, %v", read, err)
	}
}

// No byte may be missing, changed or added.
func TestEveryByteCounts(t *testing.T) {
	data := write(t, golden(t))
	for i := range data {
		if _, err := snapshot.Read(bytes.NewReader(data[:i])); !errors.Is(err, snapshot.ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: %v", i, len(data), err)
		}
		altered := bytes.Clone(data)
		altered[i] ^= 0x20
		if _, err := snapshot.Read(bytes.NewReader(altered)); !errors.Is(err, snapshot.ErrCorrupt) && !errors.Is(err, snapshot.ErrNewer) {
			t.Fatalf("with byte %d altered: %v", i, err)
		}
	}
	if _, err := snapshot.Read(bytes.NewReader(append(data, 0))); !errors.Is(err, snapshot.ErrCorrupt) {
		t.Fatalf("with a byte more: %v", err)
	}
}

// resealed returns a snapshot whose checksum is right again after a change, as
// a writer with a mistake would leave it.
func resealed(data []byte, change func(body []byte) []byte) []byte {
	body := change(bytes.Clone(data[:len(data)-sha256.Size]))
	sum := sha256.Sum256(body)
	return append(body, sum[:]...)
}

func TestWrongButWellSealed(t *testing.T) {
	data := write(t, golden(t))
	const version, level, hashVersion = 16, 20, 24
	f := func(name string, want error, change func([]byte) []byte) {
		t.Helper()
		if _, err := snapshot.Read(bytes.NewReader(resealed(data, change))); !errors.Is(err, want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	set := func(at int, value uint32) func([]byte) []byte {
		return func(b []byte) []byte {
			binary.BigEndian.PutUint32(b[at:], value)
			return b
		}
	}
	f("a newer format", snapshot.ErrNewer, set(version, snapshot.Version+1))
	f("format 0", snapshot.ErrCorrupt, set(version, 0))
	f("a newer feature level", snapshot.ErrNewer, set(level, state.FeatureLevel+1))
	f("another feature level than the cluster's", snapshot.ErrCorrupt, set(level, 0))
	f("a newer state hash", snapshot.ErrNewer, set(hashVersion, state.HashVersion+1))
	f("an altered record", snapshot.ErrCorrupt, func(b []byte) []byte {
		return bytes.Replace(b, []byte("region-1"), []byte("region-2"), 1)
	})
	f("another count", snapshot.ErrCorrupt, func(b []byte) []byte {
		b[len(b)-33]++
		return b
	})
	f("another state hash", snapshot.ErrCorrupt, func(b []byte) []byte {
		b[len(b)-1]++
		return b
	})
	f("a record of a table nobody knows", snapshot.ErrCorrupt, func(b []byte) []byte {
		b[36] = 99
		return b
	})
	f("a record of a gigabyte", snapshot.ErrCorrupt, set(37, 1<<30))
}

var errBrokenPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Read([]byte) (int, error) { return 0, errBrokenPipe }

func TestReaderErrorsComeThrough(t *testing.T) {
	if _, err := snapshot.Read(brokenPipe{}); !errors.Is(err, errBrokenPipe) {
		t.Fatalf("got %v", err)
	}
}

func FuzzRead(f *testing.F) {
	var file bytes.Buffer
	if _, err := snapshot.Write(&file, fsmtest.Bootstrapped(f).State()); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		// With the checksum made right, so that the fuzzer gets past it.
		if len(data) >= sha256.Size {
			data = resealed(data, func(b []byte) []byte { return b })
		}
		root, err := snapshot.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if !bytes.Equal(write(t, root), data) {
			t.Fatal("accepted what is not written so")
		}
	})
}
