package huawei

import (
	"strings"
	"unicode/utf8"

	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

const (
	maxAlias       = 255 // characters
	maxDescription = 255 // characters
	maxAAD         = 128 // bytes of additional_authenticated_data
)

const (
	aliasPrefix   = "alias/"   // marks a key reference as a name
	defaultSuffix = "/default" // ends the names of default master keys
)

// keyRef checks a key_id and brings it into the form that the service takes: an
// id or alias/NAME. A URN must be of this region and of the caller's account:
// elsewhere there is no such key to be found from here.
func (x *exchange) keyRef(keyID string) (string, error) {
	switch {
	case keyID == "":
		return "", missing("key_id")
	case isUUID(keyID, isLowerAlphanumeric):
		return keyID, nil
	}
	if name, ok := strings.CutPrefix(keyID, aliasPrefix); ok && isAlias(name) {
		return keyID, nil
	}
	if rest, ok := strings.CutPrefix(keyID, "kms:"); ok {
		parts := strings.SplitN(rest, ":", 4)
		if len(parts) == 4 && parts[2] == "alias" && isAlias(parts[3]) {
			if parts[0] != x.region() || parts[1] != x.caller.DomainID {
				return "", kms.Refuse(kms.KindNotFound, "the key does not exist")
			}
			return aliasPrefix + parts[3], nil
		}
	}
	return "", invalid("key_id", "must be a key's id, alias/NAME, or the URN of an alias")
}

// isUUID tells whether s has the shape of a UUID, of the given characters.
func isUUID(s string, isDigit func(c byte) bool) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch i {
		case 8, 13, 18, 23:
			if s[i] != '-' {
				return false
			}
		default:
			if !isDigit(s[i]) {
				return false
			}
		}
	}
	return true
}

func isLowerAlphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func isAlphanumeric(c byte) bool { return isLowerAlphanumeric(c) || 'A' <= c && c <= 'Z' }

// isAlias is the pattern ^[a-zA-Z0-9:/_-]{1,255}$.
func isAlias(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && !strings.ContainsRune(":/_-", rune(c)) {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= maxAlias
}

func checkSequence(sequence string) error {
	if sequence != "" && !isUUID(sequence, isAlphanumeric) {
		return invalid("sequence", "must have 36 characters and the shape of a UUID")
	}
	return nil
}

func checkAlias(alias string) error {
	switch {
	case alias == "":
		return missing("key_alias")
	case !isAlias(alias) || alias == aliasPrefix:
		return invalid("key_alias", "must have 1 to 255 characters out of a-z, A-Z, 0-9, colon, slash, underscore and hyphen")
	case strings.HasSuffix(alias, defaultSuffix):
		return invalid("key_alias", "must not end with "+defaultSuffix+", which is for default master keys")
	}
	return nil
}

func checkDescription(description string) error {
	if utf8.RuneCountInString(description) > maxDescription {
		return invalid("key_description", "must have at most 255 characters")
	}
	return nil
}

// associated is what the ciphertext is bound to.
func associated(a *wire.Associated) (envelope.Context, error) {
	given := a.EncryptionContext
	text := a.AdditionalAuthenticatedData
	switch {
	case len(text) > maxAAD:
		return envelope.Context{}, invalid("additional_authenticated_data", "must have at most 128 bytes")
	case text != "" && (given.String != "" || len(given.Map) > 0):
		return envelope.Context{}, invalid("encryption_context", "cannot be given together with additional_authenticated_data")
	case text == "":
		text = given.String
	}
	var bound envelope.Context
	var err error
	if len(given.Map) > 0 {
		bound, err = envelope.MapContext(given.Map)
	} else {
		bound, err = envelope.StringContext(text)
	}
	if err != nil {
		return envelope.Context{}, invalid("encryption_context", "is longer than 8192 bytes")
	}
	return bound, nil
}
