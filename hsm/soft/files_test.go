package soft_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/locked"
	"github.com/raftkms/raftkms/hsm/soft"
)

var cluster = hsm.ClusterID{0xc1, 15: 0x05}

// rooted makes files with one generation of roots, and closes the module.
func rooted(t *testing.T) soft.Config {
	t.Helper()
	c := newConfig(t)
	m := openModule(t, c)
	must(t, m.CreateRoots(context.Background(), cluster, 1))
	must(t, m.Close())
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	must(t, err)
	return b
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	must(t, os.WriteFile(name, b, 0o600))
}

// refused opens and wants an error that is one sentence and says all of the words.
func refused(t *testing.T, c soft.Config, words ...string) {
	t.Helper()
	m, err := soft.Open(context.Background(), c)
	if err == nil {
		must(t, m.Close())
		t.Fatal("the module opened")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %v", err)
	}
}

func TestFirstUse(t *testing.T) {
	c := newConfig(t)
	m := openModule(t, c)
	for _, name := range []string{c.RootsFile, c.PrivateKeyFile, c.UnlockKeyFile} {
		info, err := os.Stat(name)
		must(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(name), info.Mode())
		}
	}
	if n := len(read(t, c.UnlockKeyFile)); n != 32 {
		t.Errorf("the unlock key has %d bytes", n)
	}
	if d := m.Describe(); d.Kind != "soft" || d.Hardware || !strings.Contains(strings.Join(d.Notes, " "), "on one file system") {
		t.Errorf("description %+v", d)
	}
	_, err := m.TransportKey(context.Background())
	must(t, err)
	entries, err := os.ReadDir(filepath.Dir(c.RootsFile))
	must(t, err)
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestGivenUnlockKey(t *testing.T) {
	c := newConfig(t)
	key := bytes.Repeat([]byte{7}, 32)
	write(t, c.UnlockKeyFile, key)
	must(t, openModule(t, c).Close())
	if !bytes.Equal(read(t, c.UnlockKeyFile), key) {
		t.Error("the given unlock key was replaced")
	}
	must(t, openModule(t, c).Close())
}

// Whatever is left of a first use that a crash cut off, the next start goes on.
func TestFirstUseCutOff(t *testing.T) {
	for name, leave := range map[string]func(c soft.Config){
		"after the unlock key": func(c soft.Config) {
			must(t, os.Remove(c.RootsFile))
			must(t, os.Remove(c.PrivateKeyFile))
		},
		"after the roots": func(c soft.Config) { must(t, os.Remove(c.PrivateKeyFile)) },
		"while writing": func(c soft.Config) {
			must(t, os.Remove(c.PrivateKeyFile))
			must(t, os.WriteFile(c.PrivateKeyFile+".new", []byte("half a fi"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConfig(t)
			must(t, openModule(t, c).Close())
			unlock := read(t, c.UnlockKeyFile)
			leave(c)
			m := openModule(t, c)
			must(t, m.CreateRoots(context.Background(), cluster, 1))
			must(t, m.Close())
			m = openModule(t, c)
			_, err := m.OpenRoots(context.Background(), cluster)
			must(t, err)
			if !bytes.Equal(read(t, c.UnlockKeyFile), unlock) {
				t.Error("the unlock key was replaced")
			}
			if _, err := os.Stat(c.PrivateKeyFile + ".new"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a temporary file remains: %v", err)
			}
		})
	}
}

func TestMissingFiles(t *testing.T) {
	for name, file := range map[string]func(c soft.Config) string{
		"the roots file":       func(c soft.Config) string { return c.RootsFile },
		"the private key file": func(c soft.Config) string { return c.PrivateKeyFile },
		"the unlock key file":  func(c soft.Config) string { return c.UnlockKeyFile },
	} {
		t.Run(name, func(t *testing.T) {
			c := rooted(t)
			kept := read(t, file(c))
			must(t, os.Remove(file(c)))
			refused(t, c, name+" "+file(c)+" is missing", "restore it")
			if _, err := os.Stat(file(c)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it was made anew: %v", err)
			}
			write(t, file(c), kept)
			_, err := openModule(t, c).OpenRoots(context.Background(), cluster)
			must(t, err)
		})
	}
	c := rooted(t)
	must(t, os.Remove(c.PrivateKeyFile))
	must(t, os.Remove(c.UnlockKeyFile))
	refused(t, c, "the private key file", "is missing")
	c = newConfig(t)
	c.UnlockKeyFile = filepath.Join(filepath.Dir(c.UnlockKeyFile), "unmounted", "unlock")
	refused(t, c, "unmounted")
	c.UnlockKeyFile = ""
	refused(t, c, "must be given")
}

func TestDamagedFiles(t *testing.T) {
	c := rooted(t)
	for name, file := range map[string]string{"roots": c.RootsFile, "private key": c.PrivateKeyFile} {
		good := read(t, file)
		for at := 0; at < len(good); at += 11 {
			bad := bytes.Clone(good)
			bad[at] ^= 0x10
			write(t, file, bad)
			refused(t, c, file)
		}
		for _, n := range []int{0, 1, 10, 31, 40, len(good) / 2, len(good) - 32, len(good) - 1} {
			write(t, file, good[:n])
			refused(t, c, file)
		}
		write(t, file, append(bytes.Clone(good), '\n'))
		refused(t, c, file)
		write(t, file, make([]byte, 1<<20))
		refused(t, c, file, "larger than")
		write(t, file, good)
		t.Logf("%s: %d bytes", name, len(good))
	}
	good := read(t, c.UnlockKeyFile)
	write(t, c.UnlockKeyFile, good[:31])
	refused(t, c, "the unlock key file", "31 bytes instead of 32")
	write(t, c.UnlockKeyFile, append(bytes.Clone(good), '\n'))
	refused(t, c, "33 bytes instead of 32")
	write(t, c.UnlockKeyFile, bytes.Repeat([]byte{1}, 32))
	refused(t, c, "the unlock key in", "does not open the private key in")
	write(t, c.UnlockKeyFile, good)
	must(t, openModule(t, c).Close())
}

// Files of two modules do not mix, in any combination.
func TestFilesBelongTogether(t *testing.T) {
	c, other := rooted(t), rooted(t)
	mixed := c
	mixed.UnlockKeyFile = other.UnlockKeyFile
	refused(t, mixed, "the unlock key in", other.UnlockKeyFile, c.PrivateKeyFile)
	mixed = c
	mixed.RootsFile = other.RootsFile
	refused(t, mixed, "the roots in", "another private key", other.RootsFile, c.PrivateKeyFile)
	mixed = c
	mixed.PrivateKeyFile, mixed.UnlockKeyFile = other.PrivateKeyFile, other.UnlockKeyFile
	refused(t, mixed, "the roots in", "another private key")

	// A transport key of another module is not taken for this one's.
	ctx := context.Background()
	m := openModule(t, other)
	_, err := m.TransportKey(ctx)
	must(t, err)
	write(t, c.RootsFile+".transport", read(t, other.RootsFile+".transport"))
	m = openModule(t, c)
	if _, err := m.TransportKey(ctx); err == nil {
		t.Error("another module's transport key was taken")
	}
}

func TestOthersMayNotRead(t *testing.T) {
	c := rooted(t)
	for _, file := range []string{c.RootsFile, c.PrivateKeyFile, c.UnlockKeyFile} {
		for _, mode := range []os.FileMode{0o604, 0o620, 0o601, 0o666} {
			must(t, os.Chmod(file, mode))
			refused(t, c, file, "mode 0600")
		}
		must(t, os.Chmod(file, 0o400))
		must(t, openModule(t, c).Close())
		must(t, os.Chmod(file, 0o640))
		if file != c.UnlockKeyFile || os.Geteuid() != 0 {
			refused(t, c, file, "mode 0600")
		}
		must(t, os.Chmod(file, 0o600))
	}
	if os.Geteuid() != 0 {
		return // only root can make what systemd makes
	}
	must(t, os.Chmod(c.UnlockKeyFile, 0o440))
	must(t, openModule(t, c).Close())
	must(t, os.Chown(c.UnlockKeyFile, 0, 1))
	refused(t, c, c.UnlockKeyFile, "mode 0600")
}

func TestOneProcessAtATime(t *testing.T) {
	c := rooted(t)
	m := openModule(t, c)
	refused(t, c, "another process holds")
	must(t, m.Close())
	must(t, openModule(t, c).Close())
}

// A change that cannot be written is no change.
func TestFailedWrite(t *testing.T) {
	ctx := context.Background()
	c := rooted(t)
	m := openModule(t, c)
	_, err := m.OpenRoots(ctx, cluster)
	must(t, err)
	w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	must(t, err)
	before := read(t, c.RootsFile)
	obstacle := c.RootsFile + ".new"
	must(t, os.MkdirAll(filepath.Join(obstacle, "in the way"), 0o700))
	if err := m.CreateRoots(ctx, cluster, 2); err == nil {
		t.Error("CreateRoots succeeded without writing")
	}
	if err := m.DestroyRoots(ctx, cluster, 1); err == nil {
		t.Error("DestroyRoots succeeded without writing")
	}
	if !bytes.Equal(read(t, c.RootsFile), before) {
		t.Error("the roots file changed")
	}
	if _, err := m.Load(ctx, w); err != nil {
		t.Errorf("the roots are gone: %v", err)
	}
	if again, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256); err != nil || again.Generation != 1 {
		t.Errorf("generation %d is in use, %v", again.Generation, err)
	}
	must(t, os.RemoveAll(obstacle))
	must(t, m.CreateRoots(ctx, cluster, 2))
}

// Destroying a generation takes its ciphertext out of the file and leaves the others.
func TestDestroyRewritesTheFile(t *testing.T) {
	ctx := context.Background()
	c := rooted(t)
	m := openModule(t, c)
	first := read(t, c.RootsFile)
	must(t, m.CreateRoots(ctx, cluster, 2))
	must(t, m.CreateRoots(ctx, hsm.ClusterID{0xff}, 1)) // of another cluster, behind the others
	both := read(t, c.RootsFile)
	sealed := first[len(first)/2 : len(first)/2+64] // within the ciphertext of generation 1
	if !bytes.Contains(both, sealed) {
		t.Fatal("generation 1 is not in the file")
	}
	must(t, m.DestroyRoots(ctx, cluster, 1))
	if bytes.Contains(read(t, c.RootsFile), sealed) {
		t.Error("generation 1 is still in the file")
	}
	must(t, m.Close())
	m = openModule(t, c)
	for id, want := range map[hsm.ClusterID]hsm.RootGeneration{cluster: 2, {0xff}: 1} {
		if g, err := m.OpenRoots(ctx, id); err != nil || g != want {
			t.Errorf("cluster %x: generation %d, %v", id[0], g, err)
		}
	}
}

// Two clusters in one module never use each other's roots, whichever was open before.
func TestTwoClusters(t *testing.T) {
	ctx := context.Background()
	other := hsm.ClusterID{0xff}
	m := openModule(t, newConfig(t))
	wrapped := make(map[hsm.ClusterID]hsm.Wrapped)
	for _, id := range []hsm.ClusterID{cluster, other} {
		must(t, m.CreateRoots(ctx, id, 1))
		w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
		must(t, err)
		wrapped[id] = w
	}
	for range 2 {
		for _, id := range []hsm.ClusterID{cluster, other} {
			_, err := m.OpenRoots(ctx, id)
			must(t, err)
			for of, w := range wrapped {
				if _, err := m.Load(ctx, w); (err == nil) != (of == id) || err != nil && !errors.Is(err, hsm.ErrUnwrap) {
					t.Errorf("with the roots of %x a key of %x: %v", id[0], of[0], err)
				}
			}
		}
	}
	// Destroying what is not in use leaves what is.
	must(t, m.DestroyRoots(ctx, cluster, 1))
	_, err := m.Load(ctx, wrapped[other])
	must(t, err)
	if _, err := m.OpenRoots(ctx, cluster); !errors.Is(err, hsm.ErrForeignRoots) {
		t.Errorf("OpenRoots of the destroyed cluster: %v", err)
	}
}

func TestLockedMemoryIsBounded(t *testing.T) {
	ctx := context.Background()
	c := newConfig(t)
	c.LockedMemory = 48 << 10
	m := openModule(t, c)
	must(t, m.CreateRoots(ctx, cluster, 1))
	w, err := m.Generate(ctx, hsm.LevelSoftware, hsm.SpecAES256)
	must(t, err)
	var keys []hsm.Key
	for {
		k, err := hsm.LoadKey(ctx, m, w)
		if errors.Is(err, locked.ErrFull) {
			break
		}
		must(t, err)
		keys = append(keys, k)
	}
	if len(keys) < 16 {
		t.Errorf("%d keys in 48 KiB", len(keys))
	}
	must(t, m.Check(ctx))
	must(t, keys[0].Close())
	_, err = m.Load(ctx, w)
	must(t, err)
}

// A transport key file that someone altered is refused, and not made anew.
func TestDamagedTransportKey(t *testing.T) {
	ctx := context.Background()
	c := newConfig(t)
	m := openModule(t, c)
	_, err := m.TransportKey(ctx)
	must(t, err)
	name := c.RootsFile + ".transport"
	good := read(t, name)
	for at := 0; at < len(good); at += 97 {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		write(t, name, bad)
		if _, err := m.TransportKey(ctx); err == nil || !strings.Contains(err.Error(), name) {
			t.Fatalf("byte %d altered: %v", at, err)
		}
		if !bytes.Equal(read(t, name), bad) {
			t.Fatal("the file was made anew")
		}
	}
}
