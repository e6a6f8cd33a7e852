package fsm

import (
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The bounds of rotation. A dialect takes a part of the days.
const (
	minRotationDays = 7
	maxRotationDays = 2560
	maxVersions     = 4000 // of one key
)

// enableRotation has a key rotated every so many days, the first time after so many.
func enableRotation(c *call, b command.EnableRotation) (any, *Refusal) {
	key, refusal := findRotating(c, b.ProjectID, b.KeyID, b.Days)
	if refusal != nil {
		return nil, refusal
	}
	if key.RotationDays != 0 {
		return nil, refuse(CodeRotationOn, "the key is rotated every %d days already", key.RotationDays)
	}
	key.RotationDays, key.RotationDue = b.Days, c.Now()+int64(b.Days)*day
	c.PutKey(&key)
	return keyResult(&key), nil
}

// setRotationInterval changes the days; a new period begins.
func setRotationInterval(c *call, b command.SetRotationInterval) (any, *Refusal) {
	key, refusal := findRotating(c, b.ProjectID, b.KeyID, b.Days)
	if refusal != nil {
		return nil, refusal
	}
	if key.RotationDays == 0 {
		return nil, refuse(CodeRotationOff, "the rotation of the key is not enabled")
	}
	key.RotationDays, key.RotationDue = b.Days, c.Now()+int64(b.Days)*day
	c.PutKey(&key)
	return keyResult(&key), nil
}

// disableRotation ends it. The versions stay, and so does their count.
func disableRotation(c *call, b command.DisableRotation) (any, *Refusal) {
	key, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	if key.RotationDays == 0 {
		return nil, refuse(CodeRotationOff, "the rotation of the key is not enabled")
	}
	key.RotationDays, key.RotationDue = 0, 0
	c.PutKey(&key)
	return keyResult(&key), nil
}

// rotateKey adds a version on demand. A schedule goes on as it was.
func rotateKey(c *call, b command.RotateKey) (any, *Refusal) {
	key, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	if key.Origin != state.OriginKMS {
		return nil, refuse(CodeRotationExternal, "imported material is not rotated: make another key")
	}
	if !isSymmetric(key.Spec) && !isPair(key.Spec) {
		// A MAC does not say which version made it.
		return nil, refuse(CodeRotationAsymmetric, "a key of the spec %s is not rotated", key.Spec)
	}
	if refusal := checkInUse(&key); refusal != nil {
		return nil, refusal
	}
	return addVersion(c, &key, b.Version)
}

// rotateDueKey adds the version that was due and sets the next due time. A due
// time is done once: whoever comes second finds another one in the record.
func rotateDueKey(c *call, b command.RotateDueKey) (any, *Refusal) {
	found, ok := c.Key(b.KeyID)
	if !ok || found.State != state.Enabled || found.RotationDays == 0 || found.RotationDue != b.Due {
		return nil, refuse(CodeStale, "no rotation of that key was due then")
	}
	if found.RotationDue > c.Now() {
		return nil, refuse(CodeStale, "the rotation is not due yet")
	}
	key := *found
	key.RotationDue = c.Now() + int64(key.RotationDays)*day
	return addVersion(c, &key, b.Version)
}

// addVersion writes a key with its next version, which is primary unless the
// key is one whose callers name the version.
func addVersion(c *call, key *state.Key, v command.NewVersion) (any, *Refusal) {
	switch {
	case v.Number != key.Versions+1:
		return nil, refuse(CodeStale, "the next version of the key is %d", key.Versions+1)
	case v.Number > maxVersions:
		return nil, refuse(CodeQuotaExceeded, "the key has all %d versions that it may have", maxVersions)
	case len(v.Blob) == 0 || len(v.Blob) > maxBlob || len(v.MAC) != macSize || !publicKeyFits(key.Spec, v.PublicKey):
		return nil, refuse(CodeInvalid, "the wrapped material is not that of the spec")
	case !c.Cluster().TakesRoots(v.RootGeneration):
		return nil, refuse(CodeInvalid, "the material is wrapped under root generation %d, the cluster is at %d", v.RootGeneration, c.Cluster().RootGeneration)
	}
	key.Versions = v.Number
	if isSymmetric(key.Spec) {
		key.PrimaryVersion = v.Number
	}
	key.LastRotation, key.Rotations, key.Fence = c.Now(), key.Rotations+1, c.index
	c.PutKey(key)
	c.PutVersion(&state.Version{
		KeyID: key.ID, Number: v.Number, RootGeneration: v.RootGeneration, Blob: v.Blob, PublicKey: v.PublicKey,
		MAC: v.MAC, Created: c.Now(), Fence: c.index,
	})
	return keyResult(key), nil
}

// findRotating returns a copy of a key whose rotation may be set now.
func findRotating(c *call, projectID, keyID string, days uint32) (state.Key, *Refusal) {
	key, refusal := findOwnKey(c, projectID, keyID)
	switch {
	case refusal != nil:
		return key, refusal
	case strings.HasPrefix(key.Spec, "RSA_"):
		return key, refuse(CodeRotationRSA, "an RSA key is not rotated by a schedule")
	case !isSymmetric(key.Spec):
		return key, refuse(CodeRotationAsymmetric, "a key of the spec %s is not rotated by a schedule", key.Spec)
	case key.Origin != state.OriginKMS:
		return key, refuse(CodeRotationExternal, "imported material is not rotated")
	case days < minRotationDays || days > maxRotationDays:
		return key, refuse(CodeInvalid, "a key is rotated every %d to %d days", minRotationDays, maxRotationDays)
	}
	return key, checkInUse(&key)
}

// checkInUse refuses what is done to Enabled keys only.
func checkInUse(key *state.Key) *Refusal {
	switch key.State {
	case state.Enabled:
		return nil
	case state.Disabled:
		return refuse(CodeKeyDisabled, "the key is disabled")
	case state.PendingDeletion:
		return refuse(CodePendingDeletion, "the key is pending deletion")
	default:
		return refuse(CodePendingImport, "the key has no material")
	}
}

// isSymmetric tells whether keys of a spec encrypt with what they decrypt with:
// they have a primary version, which rotation moves.
func isSymmetric(spec string) bool { return spec == state.SpecAES256 || spec == "SM4" }
