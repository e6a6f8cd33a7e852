package wire

import "strconv"

// ImportParametersRequest is the body of get-parameters-for-import.
type ImportParametersRequest struct {
	Sequenced
	KeyID             string `json:"key_id"`
	WrappingAlgorithm string `json:"wrapping_algorithm"`
}

func (r *ImportParametersRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "wrapping_algorithm":
		return setText(&r.WrappingAlgorithm, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// ImportMaterialRequest is the body of import-key-material.
type ImportMaterialRequest struct {
	Sequenced
	KeyID                string  `json:"key_id"`
	ImportToken          Base64  `json:"import_token"`
	EncryptedKeyMaterial Base64  `json:"encrypted_key_material"`         // an RSA block
	EncryptedPrivatekey  Base64  `json:"encrypted_privatekey,omitempty"` // PKCS#8 of a pair under the wrapped key
	ExpirationTime       FlexInt `json:"expiration_time,omitzero"`       // Unix seconds; absent: never
}

func (r *ImportMaterialRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "import_token":
		return r.ImportToken.set(name, raw)
	case "encrypted_key_material":
		return r.EncryptedKeyMaterial.set(name, raw)
	case "encrypted_privatekey":
		return r.EncryptedPrivatekey.set(name, raw)
	case "expiration_time":
		return r.ExpirationTime.set(name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// ImportParametersReply answers get-parameters-for-import.
type ImportParametersReply struct {
	KeyID          string `json:"key_id"`
	ImportToken    Base64 `json:"import_token"`
	ExpirationTime int64  `json:"expiration_time"` // Unix seconds
	PublicKey      Base64 `json:"public_key"`      // DER SubjectPublicKeyInfo
}

// AppendJSON implements [Reply].
func (r ImportParametersReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = r.ImportToken.appendTo(appendName(dst, "import_token"))
	dst = strconv.AppendInt(appendName(dst, "expiration_time"), r.ExpirationTime, 10)
	return append(r.PublicKey.appendTo(appendName(dst, "public_key")), '}')
}
