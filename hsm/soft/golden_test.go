package soft_test

import (
	"context"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm"
)

var update = flag.Bool("update", false, "write the files of testdata anew; those that exist in the world then no longer open")

// The files of testdata were written once: every later version opens them and
// what was wrapped with them. (They hold nothing but this test's roots.)
func TestFilesOfTheFirstVersion(t *testing.T) {
	ctx := context.Background()
	c := newConfig(t)
	if *update {
		writeGolden(t)
	}
	for file, name := range map[string]string{c.RootsFile: "roots", c.PrivateKeyFile: "private", c.UnlockKeyFile: "unlock", c.RootsFile + ".transport": "transport"} {
		write(t, file, read(t, filepath.Join("testdata", name)))
	}
	m := openModule(t, c)
	if g, err := m.OpenRoots(ctx, cluster); err != nil || g != 2 {
		t.Fatalf("generation %d, %v", g, err)
	}
	lines := strings.Fields(string(read(t, "testdata/expected")))
	expect := func(what string, got []byte) {
		t.Helper()
		if hex.EncodeToString(got) != lines[0] {
			t.Errorf("%s: %x instead of %s", what, got, lines[0])
		}
		lines = lines[1:]
	}
	for _, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelSoftware} {
		for _, generation := range []hsm.RootGeneration{1, 2} {
			blob, err := hex.DecodeString(lines[0])
			must(t, err)
			lines = lines[1:]
			k, err := hsm.LoadKey(ctx, m, hsm.Wrapped{Level: level, Spec: hsm.SpecAES256, Generation: generation, Blob: blob})
			must(t, err)
			expect("block", encryptBlock(t, k))
		}
	}
	seal, err := m.Seal(ctx)
	must(t, err)
	expect("seal", encryptBlock(t, seal))
	mac, err := m.MAC(ctx, []byte("message"))
	must(t, err)
	expect("MAC", mac)
	public, err := m.TransportKey(ctx)
	must(t, err)
	expect("transport key", public)
}

func encryptBlock(t *testing.T, k hsm.Key) []byte {
	t.Helper()
	block := []byte("0123456789abcdef")
	must(t, k.EncryptBlocks(context.Background(), block, block))
	return block
}

func writeGolden(t *testing.T) {
	ctx := context.Background()
	c := newConfig(t)
	m := openModule(t, c)
	must(t, m.CreateRoots(ctx, cluster, 1))
	var lines []string
	add := func(b []byte) { lines = append(lines, hex.EncodeToString(b)) }
	wrapped := make(map[hsm.Level]hsm.Wrapped)
	for _, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelSoftware} {
		w, err := m.Generate(ctx, level, hsm.SpecAES256)
		must(t, err)
		wrapped[level] = w
	}
	must(t, m.CreateRoots(ctx, cluster, 2))
	for _, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelSoftware} {
		young, err := m.Generate(ctx, level, hsm.SpecAES256)
		must(t, err)
		for _, w := range []hsm.Wrapped{wrapped[level], young} {
			add(w.Blob)
			k, err := hsm.LoadKey(ctx, m, w)
			must(t, err)
			add(encryptBlock(t, k))
		}
	}
	seal, err := m.Seal(ctx)
	must(t, err)
	add(encryptBlock(t, seal))
	mac, err := m.MAC(ctx, []byte("message"))
	must(t, err)
	add(mac)
	public, err := m.TransportKey(ctx)
	must(t, err)
	add(public)
	for file, name := range map[string]string{c.RootsFile: "roots", c.PrivateKeyFile: "private", c.UnlockKeyFile: "unlock", c.RootsFile + ".transport": "transport"} {
		must(t, os.WriteFile(filepath.Join("testdata", name), read(t, file), 0o644))
	}
	must(t, os.WriteFile("testdata/expected", []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	must(t, m.Close())
}
