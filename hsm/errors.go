package hsm

import (
	"errors"
	"fmt"
)

// The causes that a caller acts on. Modules wrap them; none ever carries a
// secret, a PIN or key bytes.
var (
	// ErrNoRoots: the module holds no root set (of this cluster) yet.
	ErrNoRoots = errors.New("the module holds no root keys of this cluster")
	// ErrForeignRoots: the token carries another cluster's root set.
	ErrForeignRoots = errors.New("the module holds the root keys of another cluster")
	// ErrRootsExist: that generation of the root set is already here.
	ErrRootsExist = errors.New("the module already holds these root keys")
	// ErrCanary: the roots do not open the cluster's canary, so they are not its roots.
	ErrCanary = errors.New("the root keys do not open the cluster's canary")
	// ErrUnwrap: a wrapped blob failed its integrity check.
	ErrUnwrap = errors.New("wrapped key material does not open")
	// ErrDecrypt: a ciphertext does not open under the private key it was given to.
	ErrDecrypt = errors.New("the ciphertext does not open")
	// ErrPublicKey: bytes are not a public key of the kind that was asked for,
	// for instance a point that is not on the curve.
	ErrPublicKey = errors.New("not a public key of the right kind")
	// ErrMAC: a record MAC does not hold; the record was altered or borrowed.
	ErrMAC = errors.New("record MAC does not match")
	// ErrPIN: the user PIN was refused. It is not tried again, and not read anew
	// until the process is started again: tokens lock.
	ErrPIN = errors.New("the module refused the PIN")
	// ErrOfficerPIN: the security officer's PIN was refused.
	ErrOfficerPIN = errors.New("the module refused the security officer's PIN")
	// ErrNotPermitted: the security officer has to permit this first.
	ErrNotPermitted = errors.New("the module wants the security officer's permission first")
	// ErrUnavailable: the device does not answer; another node may.
	ErrUnavailable = errors.New("the module is unavailable")
	// ErrFull: the device holds as many objects as it can. Closing a loaded key
	// makes room.
	ErrFull = errors.New("the module has no room for another key")
	// ErrMemory is an ErrFull of this process's memory for keys: closing one of
	// those that lie there makes room.
	ErrMemory = fmt.Errorf("%w in the memory of this process", ErrFull)
	// ErrUnsupported: the device lacks what was asked.
	ErrUnsupported = errors.New("the module does not support this")
)
