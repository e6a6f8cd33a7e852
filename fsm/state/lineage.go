package state

// Founding is one founding of a cluster: the first, or one from what there was of
// it before, by a restore or a recovery. Generations have numbers that two of them
// can share, since one backup can be restored twice; foundings are told apart by
// an id that is drawn at random outside the state.
type Founding struct {
	ID         string `cbor:"1,keyasint"` // 32 lower-case hex digits
	Generation uint32 `cbor:"2,keyasint"`
	// From is the log index of what it was founded from: the state of the founding
	// before it is part of this one up to here, and not behind.
	From uint64 `cbor:"3,keyasint,omitempty"`
}

// LineageID is the id of the last founding of the cluster, empty for one that was
// founded by a version which drew none.
func (c *Cluster) LineageID() string {
	if len(c.Lineage) == 0 {
		return ""
	}
	return c.Lineage[len(c.Lineage)-1].ID
}

// FoundedSince returns the foundings by which the cluster came from an older one:
// none if both are of the same. ok is false if it did not come from that one. All
// that is known of an older one without an id is that it was before the first
// founding with one.
func (c *Cluster) FoundedSince(older *Cluster) (since []Founding, ok bool) {
	n := len(older.Lineage)
	switch {
	case n > len(c.Lineage) || n > 0 && c.Lineage[n-1].ID != older.Lineage[n-1].ID:
		return nil, false
	case n == 0 && len(c.Lineage) > 0 && older.Generation >= c.Lineage[0].Generation:
		return nil, false
	}
	return c.Lineage[n:], true
}
