package pkcs11

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	p11 "github.com/miekg/pkcs11"
)

// libraries is the one variable of this package. PKCS#11 is global to a process
// by its nature: one C_Initialize and one C_Finalize serve everybody in it, and
// a login counts for all its sessions with a token. So the modules of a process
// must share what is here; a variable of theirs could not be right.
var libraries = registry{loaded: make(map[string]*library)}

type registry struct {
	mu     sync.Mutex
	loaded map[string]*library // by path without symbolic links
}

// library is one PKCS#11 library. It stays loaded for good: those of vendors have
// threads and exit handlers of their own, and many crash when they are unloaded.
type library struct {
	api    cryptoki
	users  int              // it is initialised while there are any
	config string           // SOFTHSM2_CONF when it was initialised
	ours   bool             // false when something else in the process had initialised it
	tokens map[uint]string  // slots that a module holds, and their labels
	parked map[*device]bool // users without a session, who wait for a reload
}

// acquire loads and initialises the library, or joins those who have it already.
// The library is nil if and only if there is an error.
func (r *registry) acquire(path string) (*library, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("loading the PKCS#11 library (is the path right?): %w", err)
	}
	l := r.loaded[real]
	if l == nil {
		api, err := load(real)
		if err != nil {
			return nil, fmt.Errorf("loading the PKCS#11 library %s (is it one, and for this machine?): %w", real, err)
		}
		l = &library{api: api, tokens: make(map[uint]string), parked: make(map[*device]bool)}
		r.loaded[real] = l
	}
	if l.users == 0 {
		err := l.api.Initialize() // with CKF_OS_LOCKING_OK
		l.ours = !hasCode(err, p11.CKR_CRYPTOKI_ALREADY_INITIALIZED)
		if err != nil && l.ours {
			return nil, fmt.Errorf("initialising the PKCS#11 library %s: %w", real, describe(err))
		}
		l.config = os.Getenv(softHSMConfig)
	}
	l.users++
	return l, nil
}

// release finalises the library behind its last user, who has no call inside it.
func (r *registry) release(l *library) error {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	r.mu.Lock()
	defer r.mu.Unlock()
	l := d.lib
	l.parked[d] = true
	if !l.ours || len(l.parked) < l.users {
		return false, nil
	}
	if err := d.api.Finalize(); err != nil && !hasCode(err, p11.CKR_CRYPTOKI_NOT_INITIALIZED) {
		return false, fmt.Errorf("finalising the PKCS#11 library: %w", describe(err))
	}
	if err := d.api.Initialize(); err != nil {
		return false, fmt.Errorf("initialising the PKCS#11 library again: %w", describe(err))
	}
	return true, nil
}

// unpark is called before a device is used again.
func (r *registry) unpark(d *device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(d.lib.parked, d)
}

// claim makes the token its caller's alone within this process: ExportRoots
// logs the whole process out of it for a moment.
func (r *registry) claim(l *library, slot uint, label string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := l.tokens[slot]; taken {
		return fmt.Errorf("the token %q is open in this process already", label)
	}
	l.tokens[slot] = label
	return nil
}

func (r *registry) unclaim(l *library, slot uint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(l.tokens, slot)
}
