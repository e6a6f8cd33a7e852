package kms

import "github.com/raftkms/raftkms/hsm"

// What a key may be used for. It is fixed when the key is made.
const (
	UsageEncryptDecrypt    = "ENCRYPT_DECRYPT"
	UsageSignVerify        = "SIGN_VERIFY"
	UsageGenerateVerifyMAC = "GENERATE_VERIFY_MAC"
	UsageKeyAgreement      = "KEY_AGREEMENT"
)

// useOf is what material is loaded for.
func useOf(usage string) hsm.Use {
	switch usage {
	case UsageSignVerify:
		return hsm.UseSign
	case UsageGenerateVerifyMAC:
		return hsm.UseMAC
	case UsageKeyAgreement:
		return hsm.UseAgree
	default:
		return hsm.UseEncrypt
	}
}
