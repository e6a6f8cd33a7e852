package wire

// The Huawei-style dialect's requests. A client encodes them with
// encoding/json; the server decodes them with [Decode], which is strict about
// the JSON and lenient about the types that clients disagree on. What is
// absent, null or the empty string is the zero value.

// Request is one of the request types of this file.
type Request interface {
	// member takes one member of the request's object; names it does not know
	// are ignored, as the dialect demands.
	member(name, raw []byte) error
	// ClientSequence returns the client's serial number for the request.
	ClientSequence() string
}

// Sequenced is the part that every request has.
type Sequenced struct {
	// Sequence is the client's serial number, 36 characters shaped like a UUID.
	// It is for correlation only: neither a token of idempotency nor echoed.
	Sequence string `json:"sequence,omitempty"`
}

// ClientSequence returns Sequence.
func (s *Sequenced) ClientSequence() string { return s.Sequence }

func (s *Sequenced) member(name, raw []byte) error {
	if string(name) == "sequence" {
		return setText(&s.Sequence, name, raw)
	}
	return nil
}

// CreateKeyRequest is the body of create-key.
type CreateKeyRequest struct {
	Sequenced
	KeyAlias       string `json:"key_alias"`
	KeyDescription string `json:"key_description,omitempty"`
	KeySpec        string `json:"key_spec,omitempty"`
	KeyUsage       string `json:"key_usage,omitempty"`
	Origin         string `json:"origin,omitempty"`
	// ProtectionLevel (HSM or SOFTWARE) and DeletionProtection are extensions.
	ProtectionLevel    string   `json:"protection_level,omitempty"`
	DeletionProtection FlexBool `json:"deletion_protection,omitempty"`
}

func (r *CreateKeyRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_alias":
		return setText(&r.KeyAlias, name, raw)
	case "key_description":
		return setText(&r.KeyDescription, name, raw)
	case "key_spec":
		return setText(&r.KeySpec, name, raw)
	case "key_usage":
		return setText(&r.KeyUsage, name, raw)
	case "origin":
		return setText(&r.Origin, name, raw)
	case "protection_level":
		return setText(&r.ProtectionLevel, name, raw)
	case "deletion_protection":
		return r.DeletionProtection.set(name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// KeyRequest is the body of describe-key, enable-key and disable-key. KeyID
// here and in the other requests is a key's UUID, alias/NAME, or the URN
// kms:REGION:DOMAIN_ID:alias:NAME.
type KeyRequest struct {
	Sequenced
	KeyID string `json:"key_id"`
}

func (r *KeyRequest) member(name, raw []byte) error {
	if string(name) == "key_id" {
		return setText(&r.KeyID, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// ListKeysRequest is the body of list-keys.
type ListKeysRequest struct {
	Sequenced
	Limit    FlexInt    `json:"limit,omitzero"`
	Marker   FlexInt    `json:"marker,omitzero"` // position of the first key of the page
	KeyState FlexString `json:"key_state,omitempty"`
	KeySpec  string     `json:"key_spec,omitempty"`
}

func (r *ListKeysRequest) member(name, raw []byte) error {
	switch string(name) {
	case "limit":
		return r.Limit.set(name, raw)
	case "marker":
		return r.Marker.set(name, raw)
	case "key_state":
		return r.KeyState.set(name, raw)
	case "key_spec":
		return setText(&r.KeySpec, name, raw)
	}
	return r.Sequenced.member(name, raw)
}

// Associated is what a ciphertext is bound to: at most one of the two forms.
type Associated struct {
	EncryptionContext           Context `json:"encryption_context,omitzero"`
	AdditionalAuthenticatedData string  `json:"additional_authenticated_data,omitempty"`
}

// member says whether the name is one of its own.
func (a *Associated) member(name, raw []byte) (mine bool, err error) {
	switch string(name) {
	case "encryption_context":
		return true, a.EncryptionContext.set(name, raw)
	case "additional_authenticated_data":
		return true, setText(&a.AdditionalAuthenticatedData, name, raw)
	}
	return false, nil
}

// CreateDataKeyRequest is the body of create-datakey and
// create-datakey-without-plaintext.
type CreateDataKeyRequest struct {
	Sequenced
	Associated
	KeyID         string  `json:"key_id"`
	DatakeyLength FlexInt `json:"datakey_length,omitzero"` // bits; wins over KeySpec
	KeySpec       string  `json:"key_spec,omitempty"`
}

func (r *CreateDataKeyRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "datakey_length":
		return r.DatakeyLength.set(name, raw)
	case "key_spec":
		return setText(&r.KeySpec, name, raw)
	}
	if mine, err := r.Associated.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}

// CreateDataKeysRequest is the body of create-datakeys and
// create-datakeys-without-plaintext.
type CreateDataKeysRequest struct {
	CreateDataKeyRequest
	Count FlexInt `json:"count"`
}

func (r *CreateDataKeysRequest) member(name, raw []byte) error {
	if string(name) == "count" {
		return r.Count.set(name, raw)
	}
	return r.CreateDataKeyRequest.member(name, raw)
}

// EncryptDataKeyRequest is the body of encrypt-datakey.
type EncryptDataKeyRequest struct {
	Sequenced
	Associated
	KeyID              string  `json:"key_id"`
	PlainText          Hex     `json:"plain_text"`           // the data key and after it its SHA-256
	DatakeyPlainLength FlexInt `json:"datakey_plain_length"` // bytes of the data key alone
}

func (r *EncryptDataKeyRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "plain_text":
		return r.PlainText.set(name, raw)
	case "datakey_plain_length":
		return r.DatakeyPlainLength.set(name, raw)
	}
	if mine, err := r.Associated.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}

// DecryptDataKeyRequest is the body of decrypt-datakey.
type DecryptDataKeyRequest struct {
	Sequenced
	Associated
	KeyID               string  `json:"key_id"`
	CipherText          Hex     `json:"cipher_text"`
	DatakeyCipherLength FlexInt `json:"datakey_cipher_length"` // bytes of the data key, despite its name
}

func (r *DecryptDataKeyRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "cipher_text":
		return r.CipherText.set(name, raw)
	case "datakey_cipher_length":
		return r.DatakeyCipherLength.set(name, raw)
	}
	if mine, err := r.Associated.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}

// EncryptDataRequest is the body of encrypt-data.
type EncryptDataRequest struct {
	Sequenced
	Associated
	Versioned
	KeyID               string `json:"key_id"`
	PlainText           Text   `json:"plain_text"` // 1 to 4096 bytes of UTF-8
	EncryptionAlgorithm string `json:"encryption_algorithm,omitempty"`
}

func (r *EncryptDataRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "plain_text":
		return r.PlainText.set(name, raw)
	case "encryption_algorithm":
		return setText(&r.EncryptionAlgorithm, name, raw)
	}
	if mine, err := r.Associated.member(name, raw); mine {
		return err
	}
	if mine, err := r.Versioned.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}

// DecryptDataRequest is the body of decrypt-data.
type DecryptDataRequest struct {
	Sequenced
	Associated
	Versioned
	KeyID               string `json:"key_id,omitempty"` // the ciphertext names its key; given, it must be that one
	CipherText          Base64 `json:"cipher_text"`
	EncryptionAlgorithm string `json:"encryption_algorithm,omitempty"`
}

func (r *DecryptDataRequest) member(name, raw []byte) error {
	switch string(name) {
	case "key_id":
		return setText(&r.KeyID, name, raw)
	case "cipher_text":
		return r.CipherText.set(name, raw)
	case "encryption_algorithm":
		return setText(&r.EncryptionAlgorithm, name, raw)
	}
	if mine, err := r.Associated.member(name, raw); mine {
		return err
	}
	if mine, err := r.Versioned.member(name, raw); mine {
		return err
	}
	return r.Sequenced.member(name, raw)
}

// RandomRequest is the body of gen-random.
type RandomRequest struct {
	Sequenced
	RandomDataLength FlexInt `json:"random_data_length"` // bits
}

func (r *RandomRequest) member(name, raw []byte) error {
	if string(name) == "random_data_length" {
		return r.RandomDataLength.set(name, raw)
	}
	return r.Sequenced.member(name, raw)
}
