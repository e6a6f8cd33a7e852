package soft_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/soft"
)

const goldenPassphrase = "correct horse battery staple"

// says is a passphrase from somebody who always says the same.
func says(text string) func(context.Context, bool) ([]byte, error) {
	return func(context.Context, bool) ([]byte, error) { return []byte(text), nil }
}

// withPassphrase names files that do not exist yet.
func withPassphrase(t *testing.T, text string) soft.Config {
	c := newConfig(t)
	c.UnlockKeyFile, c.Passphrase = "", says(text)
	return c
}

func TestPassphrase(t *testing.T) {
	ctx := context.Background()
	c := withPassphrase(t, goldenPassphrase)
	var asked []bool
	var given [][]byte
	c.Passphrase = func(_ context.Context, first bool) ([]byte, error) {
		asked, given = append(asked, first), append(given, []byte(goldenPassphrase))
		return given[len(given)-1], nil
	}
	m := openModule(t, c)
	must(t, m.CreateRoots(ctx, cluster, 1))
	if notes := strings.Join(m.Describe().Notes, " "); !strings.Contains(notes, "passphrase") {
		t.Errorf("notes %q", notes)
	}
	must(t, m.Close())
	m = openModule(t, c)
	if g, err := m.OpenRoots(ctx, cluster); err != nil || g != 1 {
		t.Errorf("generation %d, %v", g, err)
	}
	must(t, m.Close())
	if len(asked) != 2 || !asked[0] || asked[1] {
		t.Errorf("asked with first %v, want true and then false", asked)
	}
	for _, text := range given {
		if !bytes.Equal(text, make([]byte, len(text))) {
			t.Errorf("a passphrase is still in memory: %q", text)
		}
	}
	for _, wrong := range []string{"correct horse battery stapl", "Correct horse battery staple", "x"} {
		c.Passphrase = says(wrong)
		refused(t, c, "the passphrase does not open the private key in "+c.PrivateKeyFile)
	}
	c.Passphrase = says("")
	refused(t, c, "empty")
	c.Passphrase = says(strings.Repeat("x", soft.MaxPassphrase+1))
	refused(t, c, "more than 1024 bytes")
	c.Passphrase = func(context.Context, bool) ([]byte, error) { return nil, errors.New("nobody is there") }
	refused(t, c, "nobody is there")
}

func TestANewPassphraseMustBeLong(t *testing.T) {
	for _, short := range []string{"elevenchars", "ÄÖÜäöüßÄÖÜä"} { // the second has 22 bytes
		c := withPassphrase(t, short)
		refused(t, c, "at least 12 characters")
		if _, err := os.Stat(c.PrivateKeyFile); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a private key file was made: %v", err)
		}
	}
}

// The two kinds of a third place are told apart, and neither is both.
func TestThirdPlacesDoNotMix(t *testing.T) {
	c := rooted(t)
	p := c
	p.UnlockKeyFile, p.Passphrase = "", says(goldenPassphrase)
	refused(t, p, "encrypted under an unlock key")
	p = withPassphrase(t, goldenPassphrase)
	must(t, openModule(t, p).Close())
	p.UnlockKeyFile, p.Passphrase = c.UnlockKeyFile, nil
	refused(t, p, "encrypted under a passphrase")
	p.Passphrase = says(goldenPassphrase)
	refused(t, p, "must be given")
}

// What a file asks of memory and time is bounded on both sides: it must neither
// take the host's memory nor have made guesses cheap.
func TestPassphraseFilesAskForWhatIsBounded(t *testing.T) {
	c := withPassphrase(t, goldenPassphrase)
	must(t, openModule(t, c).Close())
	good := read(t, c.PrivateKeyFile)
	line, body, _ := bytes.Cut(good, []byte("\n"))
	type how struct {
		Passes  uint32 `cbor:"1,keyasint"`
		Memory  uint32 `cbor:"2,keyasint"`
		Threads uint8  `cbor:"3,keyasint"`
		Salt    []byte `cbor:"4,keyasint"`
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	must(t, err)
	altered := func(alter func(*how)) []byte {
		var file map[int]cbor.RawMessage
		must(t, cbor.Unmarshal(body, &file))
		var h how
		must(t, cbor.Unmarshal(file[5], &h))
		alter(&h)
		file[5], err = mode.Marshal(h)
		must(t, err)
		b, err := mode.Marshal(file)
		must(t, err)
		return append(append(bytes.Clone(line), '\n'), b...)
	}
	if !bytes.Equal(altered(func(*how) {}), good) {
		t.Fatal("this test writes the file otherwise than the module")
	}
	for name, alter := range map[string]func(*how){
		"more memory than is allowed": func(h *how) { h.Memory, h.Passes = 2<<20, 1 },
		"all memory":                  func(h *how) { h.Memory = 1<<32 - 1 },
		"passes for hours":            func(h *how) { h.Passes = 1 << 20 },
		"work that overflows":         func(h *how) { h.Passes, h.Memory = 1<<31, 1<<31 },
		"no pass":                     func(h *how) { h.Passes = 0 },
		"cheap guesses":               func(h *how) { h.Passes = 2 },
		"no threads":                  func(h *how) { h.Threads = 0 },
		"many threads":                func(h *how) { h.Threads = 255 },
		"no salt":                     func(h *how) { h.Salt = nil },
		"a short salt":                func(h *how) { h.Salt = h.Salt[:15] },
	} {
		write(t, c.PrivateKeyFile, altered(alter))
		m, err := soft.Open(context.Background(), c)
		if err == nil {
			must(t, m.Close())
			t.Errorf("%s: the module opened", name)
		} else if !strings.Contains(err.Error(), "reading the private key file") {
			t.Errorf("%s: the file is not what is blamed: %v", name, err)
		}
	}
	// Within the bounds, what was not sealed with does not open.
	write(t, c.PrivateKeyFile, altered(func(h *how) { h.Passes = 4 }))
	refused(t, c, "the passphrase does not open")
	write(t, c.PrivateKeyFile, altered(func(h *how) { h.Salt[0] ^= 1 }))
	refused(t, c, "the passphrase does not open")
	// The first line is part of what was sealed.
	write(t, c.PrivateKeyFile, bytes.Replace(good, []byte("format 2"), []byte("format 1"), 1))
	refused(t, c, "reading the private key file")
	write(t, c.PrivateKeyFile, good[:len(good)-1])
	refused(t, c, "reading the private key file")
	write(t, c.PrivateKeyFile, good)
	must(t, openModule(t, c).Close())
}

// The files under a passphrase were written once, too: every later version opens them.
func TestFilesUnderAPassphraseOfTheFirstVersion(t *testing.T) {
	ctx := context.Background()
	c := withPassphrase(t, goldenPassphrase)
	names := map[string]string{c.RootsFile: "roots-passphrase", c.PrivateKeyFile: "private-passphrase"}
	if *update {
		m := openModule(t, c)
		must(t, m.CreateRoots(ctx, cluster, 1))
		must(t, m.Close())
		for file, name := range names {
			write(t, filepath.Join("testdata", name), read(t, file))
		}
	}
	for file, name := range names {
		write(t, file, read(t, filepath.Join("testdata", name)))
	}
	if g, err := openModule(t, c).OpenRoots(ctx, cluster); err != nil || g != 1 {
		t.Errorf("generation %d, %v", g, err)
	}
}

func TestRelock(t *testing.T) {
	ctx := context.Background()
	c := rooted(t)
	w := func(c soft.Config, m *soft.Module) hsm.Wrapped {
		_, err := m.OpenRoots(ctx, cluster)
		must(t, err)
		w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
		must(t, err)
		must(t, m.Close())
		return w
	}(c, openModule(t, c))
	old := c
	to := func(c soft.Config, to soft.Third) soft.Config {
		t.Helper()
		must(t, soft.Relock(ctx, c, to))
		c.UnlockKeyFile, c.Passphrase = to.UnlockKeyFile, to.Passphrase
		m := openModule(t, c)
		_, err := m.OpenRoots(ctx, cluster)
		must(t, err)
		_, err = m.Load(ctx, w)
		must(t, err)
		must(t, m.Close())
		return c
	}
	c = to(c, soft.Third{Passphrase: says(goldenPassphrase)})
	refused(t, old, "encrypted under a passphrase")
	first := c
	c = to(c, soft.Third{Passphrase: says("another passphrase")})
	refused(t, first, "the passphrase does not open")
	another := filepath.Join(filepath.Dir(c.RootsFile), "another")
	c = to(c, soft.Third{UnlockKeyFile: another})
	given := filepath.Join(filepath.Dir(c.RootsFile), "given")
	write(t, given, bytes.Repeat([]byte{7}, 32))
	c = to(c, soft.Third{UnlockKeyFile: given})

	// What is refused leaves the third place that counts.
	kept := read(t, c.PrivateKeyFile)
	for what, third := range map[string]soft.Third{
		"neither":         {},
		"both":            {UnlockKeyFile: another, Passphrase: says(goldenPassphrase)},
		"the same file":   {UnlockKeyFile: given},
		"a short one":     {Passphrase: says("short")},
		"a missing place": {UnlockKeyFile: filepath.Join(another, "unmounted")},
	} {
		if err := soft.Relock(ctx, c, third); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	if !bytes.Equal(read(t, c.PrivateKeyFile), kept) {
		t.Error("a refused change changed the file")
	}
	wrong := c
	wrong.UnlockKeyFile = another
	if err := soft.Relock(ctx, wrong, soft.Third{Passphrase: says(goldenPassphrase)}); err == nil || !strings.Contains(err.Error(), "does not open") {
		t.Errorf("with the wrong unlock key: %v", err)
	}
	if err := soft.Relock(ctx, newConfig(t), soft.Third{Passphrase: says(goldenPassphrase)}); err == nil || !strings.Contains(err.Error(), "start the node once") {
		t.Errorf("without files: %v", err)
	}
	m := openModule(t, c)
	if err := soft.Relock(ctx, c, soft.Third{Passphrase: says(goldenPassphrase)}); err == nil || !strings.Contains(err.Error(), "another process holds") {
		t.Errorf("of an open module: %v", err)
	}
	must(t, m.Close())
}
