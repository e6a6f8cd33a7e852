package pkcs11

import (
	"context"
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// reconnect makes a new login with new sessions, unless somebody has done so
// since that epoch.
func (d *device) reconnect(ctx context.Context, epoch uint64) error {
	return d.alone(ctx, func() error {
		if err := d.outage(); err != nil {
			return &outageError{err}
		}
		if d.epoch != epoch {
			return nil
		}
		return d.connect()
	})
}

// connect drops every session and makes a login of a new epoch. A device with
// which that fails is the supervisor's from then on. The caller holds the whole gate.
func (d *device) connect() error {
	err := d.tryConnect()
	if err != nil {
		d.fail(err)
	}
	return err
}

func (d *device) tryConnect() error {
	if d.refusal != nil {
		return d.refusal
	}
	libraries.unpark(d) // it may not be the supervisor that connects
	d.disconnect()
	if err := d.openLogin(); err != nil {
		d.disconnect()
		return describe(err)
	}
	d.epoch++
	d.connected = true
	return nil
}

// openLogin opens the idle session and logs the user in.
func (d *device) openLogin() error {
	h, err := d.openSession()
	if err != nil {
		return err
	}
	d.idle = h
	return d.loginUser()
}

// disconnect closes every session, and with the last of them ends the login.
func (d *device) disconnect() {
	for _, s := range d.all {
		d.discard(s)
	}
	if d.idle != 0 {
		_ = d.api.CloseSession(d.idle)
	}
	d.idle, d.connected = 0, false
	d.stale.Store(false)
}

// loginUser logs in with the user PIN on the idle session. A refused PIN is
// remembered and never tried again.
func (d *device) loginUser() error {
	if d.refusal != nil {
		return d.refusal
	}
	pin, err := d.pin()
	if err != nil {
		return fmt.Errorf("reading the PIN: %w", err)
	}
	defer clear(pin)
	if err = d.login(p11.CKU_USER, pin); errors.Is(err, hsm.ErrPIN) {
		d.refusal = err
	}
	return err
}

// role is who logs in, and what the token says about that role's PIN.
type role struct {
	name                        string
	refused                     error
	locked, lastTry, triesTaken uint // flags of the token
}

func roleOf(user uint) role {
	if user == p11.CKU_SO {
		return role{"security officer", hsm.ErrOfficerPIN, p11.CKF_SO_PIN_LOCKED, p11.CKF_SO_PIN_FINAL_TRY, p11.CKF_SO_PIN_COUNT_LOW}
	}
	return role{"user", hsm.ErrPIN, p11.CKF_USER_PIN_LOCKED, p11.CKF_USER_PIN_FINAL_TRY, p11.CKF_USER_PIN_COUNT_LOW}
}

// login asks the token first how many tries are left: a server that is started
// again and again must not use up the last one.
func (d *device) login(user uint, pin []byte) error {
	r := roleOf(user)
	info, err := d.api.GetTokenInfo(d.slot)
	if err != nil {
		return fmt.Errorf("asking for the state of the PIN: %w", err)
	}
	switch {
	case len(pin) == 0:
		return fmt.Errorf("%w: the PIN of the %s is empty", r.refused, r.name)
	case info.Flags&r.locked != 0:
		return fmt.Errorf("%w: the PIN of the %s is locked; unlock it with the vendor's tool", r.refused, r.name)
	case info.Flags&r.lastTry != 0:
		return fmt.Errorf("%w: the PIN of the %s has one try left, which is not used up here; log in once with the vendor's tool", r.refused, r.name)
	}
	d.counts.logins.Add(1)
	switch err := d.api.LoginWith(d.idle, user, pin); {
	case err == nil, hasCode(err, p11.CKR_USER_ALREADY_LOGGED_IN):
		return nil
	case hasCode(err, p11.CKR_PIN_INCORRECT, p11.CKR_PIN_INVALID, p11.CKR_PIN_LEN_RANGE, p11.CKR_PIN_EXPIRED,
		p11.CKR_PIN_LOCKED, p11.CKR_USER_PIN_NOT_INITIALIZED):
		return fmt.Errorf("%w: %v (%s)", r.refused, err, d.triesLeft(r))
	default:
		return fmt.Errorf("logging in: %w", err)
	}
}

// triesLeft puts in words what little a token says about the tries left.
func (d *device) triesLeft(r role) string {
	info, err := d.api.GetTokenInfo(d.slot)
	switch {
	case err != nil:
		return "the token does not say how many tries are left"
	case info.Flags&r.locked != 0:
		return "the PIN is now locked"
	case info.Flags&r.lastTry != 0:
		return "one try is left before the PIN is locked"
	case info.Flags&r.triesTaken != 0:
		return "few tries are left before the PIN is locked"
	default:
		return "the token does not count tries"
	}
}

// asOfficer runs f on the idle session with the security officer logged in. A
// login is one for the whole process, so the caller holds the whole gate, the
// user is logged out meanwhile and back in afterwards, whatever happens: session
// objects of the user are gone then, and the epoch is a new one.
func (d *device) asOfficer(pin []byte, f func(s p11.SessionHandle) error) (err error) {
	for _, s := range d.all {
		d.discard(s)
	}
	d.connected = false
	if err := d.api.Logout(d.idle); err != nil {
		return errors.Join(fmt.Errorf("logging the user out: %w", err), d.connect())
	}
	defer func() { // also when f panics
		_ = d.api.Logout(d.idle) // refused when nobody is logged in
		if lerr := d.loginUser(); lerr != nil {
			d.log.Error("the user could not be logged in again", "token", d.label, "error", lerr)
			err = errors.Join(err, d.connect())
			return
		}
		d.epoch++
		d.connected = true
	}()
	if err := d.login(p11.CKU_SO, pin); err != nil {
		return err
	}
	return f(d.idle)
}
