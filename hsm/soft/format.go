package soft

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/hsm"
)

// The first line of each file names what it is and the version of its format.
const (
	rootsMagic      = "raftkms root keys, format 1\n"
	privateMagic    = "raftkms root private key, format 1\n"
	passphraseMagic = "raftkms root private key, format 2\n" // encrypted under a passphrase
	transportMagic  = "raftkms transport key, format 1\n"
)

// maxEntries bounds the generations in a roots file.
const maxEntries = 64

// privateKeyFile is file (2).
type privateKeyFile struct {
	KEM        uint16    `cbor:"1,keyasint"`
	PublicKey  []byte    `cbor:"2,keyasint"`
	Nonce      []byte    `cbor:"3,keyasint"`
	Sealed     []byte    `cbor:"4,keyasint"`           // AES-256-GCM under the unlock key, or the key that a passphrase gives
	Passphrase *argonFor `cbor:"5,keyasint,omitempty"` // in format 2, and only there
}

// magic is the first line of the file.
func (f *privateKeyFile) magic() string {
	if f.Passphrase != nil {
		return passphraseMagic
	}
	return privateMagic
}

// readPrivateKeyFile reads the contents of a private key file, of either format.
func readPrivateKeyFile(contents []byte) (*privateKeyFile, error) {
	magic := privateMagic
	if bytes.HasPrefix(contents, []byte(passphraseMagic)) {
		magic = passphraseMagic
	}
	f := new(privateKeyFile)
	if err := decode(magic, contents, f); err != nil {
		return nil, err
	}
	if f.magic() != magic || f.KEM != kem().ID() {
		return nil, errFormat
	}
	if f.Passphrase != nil {
		return f, f.Passphrase.check()
	}
	return f, nil
}

// rootsFile is file (1).
type rootsFile struct {
	PublicKey []byte      `cbor:"1,keyasint"`
	Entries   []rootEntry `cbor:"2,keyasint"` // ordered by cluster, then generation
}

// rootEntry is one generation of one cluster.
type rootEntry struct {
	Cluster    hsm.ClusterID      `cbor:"1,keyasint"`
	Generation hsm.RootGeneration `cbor:"2,keyasint"`
	Sealed     []byte             `cbor:"3,keyasint"` // HPKE: the four keys in the order of hsm.Root
}

// transportFile is the private half of the transport pair.
type transportFile struct {
	PublicKey []byte `cbor:"1,keyasint"` // that it is sealed to
	Sealed    []byte `cbor:"2,keyasint"` // HPKE: PKCS #8
}

var errFormat = errors.New("not a file of this kind, cut short, or damaged")

// encode writes the first line and deterministic CBOR.
func encode(magic string, v any) ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("preparing to encode: %w", err)
	}
	body, err := mode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding: %w", err)
	}
	return append([]byte(magic), body...), nil
}

// decode reads what encode wrote and nothing else.
func decode(magic string, b []byte, v any) error {
	body, found := bytes.CutPrefix(b, []byte(magic))
	if !found {
		return errFormat
	}
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxArrayElements:  maxEntries,
	}.DecMode()
	if err != nil {
		return fmt.Errorf("preparing to decode: %w", err)
	}
	if err := mode.Unmarshal(body, v); err != nil {
		return errFormat
	}
	if again, err := encode(magic, v); err != nil || !bytes.Equal(again, b) {
		return errFormat
	}
	return nil
}
