package pkcs11

import p11 "github.com/miekg/pkcs11"

// cryptoki is all of PKCS#11 that this package calls, in the shape of
// miekg/pkcs11. Those whose bytes are secret (a PIN, a key, derived blocks, a
// plaintext, random bytes) work on the caller's memory, since the wrapper leaves copies
// in memory that it frees without wiping; see direct.go.
type cryptoki interface {
	Initialize(opts ...p11.InitializeOption) error
	Finalize() error

	GetSlotList(tokenPresent bool) ([]uint, error)
	GetSlotInfo(slot uint) (p11.SlotInfo, error)
	GetTokenInfo(slot uint) (p11.TokenInfo, error)
	GetMechanismList(slot uint) ([]*p11.Mechanism, error)
	GetMechanismInfo(slot uint, m []*p11.Mechanism) (p11.MechanismInfo, error)
	InitToken(slot uint, pin, label string) error
	InitPIN(s p11.SessionHandle, pin string) error

	OpenSession(slot, flags uint) (p11.SessionHandle, error)
	CloseSession(s p11.SessionHandle) error
	GetSessionInfo(s p11.SessionHandle) (p11.SessionInfo, error)
	LoginWith(s p11.SessionHandle, user uint, pin []byte) error
	Logout(s p11.SessionHandle) error

	FindObjectsInit(s p11.SessionHandle, template []*p11.Attribute) error
	FindObjects(s p11.SessionHandle, most int) ([]p11.ObjectHandle, bool, error)
	FindObjectsFinal(s p11.SessionHandle) error
	GetAttributeValue(s p11.SessionHandle, o p11.ObjectHandle, attributes []*p11.Attribute) ([]*p11.Attribute, error)
	ReadValue(s p11.SessionHandle, o p11.ObjectHandle, value []byte) (int, error)
	CreateObject(s p11.SessionHandle, template []*p11.Attribute) (p11.ObjectHandle, error)
	CreateSecret(s p11.SessionHandle, template nested, value []byte) (p11.ObjectHandle, error)
	DestroyObject(s p11.SessionHandle, o p11.ObjectHandle) error

	GenerateKey(s p11.SessionHandle, m []*p11.Mechanism, template []*p11.Attribute) (p11.ObjectHandle, error)
	GenerateKeyPair(s p11.SessionHandle, m []*p11.Mechanism, public, private []*p11.Attribute) (p11.ObjectHandle, p11.ObjectHandle, error)
	WrapKey(s p11.SessionHandle, m []*p11.Mechanism, under, key p11.ObjectHandle) ([]byte, error)
	UnwrapKey(s p11.SessionHandle, m []*p11.Mechanism, under p11.ObjectHandle, wrapped []byte, template []*p11.Attribute) (p11.ObjectHandle, error)
	DeriveKey(s p11.SessionHandle, m []*p11.Mechanism, base p11.ObjectHandle, template []*p11.Attribute) (p11.ObjectHandle, error)

	EncryptBlocks(s p11.SessionHandle, key p11.ObjectHandle, dst, src []byte) (int, error)
	EncryptInit(s p11.SessionHandle, m []*p11.Mechanism, key p11.ObjectHandle) error
	EncryptInto(s p11.SessionHandle, dst, src []byte) (int, error)
	DecryptInit(s p11.SessionHandle, m []*p11.Mechanism, key p11.ObjectHandle) error
	DecryptInto(s p11.SessionHandle, dst, src []byte) (int, error)
	SignInit(s p11.SessionHandle, m []*p11.Mechanism, key p11.ObjectHandle) error
	Sign(s p11.SessionHandle, message []byte) ([]byte, error)
	VerifyInit(s p11.SessionHandle, m []*p11.Mechanism, key p11.ObjectHandle) error
	Verify(s p11.SessionHandle, message, signature []byte) error
	RandomInto(s p11.SessionHandle, p []byte) error
}

// mechanismKWP is CKM_AES_KEY_WRAP_KWP of PKCS#11 v3.0: AES-KWP of RFC 5649
// without the doubt that CKM_AES_KEY_WRAP_PAD leaves about its padding.
const mechanismKWP = 0x210B

func mechanism(m uint) []*p11.Mechanism {
	return []*p11.Mechanism{p11.NewMechanism(m, nil)}
}
