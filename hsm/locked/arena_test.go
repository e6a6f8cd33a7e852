package locked_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/hsm/locked"
)

func TestBuffersAreZeroAndWiped(t *testing.T) {
	a := newArena(t, 1<<20)
	for _, n := range []int{1, 32, 33, 512, 513, 5000} {
		b, err := a.New(n)
		if err != nil {
			t.Fatal(err)
		}
		mem := b.Bytes()
		if len(mem) != n || cap(mem) != n || !bytes.Equal(mem, make([]byte, n)) {
			t.Fatalf("%d bytes: length %d, capacity %d", n, len(mem), cap(mem))
		}
		for i := range mem {
			mem[i] = 0xff
		}
		b.Destroy()
		b.Destroy()
		if b.Bytes() != nil || b.Locked() {
			t.Errorf("%d bytes: still there after Destroy", n)
		}
		// Slots stay mapped, so that they were wiped can be seen (pages of
		// their own cannot be looked at any more).
		if n <= 512 && !bytes.Equal(mem, make([]byte, n)) {
			t.Errorf("%d bytes: not wiped", n)
		}
	}
}

func TestArenaIsBounded(t *testing.T) {
	const limit = 64 << 10
	a := newArena(t, limit)
	var all []*locked.Buffer
	for {
		b, err := a.New(512)
		if errors.Is(err, locked.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	if len(all) != limit/512 {
		t.Errorf("%d slots of 512 bytes within %d", len(all), limit)
	}
	if _, err := a.New(4096); !errors.Is(err, locked.ErrFull) {
		t.Errorf("pages above the limit: %v", err)
	}
	all[3].Destroy()
	if _, err := a.New(300); err != nil {
		t.Errorf("a slot that was given back: %v", err)
	}
	for _, n := range []int{-1, 0, locked.MaxBuffer + 1} {
		if _, err := a.New(n); err == nil || errors.Is(err, locked.ErrFull) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}

	// Pages of their own count, and come back.
	a = newArena(t, limit)
	for range 10 {
		b, err := a.New(limit)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.New(1); !errors.Is(err, locked.ErrFull) {
			t.Errorf("above the limit: %v", err)
		}
		b.Destroy()
	}
}

// No two live buffers share a byte, whatever is taken and given back.
func TestBuffersDoNotOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := locked.NewArena(1 << 20)
		defer a.Close()
		type held struct {
			b    *locked.Buffer
			fill byte
		}
		var all []held
		for i := range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(all) > 0 && rapid.Bool().Draw(t, "destroy") {
				at := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				all[at].b.Destroy()
				all = append(all[:at], all[at+1:]...)
				continue
			}
			b, err := a.New(rapid.SampledFrom([]int{1, 16, 32, 100, 512, 600, 9000}).Draw(t, "size"))
			if err != nil {
				t.Fatal(err)
			}
			if len(bytes.Trim(b.Bytes(), "\x00")) != 0 {
				t.Fatal("a new buffer is not zero")
			}
			h := held{b, byte(i + 1)}
			for j := range b.Bytes() {
				b.Bytes()[j] = h.fill
			}
			all = append(all, h)
		}
		for _, h := range all {
			if len(bytes.Trim(h.b.Bytes(), string([]byte{h.fill}))) != 0 {
				t.Fatal("a buffer was written by another")
			}
		}
	})
}

func TestArenaConcurrently(t *testing.T) {
	a := newArena(t, 4<<20)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 300 {
				b, err := a.New(32)
				if err != nil {
					t.Error(err)
					return
				}
				mem := b.Bytes()
				for j := range mem {
					mem[j] = byte(i)
				}
				if !bytes.Equal(mem, bytes.Repeat([]byte{byte(i)}, 32)) {
					t.Error("another wrote into this buffer")
				}
				b.Destroy()
			}
		})
	}
	wg.Wait()
}

func TestClosedArena(t *testing.T) {
	a := locked.NewArena(1 << 20)
	small, err := a.New(32)
	if err != nil {
		t.Fatal(err)
	}
	large, err := a.New(10_000)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if small.Bytes() != nil || large.Bytes() != nil {
		t.Error("a buffer of a closed arena still shows memory")
	}
	small.Destroy()
	large.Destroy()
	if _, err := a.New(1); !errors.Is(err, locked.ErrClosed) {
		t.Errorf("New after Close: %v", err)
	}
	if _, err := a.NewKey(make([]byte, 32)); !errors.Is(err, locked.ErrClosed) {
		t.Errorf("NewKey after Close: %v", err)
	}
}

// An arena that was shut has closed its keys, and leaves buffers their memory,
// which is wiped when they are destroyed.
func TestShutArena(t *testing.T) {
	a := newArena(t, 1<<20)
	b, err := a.New(512)
	if err != nil {
		t.Fatal(err)
	}
	mem := b.Bytes()
	k, err := a.NewKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	a.Shut()
	a.Shut()
	copy(mem, "written by who hung")
	if err := k.EncryptBlocks(t.Context(), make([]byte, 16), make([]byte, 16)); !errors.Is(err, locked.ErrClosed) {
		t.Errorf("a key: %v", err)
	}
	if _, err := a.New(1); !errors.Is(err, locked.ErrClosed) {
		t.Errorf("New: %v", err)
	}
	b.Destroy()
	if !bytes.Equal(mem, make([]byte, 512)) {
		t.Error("the buffer was not wiped")
	}
}

// What is reported is what the kernel says of the pages.
func TestLockingIsReported(t *testing.T) {
	a := newArena(t, 1<<20)
	k := newKey(t, a, 1)
	flags := mappingFlags(t, a)
	if !strings.Contains(flags, " dd") {
		t.Errorf("the pages go into core dumps: flags%s", flags)
	}
	if isLocked := strings.Contains(flags, " lo"); k.Locked() != isLocked || a.Locked() != isLocked {
		t.Errorf("key %v, arena %v; the kernel says %v", k.Locked(), a.Locked(), isLocked)
	}
}

// Without the right to lock memory everything works, and says so.
func TestLockingNotPermitted(t *testing.T) {
	var wg sync.WaitGroup
	wg.Go(func() {
		// The thread that gives up its right is not used again: it ends with
		// the goroutine that is still wired to it.
		runtime.LockOSThread()
		forbidLocking(t)
		a := newArena(t, 1<<20)
		k, err := a.NewKey(bytes.Repeat([]byte{2}, 32))
		if err != nil {
			t.Error(err)
			return
		}
		if k.Locked() || a.Locked() {
			t.Error("locked without the right to")
		}
		src, dst := make([]byte, 16), make([]byte, 16)
		if err := k.EncryptBlocks(context.Background(), dst, src); err != nil || !bytes.Equal(dst, want(t, 2, src)) {
			t.Errorf("an unlocked key does not work: %v", err)
		}
		b, err := a.New(10_000)
		if err != nil || b.Locked() {
			t.Errorf("an unlocked buffer: %v", err)
		}
	})
	wg.Wait()
}

// forbidLocking takes the right to lock memory from this thread (the
// capability) and, until the test ends, from the process (the limit).
func forbidLocking(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &before); err != nil {
		t.Error(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Error(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &before); err != nil {
			t.Error(err)
		}
	})
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		t.Error(err)
	}
	sets[0].Effective &^= 1 << unix.CAP_IPC_LOCK
	if err := unix.Capset(&header, &sets[0]); err != nil {
		t.Error(err)
	}
}
