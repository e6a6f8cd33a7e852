package envelope

// The forms with a chosen nonce: golden bytes need one, nobody else may have one.
var (
	SealWithNonce       = sealWithNonce
	SealSecretWithNonce = sealSecretWithNonce
)
