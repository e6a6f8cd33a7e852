package kms

import (
	"errors"
	"fmt"
)

// Kind says what went wrong in a way that a dialect can map to its own codes.
type Kind uint8

// The kinds of error. Whatever is not one of them is KindInternal to a client,
// with its detail kept for the log.
const (
	KindInternal           Kind = iota
	KindInvalid                 // a parameter breaks a rule; Error.Parameter names it
	KindUnauthenticated         // who is asking could not be established
	KindForbidden               // the caller lacks the permission
	KindWrongProject            // the path's project is not the credential's
	KindNotFound                // no such key (or one that the caller may not know of)
	KindNameTaken               // another key of the project has that name
	KindQuota                   // the project has as many keys as it may have
	KindNotEnabled              // the operation needs an Enabled key
	KindNotDisabled             // the operation needs a Disabled key
	KindKeyDisabled             // crypto with a Disabled key
	KindKeyPendingDeletion      // anything with a key that waits for its deletion
	KindKeyPendingImport        // crypto with a key without material
	KindUsage                   // the key is for signing, or for another thing than the operation
	KindCiphertext              // malformed, altered, of another key or another context: one error for all
	KindUnsupported             // a value that is defined but not offered here
	KindConflict                // the same client token was used for another request
	KindUnavailable             // try again or try another node: no leader, no module, not ready
	KindOutcomeUnknown          // the write may or may not have happened
	KindTraceFailed             // the trace could not be written, so nothing is answered

	KindDefaultKey         // not done to the default master key of a service
	KindAlreadyPending     // the key's deletion is scheduled already
	KindNotPendingDeletion // there is no deletion to cancel
	KindProtected          // the key is protected from deletion
	KindAliasNotFound      // the project, or the key, has no such alias
	KindAliasLimit         // the key has as many aliases as it may have
	KindRotationOn         // the key's rotation is enabled already
	KindRotationOff        // the key's rotation is not enabled
	KindRotationExternal   // imported material is not rotated
	KindRotationRSA        // nor are RSA keys by a schedule
	KindRotationAsymmetric // nor other keys that are not symmetric
	KindEncryptingKey      // the key encrypts and decrypts, and the operation is another
	KindSymmetricKey       // the operation needs a pair
	KindMACKey             // the key makes MACs, and the operation is another
	KindCurveKey           // keys on curves cannot encrypt
	KindPairKey            // the operation is not done with a pair
	KindSigningScheme      // the signing algorithm is not one of the key's spec
	KindDigest             // the digest is not as long as the hash
	KindSymmetricAlgorithm // the encryption algorithm is not one of symmetric keys
	KindPairAlgorithm      // the encryption algorithm is not one of the pair's spec
	KindTooLong            // the plaintext is longer than the pair can encrypt

	KindGrantOnlyGrants // a grant of nothing but to create grants
	KindGrantPrincipal  // there is no such grantee or retiring principal
	KindGrantLimit      // the key has as many grants as it may have
	KindGrantTotal      // all keys of the project together have
	KindGrantNotFound   // the key has no such grant

	KindTagLimit          // the key has as many tags as it may have
	KindTagNotFound       // the key has no such tag
	KindNotExternal       // the key's material is not imported
	KindNotPendingImport  // the key has its material
	KindImportUnwrap      // what was wrapped does not open: one error for all that can be wrong
	KindImportToken       // the token is none, was altered, or has failed too often
	KindImportExpired     // the token has
	KindImportOtherKey    // the token belongs to another key
	KindImportExpiry      // the material would have expired already
	KindMaterialSize      // the material is not as long as the spec's
	KindMaterialDiffers   // the key has had other material before
	KindPrivateKeyMissing // of a pair
	KindPrivateKeyInvalid // it does not open, or is of another spec
	KindTemporaryKey      // it has not the size of an AES key
	KindMaterialState     // there is no material that could be deleted now
	KindPairMaterial      // the material of pairs is not deleted and does not expire

	KindStale // the record changed between looking and writing; tried again by itself
)

// Error is a refusal or a failure of an operation. Message is for the person
// who called: what was refused, why, and what to do. It never holds a secret.
type Error struct {
	Kind      Kind
	Parameter string // for KindInvalid: the field, in the core's words
	Message   string
	Err       error // cause, for the log only
}

// Error returns the message and the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %v", e.Message, e.Err)
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first *Error in err's chain, KindInternal without one.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Refuse makes an error of a kind with a formatted message.
func Refuse(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// IsRefusal says whether a kind means that the request was understood and
// refused, so that repeating it elsewhere changes nothing.
func IsRefusal(kind Kind) bool {
	switch kind {
	case KindInternal, KindUnavailable, KindOutcomeUnknown, KindTraceFailed:
		return false
	default:
		return true
	}
}
