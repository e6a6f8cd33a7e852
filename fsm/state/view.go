package state

import "strings"

// Records that a View returns are shared and must not be changed. Every reader
// is safe for concurrent use on a Root, allocates nothing unless it says so,
// and costs no more with many records than with few.

// Applied returns the log index of the last entry that went into the state; 0
// before the first.
func (v *View) Applied() uint64 { return v.applied }

// Cluster returns the record of the cluster, nil before bootstrap.
func (v *View) Cluster() *Cluster { return v.cluster }

// Now returns the replicated time in Unix milliseconds; 0 before the first
// bootstrap command.
func (v *View) Now() int64 {
	if v.clock == nil {
		return 0
	}
	return v.clock.Now
}

// Horizon returns the replicated time before which a proposal's first attempt
// is too old to be told from a repeat; 0 before bootstrap.
func (v *View) Horizon() int64 {
	if v.clock == nil {
		return 0
	}
	return v.clock.Horizon
}

// Key returns the key of that id.
func (v *View) Key(id string) (*Key, bool) { return byID(&v.keys, id) }

// Version returns one version of a key; numbers start at 1.
func (v *View) Version(keyID string, number uint32) (*Version, bool) {
	var space [keySpace]byte
	return v.versions.get(appendVersionKey(space[:0], keyID, number))
}

// KeyCount returns how many keys exist in a project, whatever their state; the
// default master keys of services are not counted.
func (v *View) KeyCount(projectID string) int {
	var space [keySpace]byte
	n, _ := v.keyCounts.get(append(space[:0], projectID...))
	return n
}

// JoinToken returns the join token of that id (the hash of its secret).
func (v *View) JoinToken(id string) (*JoinToken, bool) { return byID(&v.joinTokens, id) }

// Node returns the node of that id.
func (v *View) Node(id string) (*Node, bool) { return byID(&v.nodes, id) }

// Nodes returns all nodes ever admitted and not removed, by id, in a new slice.
func (v *View) Nodes() []*Node {
	return records(v.nodes.all())
}

// JoinTokens returns all of them, in the order of their ids.
func (v *View) JoinTokens() []*JoinToken {
	return records(v.joinTokens.all())
}

// Reply returns the answer kept for that proposal.
func (v *View) Reply(proposalID string) (*Reply, bool) { return byID(&v.replies, proposalID) }

// ReplyCount returns how many answers are kept.
func (v *View) ReplyCount() int { return v.replyCount }

// OldestReply returns the answer that leaves next: the one with the earliest
// first attempt.
func (v *View) OldestReply() (*Reply, bool) {
	_, id, ok := v.replyOrder.first()
	if !ok {
		return nil, false
	}
	return v.Reply(id)
}

// Keys returns up to limit keys of a project, newest first, that were created
// before the key with Sequence before; 0 starts with the newest. The next page
// starts at the Sequence of the last key of this one. A nil filter takes every
// key; else only those it says true to count, and keys it says false to cost
// their time too. The slice is new.
func (v *View) Keys(projectID string, before uint64, limit int, filter func(*Key) bool) []*Key {
	if before == 0 {
		before = ^uint64(0)
	} else {
		before--
	}
	var page []*Key
	for place, id := range v.keyOrder.down(appendSequenceKey(nil, projectID, before)) {
		if len(page) >= limit || !inProject(place, projectID) {
			break
		}
		if k, _ := v.Key(id); filter == nil || filter(k) {
			page = append(page, k)
		}
	}
	return page
}

// KeysOldestFirst is [View.Keys] the other way round: up to limit keys that
// were created after the key with Sequence after; 0 starts with the oldest.
func (v *View) KeysOldestFirst(projectID string, after uint64, limit int, filter func(*Key) bool) []*Key {
	if after == ^uint64(0) {
		return nil
	}
	var page []*Key
	for place, id := range v.keyOrder.up(appendSequenceKey(nil, projectID, after+1)) {
		if len(page) >= limit || !inProject(place, projectID) {
			break
		}
		if k, _ := v.Key(id); filter == nil || filter(k) {
			page = append(page, k)
		}
	}
	return page
}

// NextSequence returns the place that the next key of a project gets, which no
// key has had.
func (v *View) NextSequence(projectID string) uint64 {
	last := v.newest(projectID)
	if p, ok := v.Project(projectID); ok {
		last = max(last, p.LastSequence)
	}
	return last + 1
}

// newest returns the place of the newest key of a project; 0: it has none.
func (v *View) newest(projectID string) uint64 {
	place, _, ok := v.keyOrder.below(appendSequenceKey(nil, projectID, ^uint64(0)))
	if !ok || !inProject(place, projectID) {
		return 0
	}
	return number(place)
}

// inProject tells whether a key of the keyOrder index belongs to a project.
func inProject(place, projectID string) bool {
	return len(place) == len(projectID)+1+8 && strings.HasPrefix(place, projectID)
}

func byID[T any](t *table[T], id string) (T, bool) {
	var space [keySpace]byte
	return t.get(append(space[:0], id...))
}

func byName[T any](records *table[T], names *table[string], parentID, name string) (T, bool) {
	var space [keySpace]byte
	id, ok := names.get(appendNameKey(space[:0], parentID, name))
	if !ok {
		var none T
		return none, false
	}
	return byID(records, id)
}
