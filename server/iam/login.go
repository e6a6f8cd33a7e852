package iam

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/crypto/argon2"

	"github.com/raftkms/raftkms/fsm/state"
)

const (
	// maxFailures wrong passwords within failureWindow lock the password for lockTime.
	maxFailures   = 5
	failureWindow = 5 * time.Minute
	lockTime      = 5 * time.Minute
	// maxWatched is how many names are counted at once; the one that was tried
	// longest ago is forgotten first.
	maxWatched = 16_384
	// maxPassword is the longest password, in bytes.
	maxPassword = 1024
	// minPassword is the shortest password that is taken as a new one.
	minPassword = 8
)

// ErrBusy says that as many passwords are being checked as this node has
// memory for; nothing has been checked.
var ErrBusy = errors.New("this node checks as many passwords as it can; try again")

// ErrPasswordRule says what a new password must be like.
var ErrPasswordRule = fmt.Errorf("a password has %d to %d bytes", minPassword, maxPassword)

// Passwords checks passwords. Whether the user exists, is locked or has no
// password at all cannot be told from the answer nor from the time it takes.
// It is safe for concurrent use.
type Passwords struct {
	clock func() time.Time
	slots chan struct{} // one a hash under way: each takes 19 MiB
	dummy string
	done  atomic.Int64 // hashes made to check a password

	mu      sync.Mutex
	watched *lru.Cache[string, *failures] // by user id, or by account and name where there is no such user
}

// failures are the wrong passwords and codes of one name.
type failures struct {
	count  int
	first  time.Time
	locked time.Time // until when
	// since is the user's Unlocked in the state that the newest was counted
	// from: what was counted before an unlocking counts on no node any more.
	since uint64
}

// NewPasswords returns a checker that hashes so many passwords at a time.
func NewPasswords(concurrency int, clock func() time.Time) *Passwords {
	watched, err := lru.New[string, *failures](maxWatched)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &Passwords{
		clock: clock, slots: make(chan struct{}, max(concurrency, 1)), watched: watched,
		dummy: HashPassword("a password that nobody has"),
	}
}

// Check tells whether a password is the user's. user is nil where there is
// none of that name; second is whether what else had to be shown is right. lock
// is true when this attempt has used up the last one: the caller then has the
// cluster lock the user.
func (p *Passwords) Check(ctx context.Context, user *state.User, name, password string, second bool, now int64) (ok, lock bool, err error) {
	if len(password) > maxPassword {
		password = password[:maxPassword]
	}
	if user != nil {
		name = user.ID
	}
	hash, usable := p.dummy, false
	if user != nil && user.Enabled && user.PasswordHash != "" {
		hash, usable = user.PasswordHash, true
	}
	matches, err := p.matches(ctx, hash, password)
	if err != nil {
		return false, false, err
	}
	ok, lock = p.tried(user, name, matches && usable && second, now)
	return ok, lock, nil
}

// CheckCode is [Passwords.Check] for a code alone, of a user who has proved
// themselves otherwise: guesses at codes and at passwords are counted as one.
func (p *Passwords) CheckCode(user *state.User, right bool, now int64) (ok, lock bool) {
	return p.tried(user, user.ID, right, now)
}

// tried counts an attempt, and tells whether it may succeed.
func (p *Passwords) tried(user *state.User, name string, right bool, now int64) (ok, lock bool) {
	since := uint64(0)
	if user != nil {
		since = user.Unlocked
		if user.LockedUntil > now {
			return false, false
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f, known := p.watched.Get(name)
	if known && f.since < since {
		p.watched.Remove(name)
		known = false
	}
	at := p.clock()
	switch {
	case known && at.Before(f.locked):
		return false, false
	case right:
		p.watched.Remove(name)
		return true, false
	case !known || at.Sub(f.first) > failureWindow:
		f = &failures{first: at, since: since}
		p.watched.Add(name, f)
	}
	f.count++
	if f.count < maxFailures {
		return false, false
	}
	f.count, f.locked = 0, at.Add(lockTime)
	return false, user != nil
}

// matches hashes the password as the hash says, when it is this one's turn.
func (p *Passwords) matches(ctx context.Context, hash, password string) (bool, error) {
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
	case <-wait.Done():
		return false, ErrBusy
	}
	defer func() { <-p.slots }()
	p.done.Add(1)
	return verifyPassword(hash, password)
}

// Checked returns how many hashes were made to check passwords: one an
// attempt, whoever was named.
func (p *Passwords) Checked() int64 { return p.done.Load() }

// LockedUntil is until when a user whom [Passwords.Check] wants locked is.
func (p *Passwords) LockedUntil(now int64) int64 { return now + lockTime.Milliseconds() }

// CheckNew tells whether a password may be taken as a new one.
func CheckNew(password string) error {
	if len(password) < minPassword || len(password) > maxPassword {
		return ErrPasswordRule
	}
	return nil
}

// Hash is [HashPassword] when it is this one's turn.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	wait, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
	case <-wait.Done():
		return "", ErrBusy
	}
	defer func() { <-p.slots }()
	return HashPassword(password), nil
}

// verifyPassword tells whether a hash in the PHC string form is the
// password's. Costs beyond those that HashPassword has ever used are refused:
// a hash must not be able to take the node's memory.
func verifyPassword(hash, password string) (bool, error) {
	var version int
	var memory, passes uint32
	var threads uint8
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false, errPHC
	}
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &memory, &passes, &threads); err != nil || version != argon2.Version {
		return false, errPHC
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	want, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || err2 != nil || memory < 8 || memory > 64<<10 || passes < 1 || passes > 10 || threads < 1 || threads > 4 ||
		len(salt) < 8 || len(salt) > 64 || len(want) < 16 || len(want) > 64 {
		return false, errPHC
	}
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

var errPHC = errors.New("the stored hash is no argon2id hash of a bearable cost")
