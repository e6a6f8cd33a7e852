package soft

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/raftkms/raftkms/hsm/locked"
)

const (
	unlockKeySize = 32
	fileMACSize   = sha256.Size
)

// vault is the unlocked private key: what opens, and vouches for, the roots
// file and the transport file.
type vault struct {
	private *locked.Buffer // serialised; the parsed form lives for a call only
	public  []byte
}

// The suite is part of the formats; the private key file names the KEM.
func kem() hpke.KEM   { return hpke.MLKEM768X25519() }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.AES256GCM() }

// newVault draws a key pair and returns it with the contents of its private key file.
func newVault(arena *locked.Arena, by unlocking) (*vault, []byte, error) {
	pair, err := kem().GenerateKey()
	if err != nil {
		return nil, nil, fmt.Errorf("drawing a key pair: %w", err)
	}
	private, err := pair.Bytes()
	if err != nil {
		return nil, nil, fmt.Errorf("drawing a key pair: %w", err)
	}
	defer clear(private)
	public := pair.PublicKey().Bytes()
	contents, err := sealPrivateKey(private, public, by)
	if err != nil {
		return nil, nil, err
	}
	v, err := holdVault(arena, private, public)
	return v, contents, err
}

// sealPrivateKey makes the contents of a private key file.
func sealPrivateKey(private, public []byte, by unlocking) ([]byte, error) {
	f := privateKeyFile{KEM: kem().ID(), PublicKey: public}
	key, err := by.forNew(&f)
	if err != nil {
		return nil, err
	}
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	f.Nonce = make([]byte, gcm.NonceSize())
	if _, err := rand.Read(f.Nonce); err != nil {
		return nil, fmt.Errorf("drawing a nonce: %w", err)
	}
	aad, err := f.additionalData()
	if err != nil {
		return nil, err
	}
	f.Sealed = gcm.Seal(nil, f.Nonce, private, aad)
	return encode(f.magic(), f)
}

// openVault opens the contents of a private key file.
func openVault(arena *locked.Arena, by unlocking, contents []byte) (*vault, error) {
	f, err := readPrivateKeyFile(contents)
	if err != nil {
		return nil, err
	}
	key, err := by.forOld(f)
	if err != nil {
		return nil, err
	}
	gcm, err := newGCM(key)
	if err != nil {
		return nil, err
	}
	if len(f.Nonce) != gcm.NonceSize() {
		return nil, errFormat
	}
	aad, err := f.additionalData()
	if err != nil {
		return nil, err
	}
	private, err := gcm.Open(nil, f.Nonce, f.Sealed, aad)
	if err != nil {
		return nil, errLocked
	}
	defer clear(private)
	pair, err := kem().NewPrivateKey(private)
	if err != nil || !bytes.Equal(pair.PublicKey().Bytes(), f.PublicKey) {
		return nil, errFormat
	}
	return holdVault(arena, private, f.PublicKey)
}

func holdVault(arena *locked.Arena, private, public []byte) (*vault, error) {
	buffer, err := arena.New(len(private))
	if err != nil {
		return nil, err
	}
	copy(buffer.Bytes(), private)
	return &vault{private: buffer, public: public}, nil
}

// seal encrypts plaintext to the public key; it opens only with the same info.
func (v *vault) seal(info, plaintext []byte) ([]byte, error) {
	public, err := kem().NewPublicKey(v.public)
	if err != nil {
		return nil, fmt.Errorf("reading the public key: %w", err)
	}
	return hpke.Seal(public, kdf(), aead(), info, plaintext)
}

// open is the inverse of seal. The result is the caller's to wipe.
func (v *vault) open(info, sealed []byte) ([]byte, error) {
	pair, err := kem().NewPrivateKey(v.private.Bytes())
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	return hpke.Open(pair, kdf(), aead(), info, sealed)
}

// authenticate appends to the contents of a file the MAC that only the holder
// of the private key can make.
func (v *vault) authenticate(contents []byte) ([]byte, error) {
	mac, err := v.fileMAC(contents)
	if err != nil {
		return nil, err
	}
	return append(contents, mac...), nil
}

// authentic checks that MAC and returns the contents before it.
func (v *vault) authentic(b []byte) ([]byte, error) {
	contents, mac, err := splitMAC(b)
	if err != nil {
		return nil, err
	}
	expected, err := v.fileMAC(contents)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(mac, expected) {
		return nil, errFormat
	}
	return contents, nil
}

func (v *vault) fileMAC(contents []byte) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, v.private.Bytes(), nil, "raftkms files of the software module, format 1", 32)
	if err != nil {
		return nil, fmt.Errorf("deriving the MAC key of the files: %w", err)
	}
	defer clear(key)
	h := hmac.New(sha256.New, key)
	h.Write(contents)
	return h.Sum(nil), nil
}

func splitMAC(b []byte) (contents, mac []byte, err error) {
	if len(b) < fileMACSize {
		return nil, nil, errFormat
	}
	at := len(b) - fileMACSize
	return b[:at:at], b[at:], nil
}

func (f *privateKeyFile) additionalData() ([]byte, error) {
	aad := binary.BigEndian.AppendUint16([]byte(f.magic()), f.KEM)
	aad = append(aad, f.PublicKey...)
	if f.Passphrase == nil {
		return aad, nil
	}
	how, err := encode("", f.Passphrase)
	return append(aad, how...), err
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("using the unlock key: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("using the unlock key: %w", err)
	}
	return gcm, nil
}
