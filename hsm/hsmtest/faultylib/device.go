package faultylib

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

//go:embed library/faulty.c
var source []byte

// The layout of the control file; faulty.c has the same.
const (
	controlSize = 8192
	targetAt    = 4096
	magic       = 0x7261667466617531
	listed      = 16 // places in a list
)

type control struct {
	magic, unplugged, losses, latency, hang, refusePIN, stuck, pattern, capacity, wedges, refuseECB atomic.Uint64
	fail, failCode, failTimes, tokenFlags, inside, objects, sessions, mostInput, overstate          atomic.Uint64

	_       [32 - 20]uint64
	hidden  [listed]atomic.Uint64
	refused [listed]atomic.Uint64
	calls   [68]atomic.Uint64
	_       [160 - 64 - 68]uint64
	lies    [listed]atomic.Uint64
}

// Device is one faulty library. Its methods may be called at any time, from
// any goroutine, while the library is in use.
type Device struct {
	// Path is that of the library.
	Path string

	memory []byte
	*control
}

// New builds a library in dir that forwards to the one at target.
func New(dir, target string) (*Device, error) {
	if len(target) >= controlSize-targetAt {
		return nil, errors.New("building the faulty library: the path of its target is too long")
	}
	code := filepath.Join(dir, "faulty.c")
	if err := os.WriteFile(code, source, 0o600); err != nil {
		return nil, fmt.Errorf("building the faulty library: %w", err)
	}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "gcc"
	}
	path := filepath.Join(dir, "faulty.so")
	build := exec.Command(compiler, "-std=gnu17", "-O2", "-shared", "-fPIC", "-o", path, code, "-ldl", "-lpthread")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the faulty library: %w: %s", err, output)
	}
	content := make([]byte, controlSize)
	copy(content[targetAt:], target)
	*(*uint64)(unsafe.Pointer(&content[0])) = magic
	if err := os.WriteFile(path+".control", content, 0o600); err != nil {
		return nil, fmt.Errorf("building the faulty library: %w", err)
	}
	return Attach(path)
}

// Attach returns the device of a library that [New] built, also in another process.
func Attach(path string) (*Device, error) {
	file, err := os.OpenFile(path+".control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the control file: %w", err)
	}
	defer file.Close()
	memory, err := unix.Mmap(int(file.Fd()), 0, controlSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the control file: %w", err)
	}
	d := &Device{Path: path, memory: memory, control: (*control)(unsafe.Pointer(&memory[0]))}
	if d.magic.Load() != magic {
		return nil, errors.Join(fmt.Errorf("%s.control is not a control file", path), d.Close())
	}
	return d, nil
}

// Close lets go of the control file; the library goes on as it was told last.
func (d *Device) Close() error {
	if err := unix.Munmap(d.memory); err != nil {
		return fmt.Errorf("unmapping the control file: %w", err)
	}
	return nil
}

// Unplug takes the device away, and with it all its sessions and what they own.
func (d *Device) Unplug() {
	d.unplugged.Store(1)
	d.losses.Add(1)
}

// Plug brings it back, without sessions.
func (d *Device) Plug() { d.unplugged.Store(0) }

// LoseSessions closes every session once.
func (d *Device) LoseSessions() { d.losses.Add(1) }

// Delay makes every call with a session, or for one, last so much longer.
func (d *Device) Delay(latency time.Duration) { d.latency.Store(uint64(latency)) }

// Hang keeps calls of a function inside, and with [Every] those of all, until
// [Device.Release]; also those that are made while it lasts.
func (d *Device) Hang(f Function) { d.hang.Store(uint64(f) + 1) }

// Release lets hung calls go on.
func (d *Device) Release() { d.hang.Store(0) }

// RefusePIN makes the device refuse, or take again, whatever PIN the user gives.
func (d *Device) RefusePIN(refuse bool) { d.refusePIN.Store(word(refuse)) }

// StickGenerator makes the device's generator repeat eight bytes for ever.
func (d *Device) StickGenerator(pattern uint64) {
	d.pattern.Store(pattern)
	d.stuck.Store(1)
}

// UnstickGenerator makes it draw again.
func (d *Device) UnstickGenerator() { d.stuck.Store(0) }

// Limit is how many objects, made through this library, the device takes; 0 is
// as many as it likes.
func (d *Device) Limit(objects int) { d.capacity.Store(uint64(objects)) }

// Wedge makes a device that was unplugged answer CKR_DEVICE_ERROR until its
// library is finalised and initialised again, as clients of network HSMs do.
func (d *Device) Wedge(wedge bool) { d.wedges.Store(word(wedge)) }

// RefuseECB makes the device refuse CKM_AES_ECB although it lists it.
func (d *Device) RefuseECB(refuse bool) { d.refuseECB.Store(word(refuse)) }

// MostInput is the largest input of C_Encrypt, in bytes; 0 is without a limit.
func (d *Device) MostInput(bytes int) { d.mostInput.Store(uint64(bytes)) }

// Overstate has the device say that it wrote so many bytes more than it did, when
// it encrypts, decrypts or reads one attribute; less than 0 is less.
func (d *Device) Overstate(bytes int) { d.overstate.Store(uint64(bytes)) }

// Fail makes the next calls of a function fail with a code.
func (d *Device) Fail(f Function, code uint, times int) {
	d.fail.Store(uint64(f) + 1)
	d.failCode.Store(uint64(code))
	d.failTimes.Store(uint64(times))
}

// Lie is one wrong answer of a device.
type Lie struct {
	Function Function
	// Size is that of the answers, in bytes: no others of the function are wrong.
	Size int
}

// Tell makes the device change a bit of each such answer of [Encrypt], [Decrypt]
// and [Sign], and of the values that [GetAttributeValue] reads; for [Verify] every
// signature of that size is good. At most 16; without any it tells the truth again.
func (d *Device) Tell(lies ...Lie) {
	values := make([]uint, len(lies))
	for i, lie := range lies {
		values[i] = uint(lie.Function)<<32 | uint(lie.Size)
	}
	fill(&d.lies, values)
}

// TokenFlags are raised beside those that the token has.
func (d *Device) TokenFlags(flags uint) { d.tokenFlags.Store(uint64(flags)) }

// Hide makes the device lack mechanisms, at most 16; without any it has all again.
func (d *Device) Hide(mechanisms ...uint) { fill(&d.hidden, mechanisms) }

// RefuseAttributes makes the device refuse outright every template that has
// one of these attributes, at most 16.
func (d *Device) RefuseAttributes(attributes ...uint) { fill(&d.refused, attributes) }

func fill(list *[listed]atomic.Uint64, values []uint) {
	if len(values) > listed {
		panic("more than 16 in a list of the faulty library")
	}
	for i := range list {
		var v uint64
		if i < len(values) {
			v = uint64(values[i]) + 1
		}
		list[i].Store(v)
	}
}

// Heal ends everything that the device was told.
func (d *Device) Heal() {
	for _, w := range []*atomic.Uint64{&d.unplugged, &d.latency, &d.hang, &d.refusePIN, &d.stuck, &d.capacity, &d.wedges,
		&d.refuseECB, &d.failTimes, &d.tokenFlags, &d.mostInput, &d.overstate} {
		w.Store(0)
	}
	d.Hide()
	d.RefuseAttributes()
	d.Tell()
}

// Calls returns how often a function was called since the library was built;
// with [Every], all of them together.
func (d *Device) Calls(f Function) (n uint64) {
	if f != Every {
		return d.calls[f].Load()
	}
	for i := range d.calls {
		n += d.calls[i].Load()
	}
	return n
}

// Inside returns how many calls are in the library now.
func (d *Device) Inside() uint64 { return d.inside.Load() }

// Objects returns how many objects made through the library are there, token
// objects of earlier sessions with it left out.
func (d *Device) Objects() uint64 { return d.objects.Load() }

// Sessions returns how many sessions are open through the library.
func (d *Device) Sessions() uint64 { return d.sessions.Load() }

func word(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
