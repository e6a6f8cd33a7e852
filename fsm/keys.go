package fsm

import (
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// createKey makes a key, Enabled, with its first version, or Pending import
// without one. It is not fenced:
// nobody was allowed anything with a key that did not exist.
func createKey(c *call, b command.CreateKey) (any, *Refusal) {
	if refusal := checkNewKey(c, b); refusal != nil {
		return nil, refusal
	}
	project, _ := c.Project(b.ProjectID)
	if _, used := c.Key(b.KeyID); used {
		return nil, refuse(CodeInvalid, "the key id was given out before")
	}
	if _, used := c.Tombstone(b.KeyID); used {
		return nil, refuse(CodeInvalid, "the key id was given out before")
	}
	if _, taken := c.KeyByName(b.ProjectID, b.Name); taken {
		return nil, refuse(CodeAlreadyExists, "a key of that name exists in the project")
	}
	if c.KeyCount(b.ProjectID) >= int(project.KeyQuota) {
		return nil, refuse(CodeQuotaExceeded, "the project has all %d keys that it may have", project.KeyQuota)
	}

	key := &state.Key{
		ID:          b.KeyID,
		ProjectID:   b.ProjectID,
		DomainID:    project.DomainID,
		Name:        b.Name,
		Description: b.Description,
		Spec:        b.Spec,
		Usage:       b.Usage,
		Origin:      b.Origin,
		Level:       b.Level,
		State:       state.PendingImport,
		CreatorID:   c.caller.UserID,
		Created:     c.Now(),
		Sequence:    c.NextSequence(b.ProjectID),
		Protected:   b.Protected,
	}
	if b.Origin == state.OriginKMS {
		key.State, key.PrimaryVersion, key.Versions = state.Enabled, 1, 1
		c.PutVersion(&state.Version{
			KeyID:          b.KeyID,
			Number:         1,
			RootGeneration: b.RootGeneration,
			Blob:           b.Blob,
			PublicKey:      b.PublicKey,
			MAC:            b.MAC,
			Created:        c.Now(),
		})
	}
	c.PutKey(key)
	return keyResult(key), nil
}

// checkNewKey holds the fields of a new key to their bounds.
func checkNewKey(c *call, b command.CreateKey) *Refusal {
	if refusal := checkCallersProject(c, b.ProjectID); refusal != nil {
		return refusal
	}
	switch {
	case !isUUID(b.KeyID):
		return refuse(CodeInvalid, "the key id is not a UUID in lower case")
	case !isKeyName(b.Name):
		return refuse(CodeInvalid, "%s", nameRule)
	case len(b.Description) > maxDescription:
		return refuse(CodeInvalid, "a description has at most %d bytes", maxDescription)
	case !fits(b.Spec, b.Usage):
		return refuse(CodeInvalid, "no key of that spec and usage can be made")
	case softwareOnly(b.Spec) && b.Level != state.LevelSoftware:
		return refuse(CodeInvalid, "keys of the spec %s have the protection level SOFTWARE", b.Spec)
	case b.Origin != state.OriginKMS && b.Origin != state.OriginExternal:
		return refuse(CodeInvalid, "no key of that origin can be made")
	case b.Level != state.LevelHSM && b.Level != state.LevelSoftware:
		return refuse(CodeInvalid, "no such protection level")
	case b.Origin == state.OriginExternal && !Importable(b.Spec):
		return refuse(CodeInvalid, "material of the spec %s is not imported", b.Spec)
	case b.Origin == state.OriginExternal:
		if len(b.Blob) != 0 || len(b.MAC) != 0 || len(b.PublicKey) != 0 || b.RootGeneration != 0 {
			return refuse(CodeInvalid, "a key whose material is imported is made without")
		}
		return nil
	case len(b.Blob) == 0 || len(b.Blob) > maxBlob || len(b.MAC) != macSize || !publicKeyFits(b.Spec, b.PublicKey):
		return refuse(CodeInvalid, "the wrapped material is not that of the spec")
	case !c.Cluster().TakesRoots(b.RootGeneration):
		return refuse(CodeInvalid, "the material is wrapped under root generation %d, the cluster is at %d", b.RootGeneration, c.Cluster().RootGeneration)
	default:
		return nil
	}
}

// enableKey takes a key from Disabled to Enabled. It is not fenced: it only
// allows what was refused. The fence of an earlier disable stays on the record.
// A rotation that came due meanwhile is overdue from now on.
func enableKey(c *call, b command.EnableKey) (any, *Refusal) {
	key, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	if key.State != state.Disabled {
		return nil, refuse(CodeNotDisabled, "the key is %s", key.State)
	}
	key.State = state.Enabled
	c.PutKey(&key)
	return keyResult(&key), nil
}

// disableKey takes a key from Enabled to Disabled.
func disableKey(c *call, b command.DisableKey) (any, *Refusal) {
	key, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	if key.State != state.Enabled {
		return nil, refuse(CodeNotEnabled, "the key is %s", key.State)
	}
	key.State = state.Disabled
	key.Fence = c.index
	c.PutKey(&key)
	return keyResult(&key), nil
}

// findKey returns a copy of a key that the caller's project has.
func findKey(c *call, projectID, keyID string) (state.Key, *Refusal) {
	if refusal := checkCallersProject(c, projectID); refusal != nil {
		return state.Key{}, refusal
	}
	key, ok := c.Key(keyID)
	if !ok || key.ProjectID != projectID {
		return state.Key{}, refuse(CodeNotFound, "the project has no such key")
	}
	return *key, nil
}

// findOwnKey is findKey for what is not done to the default master key of a
// service, nor to a key that waits for its deletion.
func findOwnKey(c *call, projectID, keyID string) (state.Key, *Refusal) {
	key, refusal := findKey(c, projectID, keyID)
	switch {
	case refusal != nil:
		return key, refusal
	case key.Default:
		return key, refuse(CodeDefaultKey, "this is not done to the default master key of a service")
	case key.State == state.PendingDeletion:
		return key, refuse(CodePendingDeletion, "the key is pending deletion")
	default:
		return key, nil
	}
}

// checkCallersProject makes sure that the write is in the project for which
// the caller was authorised.
func checkCallersProject(c *call, projectID string) *Refusal {
	if projectID != c.caller.ProjectID {
		return refuse(CodeInvalid, "the write is in another project than the call")
	}
	return nil
}

func keyResult(k *state.Key) KeyResult {
	return KeyResult{KeyID: k.ID, DomainID: k.DomainID, Name: k.Name, State: k.State, Created: k.Created}
}

// The bounds of a key's fields, in bytes.
const (
	maxKeyName     = 255
	maxDescription = 8192
	maxBlob        = 8192
	maxPublicKey   = 1024
	macSize        = 32

	defaultKeySuffix = "/default" // reserved for the default master keys of services

	nameRule = "a name has 1 to 255 of A-Z a-z 0-9 : / _ -, is not alias/ alone, and does not end in " + defaultKeySuffix
)

// isKeyName tells whether a key may be given that name.
func isKeyName(name string) bool {
	if len(name) == 0 || len(name) > maxKeyName || name == state.AliasPrefix || strings.HasSuffix(name, defaultKeySuffix) {
		return false
	}
	return only(name, func(b byte) bool {
		return isLetter(b) || isDigit(b) || b == ':' || b == '/' || b == '_' || b == '-'
	})
}
