package wire

import (
	"slices"
	"strconv"
)

// PublicKeyReply answers get-publickey.
type PublicKeyReply struct {
	KeyID     string `json:"key_id"`
	PublicKey string `json:"public_key"` // PEM with CRLF
}

// AppendJSON implements [Reply].
func (r PublicKeyReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	return append(appendMember(dst, "public_key", r.PublicKey), '}')
}

// SignReply answers sign.
type SignReply struct {
	KeyID     string `json:"key_id"`
	Signature Base64 `json:"signature"`
}

// AppendJSON implements [Reply].
func (r SignReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	return append(r.Signature.appendTo(appendName(dst, "signature")), '}')
}

// VerifyReply answers verify; the truth value is a string there.
type VerifyReply struct {
	KeyID          string `json:"key_id"`
	SignatureValid string `json:"signature_valid"`
}

// AppendJSON implements [Reply].
func (r VerifyReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	return append(appendMember(dst, "signature_valid", r.SignatureValid), '}')
}

// MACReply answers generate-mac.
type MACReply struct {
	KeyID        string   `json:"key_id"`
	MACAlgorithm string   `json:"mac_algorithm"`
	MAC          LowerHex `json:"mac"`
}

// AppendJSON implements [Reply].
func (r MACReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = appendMember(dst, "mac_algorithm", r.MACAlgorithm)
	return append(r.MAC.appendTo(appendName(dst, "mac")), '}')
}

// VerifyMACReply answers verify-mac; the truth value is one, unlike verify's.
type VerifyMACReply struct {
	KeyID        string `json:"key_id"`
	MACAlgorithm string `json:"mac_algorithm"`
	MACValid     bool   `json:"mac_valid"`
}

// AppendJSON implements [Reply].
func (r VerifyMACReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = appendMember(dst, "mac_algorithm", r.MACAlgorithm)
	return append(strconv.AppendBool(appendName(dst, "mac_valid"), r.MACValid), '}')
}

// ReEncryptReply answers re-encrypt. CipherText is in the form of the request's.
type ReEncryptReply struct {
	KeyID                          string `json:"key_id"` // of the destination
	SourceKeyID                    string `json:"source_key_id"`
	SourceEncryptionAlgorithm      string `json:"source_encryption_algorithm"`
	DestinationEncryptionAlgorithm string `json:"destination_encryption_algorithm"`
	CipherText                     string `json:"cipher_text"`
}

// AppendJSON implements [Reply].
func (r ReEncryptReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = appendMember(dst, "source_key_id", r.SourceKeyID)
	dst = appendMember(dst, "source_encryption_algorithm", r.SourceEncryptionAlgorithm)
	dst = appendMember(dst, "destination_encryption_algorithm", r.DestinationEncryptionAlgorithm)
	return append(appendMember(dst, "cipher_text", r.CipherText), '}')
}

// DataKeyPairReply answers create-rsa-datakey-pair and create-ec-datakey-pair.
// Keys are in DER: SubjectPublicKeyInfo and PKCS#8.
type DataKeyPairReply struct {
	KeyID                string `json:"key_id"`
	KeySpec              string `json:"key_spec"`
	PublicKey            Base64 `json:"public_key"`
	PrivateKeyCipherText Base64 `json:"private_key_cipher_text"`
	PrivateKeyPlainText  Base64 `json:"private_key_plain_text,omitempty"`
}

// AppendJSON implements [Reply].
func (r DataKeyPairReply) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, 256+2*(len(r.PublicKey)+len(r.PrivateKeyCipherText)+len(r.PrivateKeyPlainText)))
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = appendMember(dst, "key_spec", r.KeySpec)
	dst = r.PublicKey.appendTo(appendName(dst, "public_key"))
	dst = r.PrivateKeyCipherText.appendTo(appendName(dst, "private_key_cipher_text"))
	if len(r.PrivateKeyPlainText) > 0 {
		dst = r.PrivateKeyPlainText.appendTo(appendName(dst, "private_key_plain_text"))
	}
	return append(dst, '}')
}

// Wipe zeroes the private key.
func (r DataKeyPairReply) Wipe() { clear(r.PrivateKeyPlainText) }

// DeriveSharedSecretReply answers derive-shared-secret.
type DeriveSharedSecretReply struct {
	KeyID                 string `json:"key_id"`
	KeyAgreementAlgorithm string `json:"key_agreement_algorithm"`
	SharedSecret          Base64 `json:"shared_secret"`
}

// AppendJSON implements [Reply].
func (r DeriveSharedSecretReply) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, 256+2*len(r.SharedSecret))
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = appendMember(dst, "key_agreement_algorithm", r.KeyAgreementAlgorithm)
	return append(r.SharedSecret.appendTo(appendName(dst, "shared_secret")), '}')
}

// Wipe zeroes the secret.
func (r DeriveSharedSecretReply) Wipe() { clear(r.SharedSecret) }
