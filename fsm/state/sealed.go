package state

import (
	"encoding/binary"
	"slices"
)

// What the root keys of the cluster's modules have wrapped, sealed or signed,
// of the whole state: for who verifies it, and for who puts it under other
// roots. A record with something of the kind belongs here; a test looks at the
// fields of every record.

// SealedPlace is where in the state something sealed lies: the table and the
// key of its record. The zero value comes before all of them.
type SealedPlace struct {
	Table Table  `cbor:"1,keyasint"`
	Key   []byte `cbor:"2,keyasint"`
}

// SealedRecord is a record with something that depends on the root keys. It is
// a *[Cluster], *[AccessKey], *[Authenticator], *[Version], or *[Key] (one that
// awaits an import, or had one).
type SealedRecord any

// sealedTables are the tables with such records, in the order of the walk.
var sealedTables = [...]Table{TableCluster, TableAccessKey, TableAuthenticator, TableKey, TableVersion}

// NextSealed looks at up to limit records that come after a place and returns
// those that hold something sealed, the place of the last one that it looked
// at, and whether there are more. Keys that hold nothing are looked at as well.
func (v *View) NextSealed(after SealedPlace, limit int) (records []SealedRecord, last SealedPlace, more bool) {
	last = after
	looked := 0
	for _, table := range sealedTables {
		if before(table, after.Table) {
			continue
		}
		var from []byte
		if table == after.Table {
			from = after.Key
		}
		found := func(key string, record SealedRecord, holds bool) (goOn bool) {
			if looked == limit {
				more = true
				return false
			}
			looked++
			last = SealedPlace{Table: table, Key: []byte(key)}
			if holds {
				records = append(records, record)
			}
			return true
		}
		switch table {
		case TableCluster:
			if v.cluster != nil && from == nil {
				found("\x01", v.cluster, true)
			}
		case TableAccessKey:
			walkAfter(&v.accessKeys, from, func(key string, a *AccessKey) bool { return found(key, a, true) })
		case TableAuthenticator:
			walkAfter(&v.authenticators, from, func(key string, a *Authenticator) bool { return found(key, a, true) })
		case TableKey:
			walkAfter(&v.keys, from, func(key string, k *Key) bool {
				return found(key, k, len(k.ImportPairs) > 0 || len(k.Fingerprint) > 0)
			})
		case TableVersion:
			walkAfter(&v.versions, from, func(key string, version *Version) bool { return found(key, version, true) })
		}
		if more {
			return records, last, true
		}
	}
	return records, last, false
}

// before tells whether a table comes before another in the order of the walk.
func before(table, other Table) bool {
	return slices.Index(sealedTables[:], table) < slices.Index(sealedTables[:], other) // 0, the table of nothing, is at -1
}

// walkAfter calls f for the records whose keys come after from (nil: all) until
// it returns false.
func walkAfter[T any](t *table[T], from []byte, f func(key string, record T) bool) {
	for key, record := range t.up(from) {
		if from != nil && key == string(from) {
			continue
		}
		if !f(key, record) {
			return
		}
	}
}

// SealedCount returns how many records [View.NextSealed] walks over in all,
// those of keys that hold nothing included.
func (v *View) SealedCount() int {
	n := v.accessKeys.size() + v.authenticators.size() + v.keys.size() + v.versions.size()
	if v.cluster != nil {
		n++
	}
	return n
}

// SealedWhat is a kind of thing that depends on the root keys.
type SealedWhat uint8

// The kinds. A wrapping pair of an import lives a day and is never put under
// other roots; the others are.
const (
	SealedVersion     SealedWhat = 1
	SealedAccessKey   SealedWhat = 2
	SealedFactor      SealedWhat = 3
	SealedNextFactor  SealedWhat = 4
	SealedCAKey       SealedWhat = 5
	SealedGossip      SealedWhat = 6
	SealedGossipOther SealedWhat = 7
	SealedFingerprint SealedWhat = 8
	SealedImport      SealedWhat = 9
	SealedCAKeyNext   SealedWhat = 10
)

// SealedPart is one such thing of a record.
type SealedPart struct {
	What       SealedWhat
	ID         string // of the record: of the key, the access key, the user, the cluster
	BoundTo    string // what its seal is bound to
	Number     uint32 // of a version
	Generation uint32 // of the roots that it is under
	Bytes      []byte // the seal, or the wrapped material
}

// SealedParts returns what of a record depends on the root keys. Parts that are
// empty are left out.
func SealedParts(record SealedRecord) (parts []SealedPart) {
	seal := func(what SealedWhat, id, boundTo string, b []byte) {
		if len(b) > 0 {
			parts = append(parts, SealedPart{What: what, ID: id, BoundTo: boundTo, Generation: sealGeneration(b), Bytes: b})
		}
	}
	switch r := record.(type) {
	case *Cluster:
		seal(SealedCAKey, r.ID, r.ID, r.SealedCAKey)
		seal(SealedCAKeyNext, r.ID, r.ID, r.SealedCAKeyNext)
		seal(SealedGossip, r.ID, r.ID, r.SealedGossip)
		seal(SealedGossipOther, r.ID, r.ID, r.SealedGossipOther)
	case *AccessKey:
		seal(SealedAccessKey, r.ID, r.ID, r.SealedSecret)
	case *Authenticator:
		seal(SealedFactor, r.UserID, r.ID, r.Sealed)
		seal(SealedNextFactor, r.UserID, r.NextID, r.NextSealed)
	case *Key:
		seal(SealedFingerprint, r.ID, r.ID, r.Fingerprint)
		for _, p := range r.ImportPairs {
			if !p.Ended() {
				parts = append(parts, SealedPart{What: SealedImport, ID: r.ID, Generation: p.RootGeneration, Bytes: p.Blob})
			}
		}
	case *Version:
		parts = append(parts, SealedPart{What: SealedVersion, ID: r.KeyID, Number: r.Number, Generation: r.RootGeneration, Bytes: r.Blob})
	}
	return parts
}

// sealGeneration reads the generation in the header of a seal (a version byte,
// then four bytes, see hsm/envelope); 0: it is none.
func sealGeneration(b []byte) uint32 {
	if len(b) < 5 || b[0] != 1 {
		return 0
	}
	return binary.BigEndian.Uint32(b[1:])
}

// SameRoots tells whether two seals are under one generation of the roots.
func SameRoots(a, b []byte) bool { return sealGeneration(a) == sealGeneration(b) }

// SealedUnder counts what is under a generation of the roots, in all of the
// state, and of that the wrapping pairs of imports.
func (v *View) SealedUnder(generation uint32) (all, imports int) {
	for place, more := (SealedPlace{}), true; more; {
		var records []SealedRecord
		records, place, more = v.NextSealed(place, 1024)
		for _, record := range records {
			for _, part := range SealedParts(record) {
				if part.Generation != generation {
					continue
				}
				all++
				if part.What == SealedImport {
					imports++
				}
			}
		}
	}
	return all, imports
}
