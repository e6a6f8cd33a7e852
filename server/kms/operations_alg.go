package kms

// What is done with pairs, with MAC keys, and from one key to another.
var (
	OpGetPublicKey         = Operation{"getPublicKey", "kms:cmk:getPublicKey", "cmk"}
	OpSign                 = Operation{"sign", "kms:cmk:sign", "cmk"}
	OpVerify               = Operation{"verify", "kms:cmk:verify", "cmk"}
	OpGenerateMAC          = Operation{"generateMac", "kms:cmk:generateMac", "cmk"}
	OpVerifyMAC            = Operation{"verifyMac", "kms:cmk:verifyMac", "cmk"}
	OpReEncrypt            = Operation{"reEncrypt", "kms:cmk:crypto", "cmk"}
	OpCreateRSADataKeyPair = Operation{"createRsaDatakeyPair", "kms:dek:create", "cmk"}
	OpCreateECDataKeyPair  = Operation{"createEcDatakeyPair", "kms:dek:create", "cmk"}
	OpDeriveSharedSecret   = Operation{"deriveSharedSecret", "kms:cmk:deriveSharedSecret", "cmk"}
)
