package hsm

import "slices"

// Spec names the algorithm and size of a key's material.
type Spec string

// The specs. SM4, SM2 and HMAC_SM3 are carried at [LevelSoftware] only.
const (
	SpecAES256    Spec = "AES_256"
	SpecSM4       Spec = "SM4"
	SpecRSA2048   Spec = "RSA_2048"
	SpecRSA3072   Spec = "RSA_3072"
	SpecRSA4096   Spec = "RSA_4096"
	SpecECP256    Spec = "EC_P256"
	SpecECP384    Spec = "EC_P384"
	SpecECP521    Spec = "EC_P521"
	SpecSECP256K1 Spec = "SECP256K1"
	SpecEd25519   Spec = "ED25519"
	SpecSM2       Spec = "SM2"
	SpecHMAC256   Spec = "HMAC_256"
	SpecHMAC384   Spec = "HMAC_384"
	SpecHMAC512   Spec = "HMAC_512"
	SpecHMACSM3   Spec = "HMAC_SM3"
)

// Family is what specs of one kind have in common.
type Family uint8

// The families; zero is that of a spec which is none.
const (
	FamilyAES     Family = iota + 1 // blocks of 16 bytes
	FamilySM4                       // blocks of 16 bytes
	FamilyHMAC                      // SHA-2 or SM3, a key as long as the hash
	FamilyRSA                       // public exponent 65537
	FamilyEC                        // a curve in Weierstrass form: ECDSA, ECDH
	FamilyEd25519                   // EdDSA
	FamilySM2                       // GB/T 32918
)

// Use says what a loaded key does, and nothing else.
type Use uint8

// The uses.
const (
	UseEncrypt Use = iota + 1 // [Key], [Decrypter]
	UseSign                   // [Signer]
	UseMAC                    // [MACer]
	UseAgree                  // [Agreer]
)

// String returns the name of the use, as capability tables spell it.
func (u Use) String() string {
	switch u {
	case UseEncrypt:
		return "encrypt"
	case UseSign:
		return "sign"
	case UseMAC:
		return "mac"
	case UseAgree:
		return "agree"
	default:
		return "unknown"
	}
}

// specs is what is known of each, in the order in which tables show them.
var specs = [...]struct {
	spec   Spec
	family Family
	bits   int // of a secret, a modulus or a field
	uses   []Use
}{
	{SpecAES256, FamilyAES, 256, []Use{UseEncrypt}},
	{SpecSM4, FamilySM4, 128, []Use{UseEncrypt}},
	{SpecRSA2048, FamilyRSA, 2048, []Use{UseSign, UseEncrypt}},
	{SpecRSA3072, FamilyRSA, 3072, []Use{UseSign, UseEncrypt}},
	{SpecRSA4096, FamilyRSA, 4096, []Use{UseSign, UseEncrypt}},
	{SpecECP256, FamilyEC, 256, []Use{UseSign, UseAgree}},
	{SpecECP384, FamilyEC, 384, []Use{UseSign, UseAgree}},
	{SpecECP521, FamilyEC, 521, []Use{UseSign, UseAgree}},
	{SpecSECP256K1, FamilyEC, 256, []Use{UseSign, UseAgree}},
	{SpecEd25519, FamilyEd25519, 256, []Use{UseSign}},
	{SpecSM2, FamilySM2, 256, []Use{UseSign, UseEncrypt}},
	{SpecHMAC256, FamilyHMAC, 256, []Use{UseMAC}},
	{SpecHMAC384, FamilyHMAC, 384, []Use{UseMAC}},
	{SpecHMAC512, FamilyHMAC, 512, []Use{UseMAC}},
	{SpecHMACSM3, FamilyHMAC, 256, []Use{UseMAC}},
}

// Specs returns every spec.
func Specs() []Spec {
	all := make([]Spec, len(specs))
	for i, s := range specs {
		all[i] = s.spec
	}
	return all
}

// Family returns what kind of algorithm the spec is of, 0 when it is none.
func (s Spec) Family() Family {
	for _, known := range specs {
		if known.spec == s {
			return known.family
		}
	}
	return 0
}

// Bits returns the size of a secret, of an RSA modulus or of a curve's field.
func (s Spec) Bits() int {
	for _, known := range specs {
		if known.spec == s {
			return known.bits
		}
	}
	return 0
}

// Uses returns what keys of the spec can be for, the usual one first. One key
// has one use.
func (s Spec) Uses() []Use {
	for _, known := range specs {
		if known.spec == s {
			return slices.Clone(known.uses)
		}
	}
	return nil
}

// Allows tells whether a key of the spec can be for that use.
func (s Spec) Allows(u Use) bool {
	for _, known := range specs {
		if known.spec == s {
			return slices.Contains(known.uses, u)
		}
	}
	return false
}

// Pair tells whether the material is a private key with a public half.
func (s Spec) Pair() bool {
	switch s.Family() {
	case FamilyRSA, FamilyEC, FamilyEd25519, FamilySM2:
		return true
	default:
		return false
	}
}

// SoftwareOnly tells whether the spec is carried at [LevelSoftware] only, by
// whatever module.
func (s Spec) SoftwareOnly() bool {
	family := s.Family()
	return family == FamilySM4 || family == FamilySM2 || s == SpecHMACSM3
}

// UseOf returns what w is loaded for: the first use of its spec where it says
// nothing. ok is false for a spec or a use that does not exist.
func (w Wrapped) UseOf() (u Use, ok bool) {
	uses := w.Spec.Uses()
	switch {
	case len(uses) == 0:
		return 0, false
	case w.Use == 0:
		return uses[0], true
	default:
		return w.Use, slices.Contains(uses, w.Use)
	}
}
