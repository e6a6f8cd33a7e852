package backup_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/soft"
	"github.com/raftkms/raftkms/server/backup"
)

// openModule is a module that holds roots of the cluster of fsmtest.
func openModule(t *testing.T) hsm.Module {
	t.Helper()
	dir := t.TempDir()
	module, err := soft.Open(context.Background(), soft.Config{
		RootsFile: filepath.Join(dir, "roots"), PrivateKeyFile: filepath.Join(dir, "private"), UnlockKeyFile: filepath.Join(dir, "unlock"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { module.Close() })
	id := uuid.MustParse(fsmtest.Bootstrap().ClusterID)
	if err := module.CreateRoots(context.Background(), hsm.ClusterID(id), 1); err != nil {
		t.Fatal(err)
	}
	return module
}

func read(module hsm.Module, file []byte) (*state.Root, error) {
	r := bytes.NewReader(file)
	h, front, err := backup.ReadHeader(r)
	if err != nil {
		return nil, err
	}
	return backup.Read(context.Background(), r, h, front, module, state.FeatureLevel)
}

func TestBackup(t *testing.T) {
	ctx := context.Background()
	module := openModule(t)
	m := fsmtest.New(t)
	bootstrap := fsmtest.Bootstrap()
	bootstrap.LineageID = fsmtest.ID("lineage")
	m.Must(bootstrap)
	for _, name := range []string{"one", "two", "three"} {
		m.Must(fsmtest.CreateKey(name))
	}
	var out bytes.Buffer
	h, err := backup.Write(ctx, &out, module, m.State(), "n1", "v")
	if err != nil {
		t.Fatal(err)
	}
	file := out.Bytes()
	root, err := read(module, file)
	if err != nil {
		t.Fatal(err)
	}
	if root.Hash() != m.State().Hash() || root.Applied() != h.Index || h.NodeID != "n1" || h.LineageID != bootstrap.LineageID {
		t.Fatalf("read another state: %+v", h)
	}
	for _, plain := range []string{"three", fsmtest.UserName, fsmtest.AccessKeyID} {
		if bytes.Contains(file, []byte(plain)) {
			t.Errorf("%q can be read in the backup", plain)
		}
	}

	// Another cluster's module, any altered byte, any cut.
	if _, err := read(openModule(t), file); !errors.Is(err, backup.ErrForeign) {
		t.Errorf("another module: %v", err)
	} else if !strings.Contains(err.Error(), "check it at a node whose module holds those that did") {
		t.Errorf("another module: %v does not say what to do", err)
	}
	noticed := func(what string, n int, altered []byte) {
		t.Helper()
		if _, err := read(module, altered); !errors.Is(err, backup.ErrMalformed) && !errors.Is(err, backup.ErrForeign) {
			t.Fatalf("%s at %d: %v", what, n, err)
		} else if !strings.Contains(err.Error(), "save it again") && !errors.Is(err, backup.ErrForeign) {
			t.Fatalf("%s at %d: %v does not say what to do", what, n, err)
		}
	}
	for i := range file {
		if i > 1000 && i%37 != 0 {
			continue
		}
		altered := bytes.Clone(file)
		altered[i] ^= 0x20
		noticed("changed", i, altered)
		noticed("cut", i, file[:i])
	}
	noticed("longer", len(file), append(bytes.Clone(file), 0))

	if _, err := backup.Write(ctx, &out, module, fsm.New().State(), "n1", "v"); !errors.Is(err, fsm.ErrNoCluster) {
		t.Errorf("a backup of nothing: %v", err)
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add([]byte("raftkms backup\x00\x01\x00\x00\x00\x02{}"))
	f.Add([]byte("raftkms backup\x00\x01\xff\xff\xff\xff{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, front, err := backup.ReadHeader(bytes.NewReader(data))
		if err == nil && (h == nil || !bytes.HasPrefix(data, front)) {
			t.Fatal("a header of other bytes")
		}
	})
}
