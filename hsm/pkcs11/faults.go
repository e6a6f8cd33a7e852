package pkcs11

import (
	"errors"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

var (
	errModuleClosed = errors.New("the module is closed")
	// errSessionsLost is for those who waited while sessions were made anew.
	errSessionsLost = fmt.Errorf("%w: its sessions were lost; try again", hsm.ErrUnavailable)
	errKeyClosed    = errors.New("the key is closed")
	// errNotConnected makes a call connect to the device before it tries again.
	errNotConnected = errors.New("the module has no login")
)

// fault says what an error means for the session and the login it came from.
type fault int

const (
	// faultNone: no fault of the device. The session stays; the answer stands.
	faultNone fault = iota
	// faultSession: this session is of no use; another may be.
	faultSession
	// faultLost: sessions, login or objects are gone. All are made anew.
	faultLost
	// faultDevice: the device does not work, as far as this call can tell.
	faultDevice
)

// ckrActionProhibited is what an object that must not be copied, changed or
// destroyed answers. miekg/pkcs11 v1.1.2 has no name for it.
const ckrActionProhibited = 0x1B

// faultOf sorts an error by the code of PKCS#11 in it. Codes that are not
// known, those of vendors among them, count as a fault of the device.
func faultOf(err error) fault {
	if errors.Is(err, errNotConnected) {
		return faultLost
	}
	code, is := errors.AsType[p11.Error](err)
	if !is {
		return faultNone
	}
	switch code {
	case p11.CKR_OPERATION_ACTIVE, p11.CKR_OPERATION_NOT_INITIALIZED:
		return faultSession
	case p11.CKR_SESSION_HANDLE_INVALID, p11.CKR_SESSION_CLOSED, p11.CKR_USER_NOT_LOGGED_IN,
		p11.CKR_KEY_HANDLE_INVALID, p11.CKR_OBJECT_HANDLE_INVALID,
		p11.CKR_UNWRAPPING_KEY_HANDLE_INVALID, p11.CKR_WRAPPING_KEY_HANDLE_INVALID,
		p11.CKR_DEVICE_REMOVED, p11.CKR_TOKEN_NOT_PRESENT, p11.CKR_CRYPTOKI_NOT_INITIALIZED:
		return faultLost
	case p11.CKR_DEVICE_MEMORY, // full, and not broken
		p11.CKR_ARGUMENTS_BAD, ckrActionProhibited,
		p11.CKR_ATTRIBUTE_READ_ONLY, p11.CKR_ATTRIBUTE_SENSITIVE,
		p11.CKR_ATTRIBUTE_TYPE_INVALID, p11.CKR_ATTRIBUTE_VALUE_INVALID,
		p11.CKR_DATA_INVALID, p11.CKR_DATA_LEN_RANGE,
		p11.CKR_ENCRYPTED_DATA_INVALID, p11.CKR_ENCRYPTED_DATA_LEN_RANGE,
		p11.CKR_FUNCTION_NOT_SUPPORTED, p11.CKR_KEY_FUNCTION_NOT_PERMITTED,
		p11.CKR_KEY_NOT_WRAPPABLE, p11.CKR_KEY_SIZE_RANGE,
		p11.CKR_KEY_TYPE_INCONSISTENT, p11.CKR_KEY_UNEXTRACTABLE,
		p11.CKR_MECHANISM_INVALID, p11.CKR_MECHANISM_PARAM_INVALID,
		p11.CKR_SIGNATURE_INVALID, p11.CKR_SIGNATURE_LEN_RANGE,
		p11.CKR_TEMPLATE_INCOMPLETE, p11.CKR_TEMPLATE_INCONSISTENT,
		p11.CKR_UNWRAPPING_KEY_SIZE_RANGE, p11.CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
		p11.CKR_WRAPPED_KEY_INVALID, p11.CKR_WRAPPED_KEY_LEN_RANGE,
		p11.CKR_WRAPPING_KEY_SIZE_RANGE, p11.CKR_WRAPPING_KEY_TYPE_INCONSISTENT:
		return faultNone
	default:
		return faultDevice
	}
}

// describe adds the sentinel that a caller of the module acts on.
func describe(err error) error {
	if hasCode(err, p11.CKR_DEVICE_MEMORY) && !errors.Is(err, hsm.ErrFull) {
		return fmt.Errorf("%w: %w", hsm.ErrFull, err)
	}
	switch faultOf(err) {
	case faultSession, faultLost, faultDevice:
		if !errors.Is(err, hsm.ErrUnavailable) {
			return fmt.Errorf("%w: %w", hsm.ErrUnavailable, err)
		}
	}
	return err
}

// hasCode tells whether err carries one of the codes.
func hasCode(err error, codes ...uint) bool {
	code, is := errors.AsType[p11.Error](err)
	if !is {
		return false
	}
	for _, c := range codes {
		if uint(code) == c {
			return true
		}
	}
	return false
}

// unwrapRefused tells whether the code says that the blob is bad. SoftHSM (and
// not it alone) says CKR_GENERAL_ERROR, which may as well mean that the device
// is; doubt tells that the device must be asked something else before deciding.
func unwrapRefused(err error) (refused, doubt bool) {
	switch {
	case hasCode(err, p11.CKR_WRAPPED_KEY_INVALID, p11.CKR_WRAPPED_KEY_LEN_RANGE,
		p11.CKR_ENCRYPTED_DATA_INVALID, p11.CKR_ENCRYPTED_DATA_LEN_RANGE, p11.CKR_DATA_INVALID, p11.CKR_DATA_LEN_RANGE):
		return true, false
	case hasCode(err, p11.CKR_GENERAL_ERROR, p11.CKR_FUNCTION_FAILED):
		return true, true
	default:
		return false, false
	}
}
