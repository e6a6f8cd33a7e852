package pkcs11

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	p11 "github.com/miekg/pkcs11"
)

// libraries is the one variable of this package. PKCS#11 is global to a process
// by its nature: one C_Initialize and one C_Finalize serve everybody in it, and
// a login counts for all its sessions with a token. So the modules of a process
// must share what is here; a variable of theirs could not be right.
var libraries = registry{loaded: make(map[string]*library), turn: make(chan struct{}, 1)}

type registry struct {
	mu     sync.Mutex          // never held inside a library: one that hangs keeps nobody from another
	loaded map[string]*library // by path without symbolic links
	turn   chan struct{}       // full while a library is being initialised
}

// turnPatience is how long a library waits until another one is initialised, which
// takes milliseconds where it does not hang.
const turnPatience = 200 * time.Millisecond

// initialize calls C_Initialize, of one library after the other: it may use what a
// process has one of, as SoftHSM does strtok, and then find no tokens. One that
// hangs keeps the others for a moment only.
func (r *registry) initialize(api cryptoki) error {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-time.After(turnPatience):
	}
	return api.Initialize() // with CKF_OS_LOCKING_OK
}

// library is one PKCS#11 library. It stays loaded for good: those of vendors have
// threads and exit handlers of their own, and many crash when they are unloaded.
type library struct {
	path string // without symbolic links

	listing sync.Mutex // held while the library lists its slots

	mu     sync.Mutex       // guards the rest, also while the library is initialised or finalised
	api    cryptoki         // nil until it was loaded
	users  int              // it is initialised while there are any
	config string           // SOFTHSM2_CONF when it was initialised
	ours   bool             // false when something else in the process had initialised it
	tokens map[uint]string  // slots that a module holds, and their labels
	parked map[*device]bool // users without a session or a call inside
}

// acquire loads and initialises the library, or joins those who have it already.
// The library is nil if and only if there is an error.
func (r *registry) acquire(path string) (*library, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("loading the PKCS#11 library (is the path right?): %w", err)
	}
	l := r.at(real)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.api == nil {
		api, err := load(real)
		if err != nil {
			return nil, fmt.Errorf("loading the PKCS#11 library %s (is it one, and for this machine?): %w", real, err)
		}
		l.api = api // never a nil pointer, which would not be nil
	}
	if l.users == 0 {
		err := r.initialize(l.api)
		l.ours = !hasCode(err, p11.CKR_CRYPTOKI_ALREADY_INITIALIZED)
		if err != nil && l.ours {
			return nil, fmt.Errorf("initialising the PKCS#11 library %s: %w", real, describe(err))
		}
		l.config = os.Getenv(softHSMConfig)
	}
	l.users++
	return l, nil
}

// at returns the entry of a library, which may not be loaded yet.
func (r *registry) at(real string) *library {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.loaded[real]
	if l == nil {
		l = &library{path: real, tokens: make(map[uint]string), parked: make(map[*device]bool)}
		r.loaded[real] = l
	}
	return l
}

// slots lists the slots with a token, for one caller at a time: SoftHSM makes
// slots for tokens that it finds then, whatever was said of locking, and when two
// callers make the same one it ends the process.
func (l *library) slots() ([]uint, error) {
	l.listing.Lock()
	defer l.listing.Unlock()
	return l.api.GetSlotList(true)
}

// release finalises the library behind its last user, who has no call inside it.
func (r *registry) release(l *library) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users--; l.users > 0 || !l.ours {
		return nil
	}
	if err := l.api.Finalize(); err != nil && !hasCode(err, p11.CKR_CRYPTOKI_NOT_INITIALIZED) {
		return fmt.Errorf("finalising the PKCS#11 library: %w", describe(err))
	}
	return nil
}

// reload finalises the library and initialises it again, if everybody who uses
// it is without a session: with two tokens of one library, one that works is
// not disturbed. The caller is alone in its device, which has no session.
func (r *registry) reload(d *device) (bool, error) {
	l := d.lib
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parked[d] = true
	if !l.ours || len(l.parked) < l.users {
		return false, nil
	}
	if err := d.api.Finalize(); err != nil && !hasCode(err, p11.CKR_CRYPTOKI_NOT_INITIALIZED) {
		return false, fmt.Errorf("finalising the PKCS#11 library: %w", describe(err))
	}
	if err := r.initialize(d.api); err != nil {
		return false, fmt.Errorf("initialising the PKCS#11 library again: %w", describe(err))
	}
	return true, nil
}

// park lets others reload the library below a device that waits for its next
// attempt, or for a person: its supervisor and theirs are seldom at an attempt in
// the same moment. The caller is alone in the device, which has no session.
func (r *registry) park(d *device) {
	d.lib.mu.Lock()
	defer d.lib.mu.Unlock()
	d.lib.parked[d] = true
}

// unpark is called before a device is used again, and before it leaves the library.
func (r *registry) unpark(d *device) {
	d.lib.mu.Lock()
	defer d.lib.mu.Unlock()
	delete(d.lib.parked, d)
}

// claim makes the token its caller's alone within this process: ExportRoots
// logs the whole process out of it for a moment.
func (r *registry) claim(l *library, slot uint, label string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, taken := l.tokens[slot]; taken {
		return fmt.Errorf("the token %q is open in this process already", label)
	}
	l.tokens[slot] = label
	return nil
}

func (r *registry) unclaim(l *library, slot uint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.tokens, slot)
}
