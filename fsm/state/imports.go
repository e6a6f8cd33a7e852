package state

import "slices"

// ImportPair is one set of parameters for an import: the wrapping pair, and
// what the token that goes with it says.
type ImportPair struct {
	TokenID        []byte `cbor:"1,keyasint"` // 16 bytes
	Expires        int64  `cbor:"2,keyasint"` // the pair is erased then
	Failures       uint32 `cbor:"3,keyasint,omitempty"`
	RootGeneration uint32 `cbor:"4,keyasint"`
	Blob           []byte `cbor:"5,keyasint"` // wrapped private key; empty once the token has ended by failures
	PublicKey      []byte `cbor:"6,keyasint"` // DER SubjectPublicKeyInfo
	MAC            []byte `cbor:"7,keyasint"` // module-made, over the pair, the token and the key
}

// Ended tells whether too many failures have ended the token. It is remembered
// until it would have expired, so that it can be told from one that has.
func (p *ImportPair) Ended() bool { return len(p.Blob) == 0 }

// ImportPair returns the parameters that a token belongs to.
func (k *Key) ImportPair(tokenID []byte) (ImportPair, bool) {
	at := slices.IndexFunc(k.ImportPairs, func(p ImportPair) bool { return slices.Equal(p.TokenID, tokenID) })
	if at < 0 {
		return ImportPair{}, false
	}
	return k.ImportPairs[at], true
}

// ImportDue returns when imported material, or parameters for an import, have to
// go next; 0: never.
func (k *Key) ImportDue() int64 {
	due := k.MaterialExpires
	for _, p := range k.ImportPairs {
		due = earlier(due, p.Expires)
	}
	return due
}

// DeleteVersion removes a version, with its wrapped material.
func (x *Txn) DeleteVersion(v *Version) {
	remove(x, TableVersion, &x.versions, appendVersionKey(nil, v.KeyID, v.Number), v)
}
