package hsm

import "context"

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

	// Generate makes key material inside the module and returns it wrapped
	// under the root of its level (AES-KWP, RFC 5649).
	Generate(ctx context.Context, level Level, spec Spec) (Wrapped, error)
	// Load brings wrapped material into use. The caller has verified the
	// record MAC before. [ErrUnwrap] when the blob is not what the root wrapped.
	Load(ctx context.Context, w Wrapped) (Key, error)
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

// Key is one loaded AES-256 key: an object of the module ([LevelHSM]) or
// locked memory of the process ([LevelSoftware]). It is safe for concurrent use.
type Key interface {
	// EncryptBlocks encrypts src, whole AES blocks of 16 bytes each, into dst
	// of the same length, each block by itself (CKM_AES_ECB). One call may
	// carry the blocks of many derivations (see package xaes); that is why it
	// takes a slice. dst and src overlap entirely or not at all, and neither is
	// touched after the call has returned.
	EncryptBlocks(ctx context.Context, dst, src []byte) error
	// Close gives the object back to the device or wipes the memory.
	Close() error
}

// ClusterID is the UUID of the cluster a root set belongs to.
type ClusterID [16]byte

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

// Spec names the algorithm and size of a key's material.
type Spec string

// SpecAES256 is a 256-bit AES key.
const SpecAES256 Spec = "AES_256"

// Wrapped is key material in the only form in which it is ever stored or sent.
type Wrapped struct {
	Level      Level
	Spec       Spec
	Generation RootGeneration // of the root set whose root wrapped it
	Blob       []byte         // AES-KWP; 40 bytes for AES_256
}

// RootBundle is a root set wrapped to one transport key.
type RootBundle struct {
	Cluster    ClusterID
	Generation RootGeneration
	Mechanism  string          // of the wrapping, e.g. "RSA-OAEP-SHA1"
	Wrapped    map[Root][]byte // all four, each by itself
}

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
	// Notes are sentences for the operator, e.g. an attribute that the device does not keep.
	Notes []string
}
