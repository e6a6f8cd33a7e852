package keystone

import (
	"context"
	"crypto/subtle"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Second factors: one-time codes by the time, at the paths of the vendor's IAM.
// A user hands themselves one, has it count by showing a code, and takes it away
// by another; an administrator resets what was lost.
var (
	EnrolMFA  = Endpoint{kms.OpEnrolMFA, 201, enrolMFA}
	BindMFA   = Endpoint{kms.OpBindMFA, 204, bindMFA}
	UnbindMFA = Endpoint{kms.OpUnbindMFA, 204, unbindMFA}
	ShowMFA   = Endpoint{kms.OpShowMFA, 200, showMFA}
	ResetMFA  = Endpoint{kms.OpResetMFA, 204, admin(resetMFA)}
)

// factorOf returns a user's second factor, nil while none counts.
func (x *exchange) factorOf(user *state.User) *state.Authenticator {
	if a, ok := x.call.Root.Authenticator(user.ID); ok && a.ID != "" {
		return a
	}
	return nil
}

// second tells whether a user who logs in shows the second factor that they
// have: nobody else has one to show. A code that is right is to be spent before
// there is a token. Where a code is shown the module is asked once, whoever is
// named.
func (x *exchange) second(ctx context.Context, user *state.User, shown *wire.AuthCode) (bool, error) {
	var factor *state.Authenticator
	if user != nil {
		factor = x.factorOf(user)
	}
	switch {
	case shown == nil:
		return factor == nil, nil
	case factor == nil:
		sealed, err := x.SealFactor(ctx, x.call.Root, newID(), iam.NewTOTPSecret())
		clear(sealed)
		return false, err
	}
	step, right, err := x.step(ctx, factor, shown.Passcode)
	if err != nil || !right {
		return false, err
	}
	if shown.ID != "" || shown.Name != "" {
		named, _ := x.find(&wire.AuthUser{ID: shown.ID, Name: shown.Name, Domain: shown.Domain})
		right = named == user
	}
	x.code = &command.SpendCode{UserID: user.ID, ID: factor.ID, Step: step}
	return right, nil
}

// step finds the time step of a code of a second factor that counts.
func (x *exchange) step(ctx context.Context, factor *state.Authenticator, code wire.SecretString) (int64, bool, error) {
	secret, err := x.OpenFactor(ctx, factor.ID, factor.Sealed)
	if err != nil {
		return 0, false, err
	}
	defer clear(secret)
	step, ok := iam.TOTPStep(secret, string(code), x.now(), factor.Step)
	return step, ok, nil
}

// spend takes the code that was shown. Another login may have been faster.
func (x *exchange) spend(ctx context.Context) error {
	if x.code == nil {
		return nil
	}
	err := x.Service.SpendCode(ctx, x.call, *x.code)
	if kms.KindOf(err) == kms.KindStale {
		return errLogin
	}
	return err
}

// self finds out who asks, which must be the user whom the request's body names.
func (x *exchange) self(ctx context.Context, body any, userID *string) (*state.User, *state.Domain, error) {
	p, err := x.identify(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := x.decode(body); err != nil {
		return nil, nil, err
	}
	if *userID != p.UserID {
		return nil, nil, errSelf
	}
	user, _ := x.call.Root.User(p.UserID) // there: identify has found them
	domain, _ := x.call.Root.Domain(p.DomainID)
	x.call.AboutResource(user.ID, user.Name)
	return user, domain, nil
}

// enrolMFA answers POST /v3.0/OS-MFA/virtual-mfa-devices.
func enrolMFA(ctx context.Context, x *exchange) (any, error) {
	var req wire.MFADeviceRequest
	user, domain, err := x.self(ctx, &req, &req.Device.UserID)
	if err != nil {
		return nil, err
	}
	secret := iam.NewTOTPSecret()
	defer clear(secret)
	b := command.EnrolAuthenticator{UserID: user.ID, ID: newID()}
	if b.Sealed, err = x.SealFactor(ctx, x.call.Root, b.ID, secret); err != nil {
		return nil, err
	}
	if err := x.Service.ChangeFactor(ctx, x.call, b, user.ID, x.requestID); err != nil {
		return nil, err
	}
	x.call.Answered().Text("serial_number", b.ID)
	return wire.MFADeviceReply{Device: wire.MFADevice{
		UserID: user.ID, SerialNumber: b.ID, Seed: wire.SecretString(iam.TOTPText(secret)), URI: wire.SecretString(iam.TOTPURI(secret, domain.Name, user.Name)),
	}}, nil
}

// bindMFA answers PUT /v3.0/OS-MFA/mfa-devices/bind: a code shows that the
// secret has arrived.
func bindMFA(ctx context.Context, x *exchange) (any, error) {
	var req wire.MFABinding
	user, _, err := x.self(ctx, &req, &req.UserID)
	if err != nil {
		return nil, err
	}
	a, ok := x.call.Root.Authenticator(user.ID)
	if !ok || a.NextID == "" || a.NextID != req.SerialNumber {
		return nil, kms.Refuse(kms.KindNotFound, "there is no such second factor to confirm")
	}
	secret, err := x.OpenFactor(ctx, a.NextID, a.NextSealed)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	step, right := iam.TOTPStep(secret, string(req.First), x.now(), 0)
	if right && req.Second != "" {
		step++
		right = subtle.ConstantTimeCompare([]byte(iam.TOTPCodeOf(secret, step)), []byte(req.Second)) == 1
	}
	if !right {
		return nil, errCode
	}
	x.call.Asked().Text("serial_number", a.NextID)
	return nil, x.Service.ChangeFactor(ctx, x.call, command.ConfirmAuthenticator{UserID: user.ID, ID: a.NextID, Step: step}, user.ID, a.NextID)
}

// unbindMFA answers PUT /v3.0/OS-MFA/mfa-devices/unbind. Guesses at the code
// count towards the lock as wrong passwords do.
func unbindMFA(ctx context.Context, x *exchange) (any, error) {
	var req wire.MFABinding
	user, _, err := x.self(ctx, &req, &req.UserID)
	if err != nil {
		return nil, err
	}
	factor := x.factorOf(user)
	if factor == nil || req.SerialNumber != "" && req.SerialNumber != factor.ID {
		return nil, kms.Refuse(kms.KindNotFound, "the user has no such second factor")
	}
	step, right, err := x.step(ctx, factor, req.Code)
	if err != nil {
		return nil, err
	}
	now := x.now()
	ok, lock := x.Passwords.CheckCode(user, right, now)
	if lock {
		x.lock(user, now)
	}
	if !ok {
		return nil, errCode
	}
	err = x.Service.ChangeFactor(ctx, x.call, command.RemoveAuthenticator{UserID: user.ID, ID: factor.ID, Step: step}, user.ID, factor.ID)
	if kms.KindOf(err) == kms.KindStale {
		return nil, errCode
	}
	return nil, err
}

// showMFA answers GET /v3.0/OS-MFA/users/{user_id}/virtual-mfa-device, about
// oneself or, by permission, about a user of the account.
func showMFA(ctx context.Context, x *exchange) (any, error) {
	p, err := x.identify(ctx)
	if err != nil {
		return nil, err
	}
	x.account = p.DomainID
	id := x.path("user_id")
	if id != p.UserID {
		if _, err := x.Service.ReadAccount(x.call); err != nil {
			return nil, err
		}
	}
	user, err := x.findUser(id)
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(user.ID, user.Name)
	factor := x.factorOf(user)
	if factor == nil {
		return nil, kms.Refuse(kms.KindNotFound, "the user has no second factor")
	}
	return wire.MFADeviceReply{Device: wire.MFADevice{UserID: user.ID, SerialNumber: factor.ID, ConfirmTime: isoTime(factor.Confirmed)}}, nil
}

// resetMFA answers DELETE /v3.0/OS-MFA/virtual-mfa-devices: an administrator
// takes away what a user has lost. Every token of theirs ends.
func resetMFA(ctx context.Context, x *exchange) (any, error) {
	user, err := x.findUser(x.query("user_id"))
	if err != nil {
		return nil, err
	}
	return nil, x.change(ctx, command.RemoveAuthenticator{UserID: user.ID}, user.ID, user.Name)
}
