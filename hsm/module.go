package hsm

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// Module is all that raftkms asks of an HSM. Every method is safe for
// concurrent use, honours the deadline of its context while it waits for a
// session, and returns an error wrapping one of the sentinels of errors.go
// when the cause is one of those.
//
// A module holds four keys that belong together, the root set (see [Root]).
// Until CreateRoots, ImportRoots or OpenRoots has succeeded every method that
// needs a root returns [ErrNoRoots].
type Module interface {
	// Describe returns what the device is and what it will be used for. It does no I/O.
	Describe() Description

	// OpenRoots finds the root set of the cluster and makes it the current one.
	// It returns [ErrNoRoots] when the module holds none and [ErrForeignRoots]
	// when all it holds is the root set of another cluster.
	OpenRoots(ctx context.Context, cluster ClusterID) (RootGeneration, error)
	// CreateRoots makes a new root set inside the module. It refuses with
	// [ErrRootsExist] when the cluster already has that generation here.
	CreateRoots(ctx context.Context, cluster ClusterID, generation RootGeneration) error
	// DestroyRoots removes the root set of that generation from the module:
	// what is wrapped under it alone is erased by this.
	DestroyRoots(ctx context.Context, cluster ClusterID, generation RootGeneration) error

	// TransportKey returns the public half (DER SubjectPublicKeyInfo, RSA with
	// 3072 bits) of the pair to which another node may wrap the root set, and
	// makes the pair inside the module when there is none yet. It survives a
	// restart; ImportRoots destroys it.
	TransportKey(ctx context.Context) (publicKey []byte, err error)
	// ExportRoots wraps the current root set to another module's transport
	// key. officerPIN is the PIN of the token's security officer, who alone
	// may mark a key as trusted to wrap roots; modules without that role
	// ignore it. Wrong PIN: [ErrOfficerPIN], and it is never tried twice.
	ExportRoots(ctx context.Context, publicKey, officerPIN []byte) (RootBundle, error)
	// ImportRoots unwraps the bundle inside the module, with the attributes of
	// DESIGN.md §5, and makes it the current root set. The caller has it prove
	// itself with [Canary.Verify] and calls DestroyRoots when it does not.
	ImportRoots(ctx context.Context, bundle RootBundle) error

	// BackUpRoots wraps a root set that the module holds under a recovery key,
	// with AES-KWP inside the module. The key has [RecoveryKeySize] bytes, in
	// locked memory of the caller; package custody says who makes it and who has
	// it. officerPIN is as in ExportRoots.
	BackUpRoots(ctx context.Context, generation RootGeneration, recoveryKey, officerPIN []byte) (RootBundle, error)
	// RestoreRoots unwraps what BackUpRoots wrapped, with the attributes of
	// DESIGN.md §5, and makes it one of the cluster's root sets. Errors as of
	// ImportRoots: [ErrRootsExist], [ErrUnwrap], [ErrUnsupported]. The caller has the
	// roots prove themselves with [Canary.Verify].
	RestoreRoots(ctx context.Context, bundle RootBundle, recoveryKey []byte) error

	// Under returns the module with another generation of its root sets in use
	// for Generate, Import, Seal, MAC and ExportRoots, which otherwise use the
	// highest that it holds. It does no I/O: that there is no such generation, its
	// methods say ([ErrNoRoots]). Whoever follows the replicated state names the
	// generation that the state has in use, since a module holds the next one
	// before it is.
	Under(generation RootGeneration) Module
	// PermitRewrap has Rewrap accept material of LevelHSM, until EndRewrap or the
	// next loss of the device: for modules whose roots let it out only under a key
	// that the security officer has marked as trusted. officerPIN is as in ExportRoots.
	PermitRewrap(ctx context.Context, officerPIN []byte) error
	// EndRewrap takes back what PermitRewrap has permitted.
	EndRewrap(ctx context.Context) error
	// Rewrap puts wrapped material under the root of the same level of another
	// generation. It stays inside the module. Errors: [ErrUnwrap], [ErrNoRoots] when one of
	// the generations is not here, [ErrNotPermitted] without PermitRewrap where
	// that is needed.
	Rewrap(ctx context.Context, w Wrapped, to RootGeneration) (Wrapped, error)

	// Generate makes key material inside the module and returns it wrapped
	// under the root of its level (AES-KWP, RFC 5649), with the public half of
	// a pair. [ErrUnsupported] when the level cannot carry the spec.
	Generate(ctx context.Context, level Level, spec Spec) (Wrapped, error)
	// Import wraps material that came from elsewhere, the bytes of a secret key
	// or the PKCS#8 of a pair, under the root of its level, and wipes it whether
	// it succeeds or not. [ErrUnwrap] when it is not material of the spec.
	Import(ctx context.Context, level Level, spec Spec, material []byte) (Wrapped, error)
	// Load brings wrapped material into use, for w.Use and nothing else. The
	// caller has verified the record MAC before. [ErrUnwrap] when the blob is
	// not what the root wrapped. The spec and the use decide which of the
	// interfaces below the result is, and it is no other.
	Load(ctx context.Context, w Wrapped) (Loaded, error)
	// Seal is the key of root-seal, for [github.com/raftkms/raftkms/hsm/envelope.Seal];
	// it is owned by the module: its Close does nothing.
	Seal(ctx context.Context) (Key, error)

	// MAC returns the HMAC-SHA-256 of message under the record MAC key (32 bytes).
	MAC(ctx context.Context, message []byte) ([]byte, error)
	// VerifyMAC compares in constant time, inside the module where it can. A
	// MAC by the record MAC key of any generation held is good, so that
	// records stay valid while roots are rotated; else [ErrMAC].
	VerifyMAC(ctx context.Context, message, mac []byte) error

	// Random fills p from the module's own generator.
	Random(ctx context.Context, p []byte) error

	// Check does one cheap operation with a root to learn whether the module answers.
	Check(ctx context.Context) error
	// Close ends every session and wipes what the process held. It waits for
	// calls inside the device.
	Close() error
}

// Loaded is key material in use: an object of the module ([LevelHSM]) or locked
// memory of the process ([LevelSoftware]). It is safe for concurrent use.
type Loaded interface {
	// Close gives the object back to the device or wipes the memory.
	Close() error
}

// Key is a loaded AES-256 key, or, at LevelSoftware, an SM4 one.
type Key interface {
	Loaded
	// EncryptBlocks encrypts src, whole blocks of 16 bytes each, into dst of the
	// same length, each block by itself (CKM_AES_ECB). One call may carry the
	// blocks of many derivations (see package xaes); that is why it takes a
	// slice. dst and src overlap entirely or not at all, and neither is touched
	// after the call has returned.
	EncryptBlocks(ctx context.Context, dst, src []byte) error
}

// Signer is the private half of a pair loaded with [UseSign].
type Signer interface {
	Loaded
	// Sign signs a digest, or for [SchemeEd25519] the message. ECDSA and SM2
	// signatures are ASN.1 DER, those of RSA a block, of Ed25519 64 bytes.
	Sign(ctx context.Context, scheme Scheme, digest []byte) (signature []byte, err error)
}

// Decrypter is the private half of a pair loaded with [UseEncrypt].
type Decrypter interface {
	Loaded
	// Decrypt opens what was encrypted to the public key with that padding and
	// label (OAEP's L; none for SM2). Everything wrong with the ciphertext is
	// [ErrDecrypt], and is found in constant time. The result is the caller's to wipe.
	Decrypt(ctx context.Context, padding Padding, label, ciphertext []byte) (plaintext []byte, err error)
	// DecryptPKCS1 opens an RSAES-PKCS1-v1_5 block of exactly len(dst) bytes into
	// dst, or leaves dst as it is, and does not say which (implicit rejection).
	DecryptPKCS1(ctx context.Context, dst, ciphertext []byte) error
}

// Agreer is the private half of a pair loaded with [UseAgree].
type Agreer interface {
	Loaded
	// Agree is elliptic curve Diffie-Hellman with the public key of a peer (DER
	// SubjectPublicKeyInfo, of the same curve): the x coordinate of the common
	// point, the caller's to wipe. [ErrPublicKey] when the peer's is no such key.
	Agree(ctx context.Context, peer []byte) (secret []byte, err error)
}

// MACer is a loaded HMAC key.
type MACer interface {
	Loaded
	// MAC returns the HMAC of message with the hash of the spec.
	MAC(ctx context.Context, message []byte) (mac []byte, err error)
}

// ClusterID is the UUID of the cluster a root set belongs to.
type ClusterID [16]byte

// ParseClusterID reads a cluster's UUID.
func ParseClusterID(text string) (ClusterID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return ClusterID{}, fmt.Errorf("reading a cluster's id: %w", err)
	}
	return ClusterID(id), nil
}

// RootGeneration counts the root sets of one cluster; the first is 1.
type RootGeneration uint32

// Root names one of the four keys of a root set.
type Root uint8

// The keys of a root set, each with one duty.
const (
	RootHSM   Root = 1 // wraps material that only ever lives in a module
	RootSoft  Root = 2 // wraps material that may live in locked memory
	RootSeal  Root = 3 // encrypts blocks from which seals of identities' secrets are derived
	RecordMAC Root = 4 // signs and verifies what binds wrapped material to its record
)

// Level says where the material of a key may be in the clear.
type Level uint8

const (
	// LevelHSM: the material is only ever an object of the module, sensitive
	// and not extractable.
	LevelHSM Level = 1
	// LevelSoftware: the module unwraps the material into locked, zeroed memory.
	LevelSoftware Level = 2
)

// String returns the name the API uses: HSM or SOFTWARE.
func (l Level) String() string {
	switch l {
	case LevelHSM:
		return "HSM"
	case LevelSoftware:
		return "SOFTWARE"
	default:
		return "unknown"
	}
}

// Wrapped is key material in the only form in which it is ever stored or sent.
type Wrapped struct {
	Level      Level
	Spec       Spec
	Use        Use            // what Load loads it for; zero: the first of the spec
	Generation RootGeneration // of the root set whose root wrapped it
	Blob       []byte         // AES-KWP of the secret, or of the PKCS#8 of a pair
	PublicKey  []byte         // DER SubjectPublicKeyInfo of a pair, else empty
}

// RootBundle is a root set wrapped to one transport key, or under one recovery key.
type RootBundle struct {
	Cluster    ClusterID
	Generation RootGeneration
	Mechanism  string          // of the wrapping, e.g. "RSA-OAEP-SHA1" or [MechanismRecovery]
	Wrapped    map[Root][]byte // all four, each by itself
}

// MechanismRecovery is how roots are wrapped under a recovery key: RFC 5649,
// each of them by itself.
const MechanismRecovery = "AES-KWP"

// RecoveryKeySize is the length of a recovery key (AES-256), in bytes.
const RecoveryKeySize = 32

// Description is what the operator and the joining protocol need to know of a module.
type Description struct {
	Kind         string // "soft" or "pkcs11"; every node of a cluster has the same
	Device       bool   // LevelHSM keys are objects of a device outside this process: the default level, and worth batching
	Hardware     bool   // the device says of itself that it is hardware
	Manufacturer string
	Model        string
	Serial       string
	Firmware     string
	// Sessions is how many calls may be inside a device at once; 0 without one.
	Sessions int
	// MaxBlocks is the largest EncryptBlocks input, in blocks, that the device takes in one call.
	MaxBlocks int
	// Capabilities says what is done where with the keys of LevelHSM, a row for
	// each spec and use, in the order of [Specs]. What has no row is carried at
	// LevelSoftware only.
	Capabilities []Capability
	// Notes are sentences for the operator, e.g. an attribute that the device does not keep.
	Notes []string
}

// Capability is one row of what a module does with keys of LevelHSM.
type Capability struct {
	Spec Spec
	Use  Use
	How  string // e.g. "CKM_RSA_X_509 in the device, OAEP unpadded in the process"
}

// Carries tells whether keys of that spec can have LevelHSM here.
func (d Description) Carries(spec Spec) bool {
	return slices.ContainsFunc(d.Capabilities, func(c Capability) bool { return c.Spec == spec })
}

// CarriesFor tells whether keys of that spec for that use can have LevelHSM here.
func (d Description) CarriesFor(spec Spec, use Use) bool {
	return slices.ContainsFunc(d.Capabilities, func(c Capability) bool { return c.Spec == spec && c.Use == use })
}
