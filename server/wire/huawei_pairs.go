package wire

// Requests about pairs, MAC keys and re-encryption.

// Versioned names the version of an asymmetric key, an extension; absent: the first.
type Versioned struct {
	KeyVersion FlexInt `json:"key_version,omitzero"`
}

func (v *Versioned) member(name, raw []byte) (mine bool, err error) {
	if string(name) != "key_version" {
		return false, nil
	}
	return true, v.KeyVersion.set(name, raw)
}

// PublicKeyRequest is the body of get-publickey.
type PublicKeyRequest struct {
	Sequenced
	Versioned
	KeyID string `json:"key_id"`
}

func (r *PublicKeyRequest) member(name, raw []byte) error {
	if string(name) == "key_id" {
		return setText(&r.KeyID, name, raw)
	}
	if mine, err := r.Versioned.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}

// SignRequest is the body of sign and, with Signature, of verify.
type SignRequest struct {
	Sequenced
	Versioned
	KeyID            string `json:"key_id"`
	Message          Base64 `json:"message"` // fewer than 4096 bytes
	SigningAlgorithm string `json:"signing_algorithm"`
	MessageType      string `json:"message_type,omitempty"` // DIGEST, which is the default, or RAW
	Signature        Base64 `json:"signature,omitempty"`
}

func (r *SignRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "message":
		return r.Message.set(name, raw)
	case "signing_algorithm":
		return setText(&r.SigningAlgorithm, name, raw)
	case "message_type":
		return setText(&r.MessageType, name, raw)
	case "signature":
		return r.Signature.set(name, raw)
	}
	if mine, err := r.Versioned.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}

// MACRequest is the body of generate-mac and, with MAC, of verify-mac.
type MACRequest struct {
	Sequenced
	KeyID        string `json:"key_id"`
	MACAlgorithm string `json:"mac_algorithm"`
	Message      Base64 `json:"message"` // 1 to 4096 bytes
	MAC          Hex    `json:"mac,omitempty"`
}

func (r *MACRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "mac_algorithm":
		return setText(&r.MACAlgorithm, name, raw)
	case "message":
		return r.Message.set(name, raw)
	case "mac":
		return r.MAC.set(name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// ReEncryptRequest is the body of re-encrypt. With DatakeyCipherLength the
// ciphertext is one of a data key, in hex, and else one of data, in base64.
type ReEncryptRequest struct {
	Sequenced
	SourceKeyID                            string  `json:"source_key_id,omitempty"`
	SourceAdditionalAuthenticatedData      string  `json:"source_additional_authenticated_data,omitempty"`
	SourceEncryptionAlgorithm              string  `json:"source_encryption_algorithm,omitempty"`
	DestinationKeyID                       string  `json:"destination_key_id"`
	DestinationAdditionalAuthenticatedData string  `json:"destination_additional_authenticated_data,omitempty"`
	DestinationEncryptionAlgorithm         string  `json:"destination_encryption_algorithm,omitempty"`
	DatakeyCipherLength                    FlexInt `json:"datakey_cipher_length,omitzero"`
	CipherText                             string  `json:"cipher_text"`
	// Extensions: the versions of asymmetric keys (absent: the first), and the
	// other form of what a ciphertext is bound to.
	SourceKeyVersion             FlexInt `json:"source_key_version,omitzero"`
	DestinationKeyVersion        FlexInt `json:"destination_key_version,omitzero"`
	SourceEncryptionContext      Context `json:"source_encryption_context,omitzero"`
	DestinationEncryptionContext Context `json:"destination_encryption_context,omitzero"`
}

func (r *ReEncryptRequest) member(name, raw []byte) error {
	switch string(name) {
	case "source_key_id":
		return setText(&r.SourceKeyID, name, raw)
	case "source_additional_authenticated_data":
		return setText(&r.SourceAdditionalAuthenticatedData, name, raw)
	case "source_encryption_algorithm":
		return setText(&r.SourceEncryptionAlgorithm, name, raw)
	case "destination_key_id":
		return setText(&r.DestinationKeyID, name, raw)
	case "destination_additional_authenticated_data":
		return setText(&r.DestinationAdditionalAuthenticatedData, name, raw)
	case "destination_encryption_algorithm":
		return setText(&r.DestinationEncryptionAlgorithm, name, raw)
	case "datakey_cipher_length":
		return r.DatakeyCipherLength.set(name, raw)
	case "source_key_version":
		return r.SourceKeyVersion.set(name, raw)
	case "destination_key_version":
		return r.DestinationKeyVersion.set(name, raw)
	case "source_encryption_context":
		return r.SourceEncryptionContext.set(name, raw)
	case "destination_encryption_context":
		return r.DestinationEncryptionContext.set(name, raw)
	case "cipher_text":
		return setText(&r.CipherText, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// DataKeyPairRequest is the body of create-rsa-datakey-pair and
// create-ec-datakey-pair.
type DataKeyPairRequest struct {
	Sequenced
	Associated
	KeyID         string    `json:"key_id"`
	KeySpec       string    `json:"key_spec"`
	WithPlainText *FlexBool `json:"with_plain_text,omitempty"` // absent: true
}

func (r *DataKeyPairRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "key_spec":
		return setText(&r.KeySpec, name, raw)
	case "with_plain_text":
		if isAbsent(raw) {
			return nil
		}
		r.WithPlainText = new(FlexBool)
		return r.WithPlainText.set(name, raw)
	}
	if mine, err := r.Associated.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}

// DeriveSharedSecretRequest is the body of derive-shared-secret.
type DeriveSharedSecretRequest struct {
	Sequenced
	Versioned
	KeyID                 string `json:"key_id"`
	KeyAgreementAlgorithm string `json:"key_agreement_algorithm"` // ECDH
	PublicKey             Base64 `json:"public_key"`              // DER SubjectPublicKeyInfo
}

func (r *DeriveSharedSecretRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "key_agreement_algorithm":
		return setText(&r.KeyAgreementAlgorithm, name, raw)
	case "public_key":
		return r.PublicKey.set(name, raw)
	}
	if mine, err := r.Versioned.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}
