package wire

import (
	"slices"
	"strconv"
)

// Reply is one of the reply types of this file. Clients decode them with
// encoding/json; the server appends them to a buffer of its own, so that no
// encoder keeps a copy of what is in them.
type Reply interface {
	// AppendJSON appends the reply. It makes room once, before the first byte,
	// so that a buffer that has to grow leaves no part of a secret behind.
	AppendJSON(dst []byte) []byte
}

// KeyDetail is a key as describe-key and list-keys show it. Every value is a
// string; what is not set is empty. Times are Unix milliseconds.
type KeyDetail struct {
	KeyID                  string `json:"key_id"`
	DomainID               string `json:"domain_id"` // the owner account
	KeyAlias               string `json:"key_alias"`
	Realm                  string `json:"realm"` // the region
	KeySpec                string `json:"key_spec"`
	KeyUsage               string `json:"key_usage"`
	KeyDescription         string `json:"key_description"`
	CreationDate           string `json:"creation_date"`
	ScheduledDeletionDate  string `json:"scheduled_deletion_date"`
	KeyState               string `json:"key_state"`        // 1 to 5
	DefaultKeyFlag         string `json:"default_key_flag"` // 1: a default master key
	KeyType                string `json:"key_type"`
	ExpirationTime         string `json:"expiration_time"`
	Origin                 string `json:"origin"`
	KeyRotationEnabled     string `json:"key_rotation_enabled"` // true or false
	SysEnterpriseProjectID string `json:"sys_enterprise_project_id"`
	KeystoreID             string `json:"keystore_id"`
	ProtectionLevel        string `json:"protection_level"`    // HSM or SOFTWARE; an extension
	DeletionProtection     string `json:"deletion_protection"` // true or false; an extension
}

func (k *KeyDetail) appendTo(dst []byte) []byte {
	dst = append(dst, '{')
	for _, m := range [...]struct{ name, value string }{
		{"key_id", k.KeyID},
		{"domain_id", k.DomainID},
		{"key_alias", k.KeyAlias},
		{"realm", k.Realm},
		{"key_spec", k.KeySpec},
		{"key_usage", k.KeyUsage},
		{"key_description", k.KeyDescription},
		{"creation_date", k.CreationDate},
		{"scheduled_deletion_date", k.ScheduledDeletionDate},
		{"key_state", k.KeyState},
		{"default_key_flag", k.DefaultKeyFlag},
		{"key_type", k.KeyType},
		{"expiration_time", k.ExpirationTime},
		{"origin", k.Origin},
		{"key_rotation_enabled", k.KeyRotationEnabled},
		{"sys_enterprise_project_id", k.SysEnterpriseProjectID},
		{"keystore_id", k.KeystoreID},
		{"protection_level", k.ProtectionLevel},
		{"deletion_protection", k.DeletionProtection},
	} {
		dst = appendMember(dst, m.name, m.value)
	}
	return append(dst, '}')
}

// DescribeKeyReply answers describe-key.
type DescribeKeyReply struct {
	KeyInfo KeyDetail `json:"key_info"`
}

// AppendJSON implements [Reply].
func (r DescribeKeyReply) AppendJSON(dst []byte) []byte {
	return append(r.KeyInfo.appendTo(append(dst, `{"key_info":`...)), '}')
}

// CreateKeyReply answers create-key.
type CreateKeyReply struct {
	KeyInfo struct {
		KeyID    string `json:"key_id"`
		DomainID string `json:"domain_id"`
	} `json:"key_info"`
}

// AppendJSON implements [Reply].
func (r CreateKeyReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, `{"key_info":{`...), "key_id", r.KeyInfo.KeyID)
	return append(appendMember(dst, "domain_id", r.KeyInfo.DomainID), "}}"...)
}

// KeyStateReply answers enable-key and disable-key.
type KeyStateReply struct {
	KeyInfo struct {
		KeyID    string `json:"key_id"`
		KeyState string `json:"key_state"`
	} `json:"key_info"`
}

// AppendJSON implements [Reply].
func (r KeyStateReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, `{"key_info":{`...), "key_id", r.KeyInfo.KeyID)
	return append(appendMember(dst, "key_state", r.KeyInfo.KeyState), "}}"...)
}

// ListKeysReply answers list-keys. On the last page Truncated is "false" and
// NextMarker empty: some clients look at the one, some at the other.
type ListKeysReply struct {
	Keys       []string    `json:"keys"`
	KeyDetails []KeyDetail `json:"key_details"`
	NextMarker string      `json:"next_marker"`
	Truncated  string      `json:"truncated"` // true or false
	Total      int         `json:"total"`     // of all pages
}

// AppendJSON implements [Reply].
func (r ListKeysReply) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"keys":[`...)
	for i, id := range r.Keys {
		dst = AppendString(appendComma(dst, i), id)
	}
	dst = append(dst, `],"key_details":[`...)
	for i := range r.KeyDetails {
		dst = r.KeyDetails[i].appendTo(appendComma(dst, i))
	}
	dst = append(dst, ']')
	dst = appendMember(dst, "next_marker", r.NextMarker)
	dst = appendMember(dst, "truncated", r.Truncated)
	return append(strconv.AppendInt(appendName(dst, "total"), int64(r.Total), 10), '}')
}

// CreateDataKeyReply answers create-datakey and, without PlainText,
// create-datakey-without-plaintext.
type CreateDataKeyReply struct {
	KeyID      string `json:"key_id"`
	PlainText  Hex    `json:"plain_text,omitempty"`
	CipherText Hex    `json:"cipher_text"`
}

// AppendJSON implements [Reply].
func (r CreateDataKeyReply) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, 128+len(r.KeyID)+2*len(r.PlainText)+2*len(r.CipherText))
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	if len(r.PlainText) > 0 {
		dst = r.PlainText.appendTo(appendName(dst, "plain_text"))
	}
	return append(r.CipherText.appendTo(appendName(dst, "cipher_text")), '}')
}

// Wipe zeroes the data key.
func (r CreateDataKeyReply) Wipe() { clear(r.PlainText) }

// DataKey is one of many data keys; PlainText is empty where it is not told.
type DataKey struct {
	PlainText  Hex `json:"plain_text,omitempty"`
	CipherText Hex `json:"cipher_text"`
}

// CreateDataKeysReply answers create-datakeys and
// create-datakeys-without-plaintext.
type CreateDataKeysReply struct {
	KeyID    string    `json:"key_id"`
	Datakeys []DataKey `json:"datakeys"`
}

// AppendJSON implements [Reply].
func (r CreateDataKeysReply) AppendJSON(dst []byte) []byte {
	size := 64 + len(r.KeyID)
	for i := range r.Datakeys {
		size += 48 + 2*len(r.Datakeys[i].PlainText) + 2*len(r.Datakeys[i].CipherText)
	}
	dst = slices.Grow(dst, size) // so that no copy of a data key is left behind
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = append(appendName(dst, "datakeys"), '[')
	for i := range r.Datakeys {
		k := &r.Datakeys[i]
		dst = append(appendComma(dst, i), '{')
		if len(k.PlainText) > 0 {
			dst = k.PlainText.appendTo(appendName(dst, "plain_text"))
		}
		dst = append(k.CipherText.appendTo(appendName(dst, "cipher_text")), '}')
	}
	return append(dst, "]}"...)
}

// Wipe zeroes the data keys.
func (r CreateDataKeysReply) Wipe() {
	for i := range r.Datakeys {
		clear(r.Datakeys[i].PlainText)
	}
}

// EncryptDataKeyReply answers encrypt-datakey.
type EncryptDataKeyReply struct {
	KeyID         string `json:"key_id"`
	CipherText    Hex    `json:"cipher_text"`
	DatakeyLength string `json:"datakey_length"` // bytes
}

// AppendJSON implements [Reply].
func (r EncryptDataKeyReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = r.CipherText.appendTo(appendName(dst, "cipher_text"))
	return append(appendMember(dst, "datakey_length", r.DatakeyLength), '}')
}

// DecryptDataKeyReply answers decrypt-datakey.
type DecryptDataKeyReply struct {
	DataKey       Hex    `json:"data_key"`
	DatakeyLength string `json:"datakey_length"` // bytes
	DatakeyDgst   Hex    `json:"datakey_dgst"`   // SHA-256 of the data key
}

// AppendJSON implements [Reply].
func (r DecryptDataKeyReply) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, 128+2*len(r.DataKey)+2*len(r.DatakeyDgst))
	dst = r.DataKey.appendTo(appendName(append(dst, '{'), "data_key"))
	dst = appendMember(dst, "datakey_length", r.DatakeyLength)
	return append(r.DatakeyDgst.appendTo(appendName(dst, "datakey_dgst")), '}')
}

// Wipe zeroes the data key.
func (r DecryptDataKeyReply) Wipe() { clear(r.DataKey) }

// EncryptDataReply answers encrypt-data.
type EncryptDataReply struct {
	KeyID      string `json:"key_id"`
	CipherText Base64 `json:"cipher_text"`
}

// AppendJSON implements [Reply].
func (r EncryptDataReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	return append(r.CipherText.appendTo(appendName(dst, "cipher_text")), '}')
}

// DecryptDataReply answers decrypt-data. Where the plaintext is not UTF-8,
// PlainTextBase64 is the one that counts.
type DecryptDataReply struct {
	KeyID           string `json:"key_id"`
	PlainText       Text   `json:"plain_text"`
	PlainTextBase64 Base64 `json:"plain_text_base64"`
}

// AppendJSON implements [Reply].
func (r DecryptDataReply) AppendJSON(dst []byte) []byte {
	// A byte of text takes at most six, one of base64 less than two.
	dst = slices.Grow(dst, 128+len(r.KeyID)+6*len(r.PlainText)+2*len(r.PlainTextBase64))
	dst = appendMember(append(dst, '{'), "key_id", r.KeyID)
	dst = AppendString(appendName(dst, "plain_text"), r.PlainText)
	return append(r.PlainTextBase64.appendTo(appendName(dst, "plain_text_base64")), '}')
}

// Wipe zeroes both forms of the plaintext.
func (r DecryptDataReply) Wipe() {
	clear(r.PlainText)
	clear(r.PlainTextBase64)
}

// RandomReply answers gen-random.
type RandomReply struct {
	RandomData Hex `json:"random_data"`
}

// AppendJSON implements [Reply].
func (r RandomReply) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, 32+2*len(r.RandomData))
	return append(r.RandomData.appendTo(appendName(append(dst, '{'), "random_data")), '}')
}

// Wipe zeroes the random bytes.
func (r RandomReply) Wipe() { clear(r.RandomData) }

// ErrorReply is the body of every refusal: the nested form of the service and
// the flat one of its gateway in one, since clients look for either.
type ErrorReply struct {
	Error struct {
		ErrorCode string `json:"error_code"`
		ErrorMsg  string `json:"error_msg"`
	} `json:"error"`
	ErrorCode string `json:"error_code"`
	ErrorMsg  string `json:"error_msg"`
	RequestID string `json:"request_id"`
}

// NewError returns the reply with both forms filled in.
func NewError(code, message, requestID string) ErrorReply {
	r := ErrorReply{ErrorCode: code, ErrorMsg: message, RequestID: requestID}
	r.Error.ErrorCode, r.Error.ErrorMsg = code, message
	return r
}

// AppendJSON implements [Reply].
func (r ErrorReply) AppendJSON(dst []byte) []byte {
	dst = appendMember(append(dst, `{"error":{`...), "error_code", r.Error.ErrorCode)
	dst = append(appendMember(dst, "error_msg", r.Error.ErrorMsg), '}')
	dst = appendMember(dst, "error_code", r.ErrorCode)
	dst = appendMember(dst, "error_msg", r.ErrorMsg)
	return append(appendMember(dst, "request_id", r.RequestID), '}')
}

// appendName appends the name of an object's next member and the colon.
func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	dst = append(append(dst, '"'), name...)
	return append(dst, '"', ':')
}

func appendMember(dst []byte, name, value string) []byte {
	return AppendString(appendName(dst, name), value)
}

func appendComma(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return dst
}
