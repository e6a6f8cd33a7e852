package fsm

import (
	"bytes"
	"slices"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The bounds of imports.
const (
	maxImportPairs    = 4                   // of one key at once
	maxImportFailures = 10                  // with one of them
	maxImportLife     = 25 * 60 * 60 * 1000 // milliseconds: a day, and what clocks differ by
	tokenIDSize       = 16
)

// findImporting returns a copy of a key whose material comes from elsewhere.
func findImporting(c *call, projectID, keyID string) (state.Key, *Refusal) {
	key, refusal := findOwnKey(c, projectID, keyID)
	switch {
	case refusal != nil && (refusal.Code != CodePendingDeletion || key.Origin == state.OriginExternal):
		return key, refusal
	case key.Origin != state.OriginExternal:
		return key, refuse(CodeNotExternal, "the material of this key is made by the service")
	default:
		return key, nil
	}
}

// openImport keeps a wrapping pair for a key that waits for its material.
func openImport(c *call, b command.OpenImport) (any, *Refusal) {
	key, refusal := findImporting(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil:
		return nil, refusal
	case key.State != state.PendingImport:
		return nil, refuse(CodeNotPendingImport, "the key is %s", key.State)
	case len(b.TokenID) != tokenIDSize || len(b.Blob) == 0 || len(b.Blob) > maxBlob ||
		len(b.PublicKey) == 0 || len(b.PublicKey) > maxPublicKey || len(b.MAC) != macSize:
		return nil, refuse(CodeInvalid, "these are no parameters of an import")
	case !c.Cluster().TakesRoots(b.RootGeneration):
		return nil, refuse(CodeInvalid, "the pair is wrapped under root generation %d, the cluster is at %d", b.RootGeneration, c.Cluster().RootGeneration)
	case b.Expires <= c.Now() || b.Expires > c.Now()+maxImportLife:
		return nil, refuse(CodeInvalid, "parameters of an import live for a day")
	}
	key.ImportPairs = append(slices.Clone(key.ImportPairs), state.ImportPair{
		TokenID: b.TokenID, Expires: b.Expires, RootGeneration: b.RootGeneration, Blob: b.Blob, PublicKey: b.PublicKey, MAC: b.MAC,
	})
	if over := len(key.ImportPairs) - maxImportPairs; over > 0 {
		discard(c, key.ID, dropPairs(&key, func(p state.ImportPair) bool { return slices.Equal(p.TokenID, key.ImportPairs[0].TokenID) })...)
	}
	key.Fence = c.index
	c.PutKey(&key)
	return keyResult(&key), nil
}

// dropPairs takes wrapping pairs off a key and returns the prints of what goes
// with them.
func dropPairs(key *state.Key, which func(state.ImportPair) bool) (gone []state.BlobPrint) {
	var kept []state.ImportPair
	for _, p := range key.ImportPairs {
		switch {
		case !which(p):
			kept = append(kept, p)
		case !p.Ended():
			gone = append(gone, pairPrint(p))
		}
	}
	key.ImportPairs = kept
	return gone
}

// importMaterial makes a key usable, or leaves it Disabled if it was so when
// its material went.
func importMaterial(c *call, b command.ImportMaterial) (any, *Refusal) {
	key, refusal := findImporting(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	if key.State != state.PendingImport {
		return nil, refuse(CodeNotPendingImport, "the key is %s", key.State)
	}
	if refusal := checkImportToken(c, &key, b.TokenID); refusal != nil {
		return nil, refusal
	}
	v := b.Version
	switch {
	case b.Expires != 0 && b.Expires <= c.Now():
		return nil, refuse(CodeImportExpiry, "the material would have expired already")
	case b.Expires != 0 && isPair(key.Spec):
		return nil, refuse(CodePairMaterial, "the material of an asymmetric key does not expire")
	case !isBlob(b.Fingerprint) || v.Number != 1 || len(v.Blob) == 0 || len(v.Blob) > maxBlob || len(v.MAC) != macSize ||
		!publicKeyFits(key.Spec, v.PublicKey):
		return nil, refuse(CodeInvalid, "the wrapped material is not that of the spec")
	case !c.Cluster().TakesRoots(v.RootGeneration):
		return nil, refuse(CodeInvalid, "the material is wrapped under root generation %d, the cluster is at %d", v.RootGeneration, c.Cluster().RootGeneration)
	case len(key.Fingerprint) != 0 && !state.SameRoots(key.Fingerprint, b.Fingerprint):
		return nil, refuse(CodeStale, "the root keys were rotated meanwhile; try again")
	case len(key.Fingerprint) != 0 && !bytes.Equal(key.Fingerprint, b.Fingerprint):
		return nil, refuse(CodeMaterialDiffers, "the key has had other material before, and only the same can be imported again")
	}
	key.State = state.Enabled
	if key.DisabledBefore {
		key.State, key.DisabledBefore = state.Disabled, false
	}
	key.PrimaryVersion, key.Versions = 1, 1
	key.Fingerprint, key.MaterialExpires, key.Fence = b.Fingerprint, b.Expires, c.index
	if isPair(key.Spec) { // nothing is ever imported again: such material cannot be deleted
		discard(c, key.ID, dropPairs(&key, func(state.ImportPair) bool { return true })...)
	}
	c.PutKey(&key)
	c.PutVersion(&state.Version{
		KeyID: key.ID, Number: 1, RootGeneration: v.RootGeneration, Blob: v.Blob, PublicKey: v.PublicKey,
		MAC: v.MAC, Created: c.Now(), Fence: c.index,
	})
	return keyResult(&key), nil
}

// checkImportToken makes sure that a token is one of the key and may be used.
func checkImportToken(c *call, key *state.Key, tokenID []byte) *Refusal {
	pair, ok := key.ImportPair(tokenID)
	switch {
	case !ok || pair.Expires <= c.Now():
		return refuse(CodeImportExpired, "the import token has expired; ask for new parameters")
	case pair.Ended():
		return refuse(CodeImportToken, "the import token has failed too often; ask for new parameters")
	default:
		return nil
	}
}

// countImportFailure brings a token nearer to its end, at which its wrapping
// pair goes. Of a token that has ended meanwhile nobody is told whether
// something would have opened.
func countImportFailure(c *call, b command.CountImportFailure) (any, *Refusal) {
	key, refusal := findImporting(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	if refusal := checkImportToken(c, &key, b.TokenID); refusal != nil {
		return nil, refusal
	}
	key.ImportPairs = slices.Clone(key.ImportPairs)
	at := slices.IndexFunc(key.ImportPairs, func(p state.ImportPair) bool { return bytes.Equal(p.TokenID, b.TokenID) })
	pair := &key.ImportPairs[at]
	if pair.Failures++; pair.Failures >= maxImportFailures {
		discard(c, key.ID, pairPrint(*pair))
		pair.Blob, pair.PublicKey, pair.MAC = nil, nil, nil
	}
	key.Fence = c.index
	c.PutKey(&key)
	return keyResult(&key), nil
}

// deleteMaterial erases the material of a symmetric key, which waits for an
// import from then on.
func deleteMaterial(c *call, b command.DeleteMaterial) (any, *Refusal) {
	key, refusal := findImporting(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil && refusal.Code == CodePendingDeletion:
		return nil, refuse(CodeMaterialState, "the key is pending deletion")
	case refusal != nil:
		return nil, refusal
	case isPair(key.Spec):
		return nil, refuse(CodePairMaterial, "the material of an asymmetric key cannot be deleted")
	case key.State != state.Enabled && key.State != state.Disabled:
		return nil, refuse(CodeMaterialState, "the key is %s", key.State)
	}
	discard(c, key.ID, eraseMaterial(c.Txn, c.index, &key)...)
	c.PutKey(&key)
	return keyResult(&key), nil
}

// eraseMaterial takes the wrapped material out of the state and returns the
// prints of what goes. Who was not Enabled, will not be by an import either: a
// key that waits for its deletion comes back from there Disabled.
func eraseMaterial(x *state.Txn, index uint64, key *state.Key) (gone []state.BlobPrint) {
	for _, v := range x.Versions(key.ID) {
		gone = append(gone, versionPrint(v))
		x.DeleteVersion(v)
	}
	key.DisabledBefore = key.State != state.Enabled
	if key.State != state.PendingDeletion {
		key.State = state.PendingImport
	}
	key.PrimaryVersion, key.MaterialExpires, key.Fence = 0, 0, index
	return gone
}

// expireImport erases what is over at the replicated time. What the scheduler
// saw must still be so.
func expireImport(c *call, b command.ExpireImport) (any, *Refusal) {
	found, ok := c.Key(b.KeyID)
	if !ok || found.ImportDue() != b.Due || b.Due == 0 {
		return nil, refuse(CodeStale, "nothing of an import was due then")
	}
	if b.Due > c.Now() {
		return nil, refuse(CodeStale, "nothing of the import is due yet")
	}
	key := *found
	gone := dropPairs(&key, func(p state.ImportPair) bool { return p.Expires <= c.Now() })
	key.Fence = c.index
	if key.MaterialExpires != 0 && key.MaterialExpires <= c.Now() {
		gone = append(gone, eraseMaterial(c.Txn, c.index, &key)...)
	}
	discard(c, key.ID, gone...)
	c.PutKey(&key)
	return keyResult(&key), nil
}
