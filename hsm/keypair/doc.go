// Package keypair is key pairs in this process: what is done with a public key,
// and, for SOFTWARE level keys, with a private one.
//
// A private key comes and goes as PKCS#8 in DER, a public one as
// SubjectPublicKeyInfo in DER. What it promises: a key is used only as the spec
// that the caller names, and bytes that are anything else (another curve, a
// point that is not on it, a modulus of another size, trailing bytes) are
// refused before anything is computed. What it never does: it keeps no key.
// The parsed form of a private key lives on the Go heap for the length of a call.
//
// The standard library does RSA, the NIST curves and Ed25519, gmsm SM2 and
// secp256k1-voi, in constant time, secp256k1.
package keypair
