package state

import "sync/atomic"

// people are the principals that were made of one content of the tables of
// accounts, projects, users, access keys, groups and policies. Whatever writes
// to one of these tables puts an empty one in its place ([Txn.changed]): so what
// is kept counts for the states that hold the very records that it was made
// of, and no message ends it. It is no part of the state: it decides nothing,
// is neither hashed nor stored, and may be lost at any time.
//
// It is a table of hashes in sets of [peopleWays], whose pages are made as they
// are needed; a set that is full loses one. It is safe for concurrent use.
type people struct {
	pages atomic.Pointer[[peoplePages]atomic.Pointer[[peoplePage]atomic.Pointer[Principal]]]
}

const (
	peoplePages = 256
	peoplePage  = 256
	peopleWays  = 4
)

// ofPeople tells whether principals are made of the records of a table.
func ofPeople(number Table) bool {
	switch number {
	case TableDomain, TableProject, TableUser, TableAccessKey, TableGroup, TablePolicy:
		return true
	default:
		return false
	}
}

// places are where in a page a principal of that hash may be.
func places(hash uint64) (page, first int) {
	return int(hash % peoplePages), int(hash/peoplePages%(peoplePage/peopleWays)) * peopleWays
}

// find returns the principal that was asked for so; nil: none is kept.
func (s *people) find(hash uint64, id, projectID string, byKey bool) *Principal {
	at, first := places(hash)
	pages := s.pages.Load()
	if pages == nil {
		return nil
	}
	page := pages[at].Load()
	if page == nil {
		return nil
	}
	for i := range peopleWays {
		if p := page[first+i].Load(); p != nil && p.id == id && p.projectID == projectID && p.byKey == byKey {
			return p
		}
	}
	return nil
}

// keep puts a principal where there is room, or in place of another one.
func (s *people) keep(hash uint64, p *Principal) {
	at, first := places(hash)
	page := ensure(&ensure(&s.pages)[at])
	for i := range peopleWays {
		if page[first+i].CompareAndSwap(nil, p) {
			return
		}
	}
	page[first+int(hash>>32%peopleWays)].Store(p)
}

// ensure returns what a pointer leads to, and makes it before.
func ensure[T any](at *atomic.Pointer[T]) *T {
	if there := at.Load(); there != nil {
		return there
	}
	at.CompareAndSwap(nil, new(T))
	return at.Load()
}

// hashOf spreads principals over their places. It protects nothing: ids are
// drawn by nodes, not by clients.
func hashOf(id string, byKey bool) uint64 {
	h := uint64(0x9e37_79b9_7f4a_7c15)
	if byKey {
		h = ^h
	}
	return mix(h, id)
}

func mix(h uint64, s string) uint64 {
	const odd = 0xff51_afd7_ed55_8ccd
	for ; len(s) >= 8; s = s[8:] {
		word := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		h = (h ^ word) * odd
		h ^= h >> 32
	}
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * odd
		h ^= h >> 32
	}
	return h
}
