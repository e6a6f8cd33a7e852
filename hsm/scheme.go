package hsm

import "crypto"

// Scheme names how a digest is signed, as the API names it.
type Scheme string

// The schemes. The salt of a PSS signature is as long as its hash; a verifier
// takes any length.
const (
	SchemePSSSHA256    Scheme = "RSASSA_PSS_SHA_256"
	SchemePSSSHA384    Scheme = "RSASSA_PSS_SHA_384"
	SchemePSSSHA512    Scheme = "RSASSA_PSS_SHA_512"
	SchemePKCS1SHA256  Scheme = "RSASSA_PKCS1_V1_5_SHA_256"
	SchemePKCS1SHA384  Scheme = "RSASSA_PKCS1_V1_5_SHA_384"
	SchemePKCS1SHA512  Scheme = "RSASSA_PKCS1_V1_5_SHA_512"
	SchemeECDSASHA256  Scheme = "ECDSA_SHA_256"
	SchemeECDSASHA384  Scheme = "ECDSA_SHA_384"
	SchemeECDSASHA512  Scheme = "ECDSA_SHA_512"
	SchemeSM2          Scheme = "SM2DSA_SM3"
	SchemeEd25519      Scheme = "ED25519" // pure EdDSA: it signs messages, not digests
	maxEd25519Message         = 4096      // bytes; no dialect takes longer ones
	digestSizeOfSM3           = 32
	anySizeUpToMessage        = -1
)

// Schemes returns every scheme.
func Schemes() []Scheme {
	return []Scheme{
		SchemePSSSHA256, SchemePSSSHA384, SchemePSSSHA512,
		SchemePKCS1SHA256, SchemePKCS1SHA384, SchemePKCS1SHA512,
		SchemeECDSASHA256, SchemeECDSASHA384, SchemeECDSASHA512,
		SchemeSM2, SchemeEd25519,
	}
}

// Hash returns the hash of the scheme, or 0 where the standard library has none
// for it: SM2, whose digest also covers the public key, and Ed25519, which has
// no digest.
func (s Scheme) Hash() crypto.Hash {
	switch s {
	case SchemePSSSHA256, SchemePKCS1SHA256, SchemeECDSASHA256:
		return crypto.SHA256
	case SchemePSSSHA384, SchemePKCS1SHA384, SchemeECDSASHA384:
		return crypto.SHA384
	case SchemePSSSHA512, SchemePKCS1SHA512, SchemeECDSASHA512:
		return crypto.SHA512
	default:
		return 0
	}
}

// PSS tells whether the scheme pads with RSASSA-PSS.
func (s Scheme) PSS() bool {
	return s == SchemePSSSHA256 || s == SchemePSSSHA384 || s == SchemePSSSHA512
}

// TakesDigest tells whether n bytes can be what the scheme signs.
func (s Scheme) TakesDigest(n int) bool {
	switch size := s.digestSize(); size {
	case anySizeUpToMessage:
		return n <= maxEd25519Message
	default:
		return size != 0 && n == size
	}
}

func (s Scheme) digestSize() int {
	switch s {
	case SchemeSM2:
		return digestSizeOfSM3
	case SchemeEd25519:
		return anySizeUpToMessage
	}
	if h := s.Hash(); h != 0 {
		return h.Size()
	}
	return 0
}

// Fits tells whether keys of the spec sign with the scheme. A curve goes with
// the hash of its own size.
func (s Scheme) Fits(spec Spec) bool {
	switch spec {
	case SpecRSA2048, SpecRSA3072, SpecRSA4096:
		return s.PSS() || s == SchemePKCS1SHA256 || s == SchemePKCS1SHA384 || s == SchemePKCS1SHA512
	case SpecECP256, SpecSECP256K1:
		return s == SchemeECDSASHA256
	case SpecECP384:
		return s == SchemeECDSASHA384
	case SpecECP521:
		return s == SchemeECDSASHA512
	case SpecSM2:
		return s == SchemeSM2
	case SpecEd25519:
		return s == SchemeEd25519
	default:
		return false
	}
}

// Padding names how a plaintext is encrypted to a public key, as the API names it.
type Padding string

// The paddings. The ciphertext of SM2 is ASN.1 DER (GB/T 35276).
const (
	PaddingOAEPSHA256 Padding = "RSAES_OAEP_SHA_256"
	PaddingOAEPSHA1   Padding = "RSAES_OAEP_SHA_1"
	PaddingSM2        Padding = "SM2_ENCRYPT"
)

// Hash returns the hash of OAEP, 0 for what is not OAEP.
func (p Padding) Hash() crypto.Hash {
	switch p {
	case PaddingOAEPSHA256:
		return crypto.SHA256
	case PaddingOAEPSHA1:
		return crypto.SHA1
	default:
		return 0
	}
}

// Fits tells whether keys of the spec encrypt with the padding.
func (p Padding) Fits(spec Spec) bool {
	switch spec.Family() {
	case FamilyRSA:
		return p.Hash() != 0
	case FamilySM2:
		return p == PaddingSM2
	default:
		return false
	}
}

// HMACHash returns the hash of an HMAC spec, 0 for any other and for HMAC_SM3,
// whose hash the standard library does not have.
func (s Spec) HMACHash() crypto.Hash {
	switch s {
	case SpecHMAC256:
		return crypto.SHA256
	case SpecHMAC384:
		return crypto.SHA384
	case SpecHMAC512:
		return crypto.SHA512
	default:
		return 0
	}
}
