package custody_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/custody"
	"github.com/raftkms/raftkms/hsm/soft/softtest"
)

var home = hsm.ClusterID{0x68, 0x6f, 0x6d, 0x65, 15: 1}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rooted returns a module with roots, and their canary.
func rooted(t *testing.T) (hsm.Module, hsm.Canary) {
	t.Helper()
	m := softtest.Open(t)
	ok(t, m.CreateRoots(t.Context(), home, 1))
	canary, err := hsm.NewCanary(t.Context(), m, home, 1)
	ok(t, err)
	return m, canary
}

var made = time.Date(2027, 3, 4, 5, 6, 7, 0, time.UTC)

// Any three of five custodians restore the roots in an empty module; what the
// cluster had wrapped opens there.
func TestThreeOfFive(t *testing.T) {
	from, canary := rooted(t)
	w, err := from.Generate(t.Context(), hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	file, shares, err := custody.Make(t.Context(), from, canary, 3, 5, nil, made)
	ok(t, err)
	if len(shares) != 5 {
		t.Fatalf("%d shares", len(shares))
	}
	about, err := custody.Read(file)
	ok(t, err)
	if about.Cluster != home || about.Generation != 1 || about.Threshold != 3 || len(about.Prints) != 5 || !about.Time().Equal(made) || about.ModuleKind != "soft" {
		t.Errorf("the file says %+v", about)
	}
	for i, s := range shares {
		if number, err := about.Check(s); err != nil || number != i+1 {
			t.Errorf("share %d: %d, %v", i+1, number, err)
		}
		if !strings.Contains(s, "-") || strings.Contains(string(file), s) {
			t.Errorf("share %d is %q", i+1, s)
		}
	}
	for a := range 5 {
		for b := range 5 {
			for c := range 5 {
				_, err := custody.Open(file, []string{shares[a], shares[b], shares[c]})
				if distinct := a != b && b != c && a != c; distinct != (err == nil) || !distinct && !errors.Is(err, custody.ErrTooFew) {
					t.Errorf("shares %d, %d and %d: %v", a+1, b+1, c+1, err)
				}
			}
		}
	}
	_, err = custody.Open(file, shares)
	ok(t, err)

	to := softtest.Open(t)
	// As people type them.
	typed := []string{strings.ToLower(shares[4]), strings.ReplaceAll(shares[1], "-", " "), "\n" + strings.ReplaceAll(shares[2], "-", "") + "\n"}
	_, err = custody.Restore(t.Context(), to, file, typed)
	ok(t, err)
	ok(t, canary.Verify(t.Context(), to))
	key, err := to.Load(t.Context(), w)
	ok(t, err)
	ok(t, key.Close())
	if _, err := custody.Restore(t.Context(), to, file, typed); !errors.Is(err, hsm.ErrRootsExist) {
		t.Errorf("restored twice: %v", err)
	}
}

// Whatever is wrong with shares or file is refused, in a sentence that says
// which, and before the module is touched.
func TestRefusals(t *testing.T) {
	from, canary := rooted(t)
	file, shares, err := custody.Make(t.Context(), from, canary, 3, 5, nil, made)
	ok(t, err)
	other, foreign, err := custody.Make(t.Context(), from, canary, 3, 5, nil, made)
	ok(t, err)
	if bytes.Equal(file, other) || shares[0] == foreign[0] {
		t.Fatal("two backups are one")
	}
	to := softtest.Open(t)
	f := func(name string, file []byte, shares []string, want error, say string) {
		t.Helper()
		_, err := custody.Restore(t.Context(), to, file, shares)
		if !errors.Is(err, want) || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := to.OpenRoots(t.Context(), home); !errors.Is(err, hsm.ErrNoRoots) {
			t.Errorf("%s left roots behind: %v", name, err)
		}
		for _, s := range shares {
			if err != nil && len(s) > 30 && strings.Contains(err.Error(), s[20:]) {
				t.Errorf("%s: the error tells the share", name)
			}
		}
	}
	f("no shares", file, nil, custody.ErrTooFew, "there are 0")
	f("two shares", file, shares[:2], custody.ErrTooFew, "it takes 3 different ones")
	f("one share thrice", file, []string{shares[0], shares[0], shares[0]}, custody.ErrTooFew, "there are 1")
	f("mixed sets", file, []string{shares[0], foreign[1], shares[2]}, custody.ErrWrongShare, "share 2 is of the set")
	f("another backup's shares", file, foreign, custody.ErrWrongShare, "share 1 is of the set")
	f("another file", other, shares, custody.ErrWrongShare, "share 1 is of the set")
	f("no share", file, []string{shares[0], "open sesame", shares[2]}, custody.ErrShare, "mistyped")
	f("half a share", file, []string{shares[0], shares[1][:50], shares[2]}, custody.ErrShare, "mistyped")
	for at := len("RAFTKMS-SHARE-"); at < len(shares[1]); at++ {
		if shares[1][at] == '-' {
			continue
		}
		typo := []byte(shares[1])
		if typo[at]++; typo[at] == '8' || typo[at] == '[' {
			typo[at] = 'A'
		}
		if typo[at] == shares[1][at] {
			continue
		}
		f("a typo", file, []string{shares[0], string(typo), shares[2]}, custody.ErrShare, "mistyped")
	}
	for at := range file {
		altered := bytes.Clone(file)
		altered[at] ^= 0x01
		if _, err := custody.Open(altered, shares); err == nil || !errors.Is(err, custody.ErrMalformed) && !errors.Is(err, custody.ErrWrongShare) && !errors.Is(err, custody.ErrTooFew) {
			t.Fatalf("byte %d was altered: %v", at, err)
		}
	}
	for _, cut := range []int{0, 10, 40, len(file) - 33, len(file) - 1} {
		f("a file that is cut short", file[:cut], shares, custody.ErrMalformed, "no intact backup")
	}
	f("a file with more behind it", append(bytes.Clone(file), 0), shares, custody.ErrMalformed, "no intact backup")

	for _, c := range []struct{ k, n int }{{0, 5}, {1, 5}, {3, 2}, {2, 51}, {-1, -1}} {
		if _, _, err := custody.Make(t.Context(), from, canary, c.k, c.n, nil, made); err == nil {
			t.Errorf("%d of %d shares are made", c.k, c.n)
		}
	}
	if _, _, err := custody.Make(t.Context(), softtest.Open(t), canary, 2, 2, nil, made); !errors.Is(err, hsm.ErrNoRoots) {
		t.Errorf("a module without roots: %v", err)
	}
	file, shares, err = custody.Make(t.Context(), from, canary, 2, 50, nil, made)
	ok(t, err)
	_, err = custody.Open(file, []string{shares[49], shares[7]})
	ok(t, err)
}

// A backup of another cluster's roots under this cluster's name is found out by
// the canary, and taken back.
func TestRootsProveThemselves(t *testing.T) {
	from, _ := rooted(t)
	_, canary := rooted(t) // of other roots
	file, shares, err := custody.Make(t.Context(), from, canary, 2, 3, nil, made)
	ok(t, err)
	to := softtest.Open(t)
	if _, err := custody.Restore(t.Context(), to, file, shares); !errors.Is(err, hsm.ErrCanary) {
		t.Errorf("got %v", err)
	}
	if _, err := to.OpenRoots(t.Context(), home); !errors.Is(err, hsm.ErrNoRoots) {
		t.Errorf("roots that proved nothing are left: %v", err)
	}
}

// What is kept for years stays readable: a file and its shares, made by the
// first version.
func TestKeptBackupOpens(t *testing.T) {
	file, err := hex.DecodeString(strings.Join(strings.Fields(keptFile), ""))
	ok(t, err)
	b, err := custody.Open(file, []string{keptShares[2], keptShares[0]})
	ok(t, err)
	if b.Threshold != 2 || b.Generation != 1 || b.Cluster != home || len(b.Prints) != 3 {
		t.Errorf("got %+v", b)
	}
	to := softtest.Open(t)
	_, err = custody.Restore(t.Context(), to, file, keptShares[1:])
	ok(t, err)
}
