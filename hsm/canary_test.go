package hsm_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/soft"
)

var cluster = hsm.ClusterID{0xc1, 15: 0x05}

func openModule(t *testing.T) hsm.Module {
	t.Helper()
	dir := t.TempDir()
	m, err := soft.Open(context.Background(), soft.Config{
		RootsFile:      filepath.Join(dir, "roots"),
		PrivateKeyFile: filepath.Join(dir, "private"),
		UnlockKeyFile:  filepath.Join(dir, "unlock"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.CreateRoots(context.Background(), cluster, 1); err != nil {
		t.Fatal(err)
	}
	return m
}

func newCanary(t *testing.T, m hsm.Module) hsm.Canary {
	t.Helper()
	c, err := hsm.NewCanary(context.Background(), m, cluster, 1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func goldenCanary() hsm.Canary {
	fill := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	return hsm.Canary{
		FormatVersion: 1, Cluster: cluster, Generation: 7,
		HSM:  hsm.CanaryKey{Blob: fill(1, 40), Block: fill(2, 16)},
		Soft: hsm.CanaryKey{Blob: fill(3, 40), Block: fill(4, 16)},
		Seal: fill(5, 16), MAC: fill(6, 32),
	}
}

func TestCanaryGolden(t *testing.T) {
	want := strings.Join([]string{
		"a7",
		"0101",
		"02" + "50" + "c1" + strings.Repeat("00", 14) + "05",
		"0307",
		"04" + "a2" + "015828" + strings.Repeat("01", 40) + "0250" + strings.Repeat("02", 16),
		"05" + "a2" + "015828" + strings.Repeat("03", 40) + "0250" + strings.Repeat("04", 16),
		"06" + "50" + strings.Repeat("05", 16),
		"07" + "5820" + strings.Repeat("06", 32),
	}, "")
	got, err := goldenCanary().Encode()
	if err != nil || hex.EncodeToString(got) != want {
		t.Errorf("%v\n got %x\nwant %s", err, got, want)
	}
	signed := strings.Join([]string{
		"00000011" + hex.EncodeToString([]byte("raftkms canary v1")),
		"c1" + strings.Repeat("00", 14) + "05",
		"00000007",
		"00000028" + strings.Repeat("01", 40), "00000010" + strings.Repeat("02", 16),
		"00000028" + strings.Repeat("03", 40), "00000010" + strings.Repeat("04", 16),
		"00000010" + strings.Repeat("05", 16),
	}, "")
	if got := hex.EncodeToString(goldenCanary().Signed()); got != signed {
		t.Errorf("signed\n got %s\nwant %s", got, signed)
	}
	b, err := hex.DecodeString(want)
	if err != nil {
		t.Fatal(err)
	}
	c, err := hsm.DecodeCanary(b)
	if err != nil || !cmp.Equal(c, goldenCanary()) {
		t.Errorf("decodes to %+v, %v", c, err)
	}
}

func TestCanaryDecodingIsStrict(t *testing.T) {
	good, err := goldenCanary().Encode()
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, new string) []byte {
		b, err := hex.DecodeString(strings.Replace(hex.EncodeToString(good), old, new, 1))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(b, good) {
			t.Fatalf("%q is not in the golden bytes", old)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"empty":               {},
		"cut":                 good[:len(good)-1],
		"byte behind the end": append(bytes.Clone(good), 0),
		"unknown version":     replaced("a70101", "a70102"),
		"longer number":       replaced("0307", "031807"),
		"unknown field":       replaced("a70101", "a8010118ff00"),
		"repeated field":      replaced("a70101", "a801010101"),
		"short MAC":           append(bytes.Clone(good[:len(good)-34]), append([]byte{0x58, 0x1f}, make([]byte, 31)...)...),
		"indefinite map":      append(append([]byte{0xbf}, good[1:]...), 0xff),
		"another type":        []byte("\x83\x01\x02\x03"),
		"too large":           make([]byte, hsm.MaxCanarySize+1),
	} {
		if c, err := hsm.DecodeCanary(b); err == nil {
			t.Errorf("%s: decodes to %+v", name, c)
		}
	}
	c := goldenCanary()
	c.Seal = nil
	if _, err := c.Encode(); err == nil {
		t.Error("a canary without one of its parts was encoded")
	}
}

// Each of the four keys is proved by a part of its own. The canary is signed
// again after each change, so that the MAC does not hide what the other parts see.
func TestCanaryProvesEachKey(t *testing.T) {
	ctx := context.Background()
	m := openModule(t)
	good, other := newCanary(t, m), newCanary(t, openModule(t))
	for name, change := range map[string]func(c *hsm.Canary){
		"another HSM key":      func(c *hsm.Canary) { c.HSM = other.HSM },
		"another software key": func(c *hsm.Canary) { c.Soft = other.Soft },
		"swapped levels":       func(c *hsm.Canary) { c.HSM, c.Soft = c.Soft, c.HSM },
		"HSM block":            func(c *hsm.Canary) { c.HSM.Block = other.HSM.Block },
		"software block":       func(c *hsm.Canary) { c.Soft.Block = other.Soft.Block },
		"another seal":         func(c *hsm.Canary) { c.Seal = other.Seal },
		"short seal":           func(c *hsm.Canary) { c.Seal = c.Seal[:15] },
	} {
		c := good
		change(&c)
		var err error
		if c.MAC, err = m.MAC(ctx, c.Signed()); err != nil {
			t.Fatal(err)
		}
		if err := c.Verify(ctx, m); !errors.Is(err, hsm.ErrCanary) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unsigned := good
	unsigned.MAC = other.MAC
	if err := unsigned.Verify(ctx, m); !errors.Is(err, hsm.ErrCanary) || !errors.Is(err, hsm.ErrMAC) {
		t.Errorf("another MAC: %v", err)
	}
	if err := good.Verify(ctx, m); err != nil {
		t.Errorf("unaltered: %v", err)
	}
}

// A module that does not answer is no proof of wrong roots.
func TestCanaryTellsFailureFromRefusal(t *testing.T) {
	m := openModule(t)
	c := newCanary(t, m)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Verify(ctx, m); !errors.Is(err, context.Canceled) || errors.Is(err, hsm.ErrCanary) {
		t.Errorf("cancelled: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(context.Background(), m); !errors.Is(err, hsm.ErrUnavailable) || errors.Is(err, hsm.ErrCanary) {
		t.Errorf("closed: %v", err)
	}
}

func TestCanaryOfAnotherGeneration(t *testing.T) {
	m := openModule(t)
	if _, err := hsm.NewCanary(context.Background(), m, cluster, 2); err == nil {
		t.Error("a canary of generation 2 was made with generation 1")
	}
}
