package fsm

import (
	"slices"
	"strings"

	"github.com/raftkms/raftkms/fsm/state"
)

// usages is what keys of each spec can be for, the usual one first. That a
// module can make such a key is for who proposes it to know.
var usages = map[string][]string{
	state.SpecAES256: {state.UsageEncryptDecrypt},
	"SM4":            {state.UsageEncryptDecrypt},
	"RSA_2048":       {state.UsageSignVerify, state.UsageEncryptDecrypt},
	"RSA_3072":       {state.UsageSignVerify, state.UsageEncryptDecrypt},
	"RSA_4096":       {state.UsageSignVerify, state.UsageEncryptDecrypt},
	"EC_P256":        {state.UsageSignVerify, state.UsageKeyAgreement},
	"EC_P384":        {state.UsageSignVerify, state.UsageKeyAgreement},
	"EC_P521":        {state.UsageSignVerify, state.UsageKeyAgreement},
	"SECP256K1":      {state.UsageSignVerify, state.UsageKeyAgreement},
	"ED25519":        {state.UsageSignVerify},
	"SM2":            {state.UsageSignVerify, state.UsageEncryptDecrypt},
	"HMAC_256":       {state.UsageGenerateVerifyMAC},
	"HMAC_384":       {state.UsageGenerateVerifyMAC},
	"HMAC_512":       {state.UsageGenerateVerifyMAC},
	"HMAC_SM3":       {state.UsageGenerateVerifyMAC},
}

// Usages returns what keys of a spec can be for, the usual one first; none for
// what is no spec.
func Usages(spec string) []string { return slices.Clone(usages[spec]) }

// fits tells whether there are keys of that spec for that usage.
func fits(spec, usage string) bool { return slices.Contains(usages[spec], usage) }

// isPair tells whether keys of a spec have a public half.
func isPair(spec string) bool {
	return usages[spec] != nil && !isSymmetric(spec) && !strings.HasPrefix(spec, "HMAC_")
}

// Importable tells whether material of a spec can come from elsewhere: AES-256,
// and private keys of RSA and of the NIST curves and secp256k1.
func Importable(spec string) bool {
	return spec == state.SpecAES256 || isPair(spec) && spec != "SM2" && spec != "ED25519"
}

// softwareOnly tells whether no device carries the spec.
func softwareOnly(spec string) bool { return spec == "SM2" || spec == "SM4" || spec == "HMAC_SM3" }

// publicKeyFits tells whether the bytes can be the public key of the spec.
func publicKeyFits(spec string, der []byte) bool {
	return isPair(spec) == (len(der) != 0) && len(der) <= maxPublicKey
}
