package huawei_test

import "strings"

// pairLines is the table's part about pairs, MAC keys and re-encryption: the
// state comes first, then what the key is for.
func pairLines() []line {
	const (
		id      = `{"key_id":"KEY"}`
		digest  = `"message":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","signing_algorithm":"ECDSA_SHA_256"`
		sign    = `{"key_id":"KEY",` + digest + `}`
		verify  = `{"key_id":"KEY",` + digest + `,"signature":"AAAA"}`
		mac     = `{"key_id":"KEY","mac_algorithm":"HMAC_SHA_256","message":"AAAA"}`
		check   = `{"key_id":"KEY","mac_algorithm":"HMAC_SHA_256","message":"AAAA","mac":"00"}`
		agree   = `{"key_id":"KEY","key_agreement_algorithm":"ECDH","public_key":"` + somePeer + `"}`
		rsaPair = `{"key_id":"KEY","key_spec":"RSA_2048"}`
		ecPair  = `{"key_id":"KEY","key_spec":"ECC_NIST_P256"}`
		text    = `{"key_id":"KEY","plain_text":"x"}`
		again   = `{"destination_key_id":"KEY","source_key_id":"KEY","cipher_text":"SEALED-TEXT"}`
	)
	var lines []line
	// in is a line of a key made by KMS: what happens to it when it is Enabled.
	in := func(verb, body string, kind int, whenEnabled string) {
		lines = append(lines, line{verb, body, kind, [states]string{whenEnabled, "KMS.0209", "KMS.0210", none, "KMS.0207"}})
	}
	waits := func(verb, body string) {
		lines = append(lines, line{verb, body, external, [states]string{none, none, "KMS.0210", "KMS.1301", "KMS.0207"}})
	}
	for _, kind := range []int{signing, agreeing, rsaCrypto} {
		in("get-publickey", id, kind, "same")
	}
	for _, kind := range []int{symmetric, macing} {
		lines = append(lines, line{"get-publickey", id, kind, [states]string{"KMS.0331", "KMS.0331", "KMS.0331", none, "KMS.0207"}})
	}
	for verb, body := range map[string]string{"sign": sign, "verify": verify} {
		in(verb, body, signing, "same")
		in(verb, body, symmetric, "KMS.1115")
		in(verb, body, macing, "KMS.0341")
		in(verb, body, agreeing, "KMS.0335")
		waits(verb, body)
	}
	in("sign", sign, rsaCrypto, "KMS.0334")
	for verb, body := range map[string]string{"generate-mac": mac, "verify-mac": check} {
		in(verb, body, macing, "same")
		in(verb, body, symmetric, "KMS.0331")
		in(verb, body, signing, "KMS.0335")
		waits(verb, body)
	}
	in("derive-shared-secret", agree, agreeing, "same")
	in("derive-shared-secret", agree, signing, "KMS.0335")
	in("derive-shared-secret", agree, symmetric, "KMS.0331")
	waits("derive-shared-secret", agree)

	in("create-rsa-datakey-pair", rsaPair, symmetric, "same")
	in("create-rsa-datakey-pair", rsaPair, agreeing, "KMS.1114")
	in("create-ec-datakey-pair", ecPair, symmetric, "same")
	in("create-ec-datakey-pair", ecPair, signing, "KMS.1114")
	waits("create-ec-datakey-pair", ecPair)

	in("encrypt-data", text, signing, "KMS.1114")
	in("encrypt-data", text, agreeing, "KMS.1114")
	in("encrypt-data", text, macing, "KMS.0341")
	in("encrypt-data", text, rsaCrypto, "KMS.2106")
	in("create-datakey", id, rsaCrypto, "same")
	in("create-datakey", id, signing, "KMS.1114")
	in("create-datakey", id, macing, "KMS.0341")

	in("re-encrypt", again, symmetric, "same")
	parameters := `{"key_id":"KEY","wrapping_algorithm":"RSAES_OAEP_SHA_256"}`
	material := `{"key_id":"KEY","import_token":"AAAA","encrypted_key_material":"AAAA"}`
	for verb, body := range map[string]string{"get-parameters-for-import": parameters, "import-key-material": material, "delete-imported-key-material": id} {
		lines = append(lines, line{verb, body, symmetric, [states]string{"KMS.0309", "KMS.0309", "KMS.0309", none, "KMS.0207"}})
	}
	lines = append(lines,
		line{"get-parameters-for-import", parameters, external, [states]string{none, none, "KMS.0210", "same", "KMS.0207"}},
		line{"import-key-material", material, external, [states]string{none, none, "KMS.0210", "KMS.2605", "KMS.0207"}},
		line{"delete-imported-key-material", id, external, [states]string{none, none, "KMS.2701", "KMS.2701", "KMS.0207"}},
	)
	// A key without material has no ciphertexts.
	lines = append(lines, line{"re-encrypt", strings.ReplaceAll(again, "SEALED-TEXT", "AAAA"), external, [states]string{none, none, "KMS.2201", "KMS.2201", "KMS.0207"}})
	return lines
}

// somePeer is the public key of a pair on P-256 of which nobody keeps the rest.
const somePeer = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
