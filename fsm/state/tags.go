package state

import (
	"bytes"
	"encoding/binary"
	"slices"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Tag is a label on a key. A key has at most one tag of a Key.
type Tag struct {
	Key   string `cbor:"1,keyasint"`
	Value string `cbor:"2,keyasint"` // may be empty
}

// Tag returns the value of the key's tag of that name. It allocates nothing.
func (k *Key) Tag(name string) (value string, ok bool) {
	for i := range k.Tags {
		if k.Tags[i].Key == name {
			return k.Tags[i].Value, true
		}
	}
	return "", false
}

// TagTerm is one condition of a search: the key has a tag of that name, with
// one of the values; no values: with any.
type TagTerm struct {
	Key    string
	Values []string
}

// TagValues is a tag's name with every value that it has somewhere in a project.
type TagValues struct {
	Key    string
	Values []string
}

// Two indexes serve the search for tags. Their keys begin with a list: project,
// tag and then 1 and a value, or 2 for keys with any value of the tag. Tags
// hold no byte below 32, so that no list is the beginning of another.
// tagPlaces adds the key's place in the project and leads to its id; tagCounts
// says how many keys are on the list.

const (
	withValue = 1
	anyValue  = 2
)

func appendTagList(dst []byte, projectID, tag string) []byte {
	return append(append(append(append(dst, projectID...), 0), tag...), 0)
}

// tagLists returns the two lists that a key with that tag is on.
func tagLists(projectID string, t Tag) [2][]byte {
	start := appendTagList(nil, projectID, t.Key)
	one := append(append(slices.Clone(start), withValue), t.Value...)
	return [2][]byte{append(one, 0), append(start, anyValue)}
}

func appendPlace(list []byte, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(list), sequence)
}

// moveTags keeps the indexes of tags in step with a key; nil: there is none.
func (x *Txn) moveTags(from, to *Key) {
	var was, is []Tag
	projectID := ""
	if from != nil {
		was, projectID = from.Tags, from.ProjectID
	}
	if to != nil {
		is, projectID = to.Tags, to.ProjectID
	}
	if slices.Equal(was, is) {
		return
	}
	x.moveLoad(projectID, loadTags, len(was), len(is))
	for _, t := range was {
		for _, list := range tagLists(from.ProjectID, t) {
			x.tagPlaces.remove(appendPlace(list, from.Sequence))
			x.countTagged(list, -1)
		}
	}
	for _, t := range is {
		for _, list := range tagLists(to.ProjectID, t) {
			x.tagPlaces.insert(appendPlace(list, to.Sequence), to.ID)
			x.countTagged(list, 1)
		}
	}
}

// A third index says how many keys of a project have how many tags, or grants:
// project, kind and number lead to the keys, so that the most is found at once.
const (
	loadTags   = 't'
	loadGrants = 'g'
)

func appendLoad(dst []byte, projectID string, kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(append(append(dst, projectID...), 0), kind), n)
}

// moveLoad takes one key of a project from a number to another.
func (x *Txn) moveLoad(projectID string, kind byte, from, to int) {
	if from == to {
		return
	}
	for _, change := range [...]struct{ n, by int }{{from, -1}, {to, 1}} {
		if change.n == 0 {
			continue
		}
		place := appendLoad(nil, projectID, kind, uint64(change.n))
		keys, _ := x.loads.get(place)
		if keys += change.by; keys == 0 {
			x.loads.remove(place)
		} else {
			x.loads.insert(place, keys)
		}
	}
}

// MostTags returns how many tags the key of a project has that has most.
func (v *View) MostTags(projectID string) int { return v.most(projectID, loadTags) }

// MostGrants returns how many grants the key of a project has that has most.
func (v *View) MostGrants(projectID string) int { return v.most(projectID, loadGrants) }

func (v *View) most(projectID string, kind byte) int {
	last := appendLoad(nil, projectID, kind, ^uint64(0))
	it := v.loads.node().ReverseIterator()
	it.SeekReverseLowerBound(last)
	place, _, ok := it.Previous()
	if !ok || !bytes.HasPrefix(place, last[:len(last)-8]) {
		return 0
	}
	return int(binary.BigEndian.Uint64(place[len(place)-8:]))
}

func (x *Txn) countTagged(list []byte, by int) {
	n, _ := x.tagCounts.get(list)
	if n += by; n == 0 {
		x.tagCounts.remove(list)
		return
	}
	x.tagCounts.insert(list, n)
}

// ProjectTags returns every tag that a key of a project has, by name, its
// values in their order, in a new slice. It costs what it returns.
func (v *View) ProjectTags(projectID string) []TagValues {
	var all []TagValues
	prefix := append([]byte(projectID), 0)
	it := v.tagCounts.node().Iterator()
	it.SeekPrefix(prefix)
	for {
		list, _, ok := it.Next()
		if !ok {
			return all
		}
		name, rest, _ := bytes.Cut(list[len(prefix):], []byte{0})
		if rest[0] == anyValue {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Key != string(name) {
			all = append(all, TagValues{Key: string(name)})
		}
		last := &all[len(all)-1]
		last.Values = append(last.Values, string(rest[1:len(rest)-1]))
	}
}

// KeysTagged returns up to limit of the keys of a project that meet every
// term, newest first, after skipping offset of them, and how many there are in
// all. A filter, unless nil, must say true as well. With one term and no filter
// it costs the skipped and the returned keys; else as many as meet the rarest
// term. Without a term it goes over all keys. The slice is new.
func (v *View) KeysTagged(projectID string, terms []TagTerm, filter func(*Key) bool, offset, limit int) (page []*Key, total int) {
	if len(terms) == 0 {
		return v.keysNamed(projectID, filter, offset, limit)
	}
	rarest, least := 0, -1
	var lists [][]byte
	for i, term := range terms {
		theirs, n := v.listsOf(projectID, term)
		if least < 0 || n < least {
			rarest, least, lists = i, n, theirs
		}
	}
	exact := len(terms) == 1 && filter == nil
	walk := v.merge(lists)
	for {
		id, ok := walk.next()
		if !ok {
			return page, total
		}
		key, _ := v.Key(id)
		if !exact && !(key.meets(terms, rarest) && (filter == nil || filter(key))) {
			continue
		}
		if total++; total > offset && len(page) < limit {
			page = append(page, key)
		}
		if exact && total >= offset+limit {
			return page, least
		}
	}
}

// keysNamed is KeysTagged without a term: all keys but default master keys.
func (v *View) keysNamed(projectID string, filter func(*Key) bool, offset, limit int) (page []*Key, total int) {
	if filter == nil {
		total = v.KeyCount(projectID)
		if offset >= total {
			return nil, total
		}
		page = v.Keys(projectID, 0, offset+limit, func(k *Key) bool { return !k.Default })
		return page[min(offset, len(page)):], total
	}
	v.Keys(projectID, 0, int(^uint(0)>>1), func(k *Key) bool {
		if k.Default || !filter(k) {
			return false
		}
		if total++; total > offset && len(page) < limit {
			page = append(page, k)
		}
		return false
	})
	return page, total
}

// listsOf returns the lists of the keys that meet a term, which have no key in
// common, and how many keys are on them.
func (v *View) listsOf(projectID string, term TagTerm) (lists [][]byte, n int) {
	start := appendTagList(nil, projectID, term.Key)
	if len(term.Values) == 0 {
		lists = [][]byte{append(start, anyValue)}
	}
	for i, value := range term.Values {
		if !slices.Contains(term.Values[:i], value) {
			lists = append(lists, append(append(append(slices.Clone(start), withValue), value...), 0))
		}
	}
	for _, list := range lists {
		count, _ := v.tagCounts.get(list)
		n += count
	}
	return lists, n
}

// meets tells whether the key meets all terms but one that it is known to.
func (k *Key) meets(terms []TagTerm, known int) bool {
	for i, term := range terms {
		if i == known {
			continue
		}
		at := slices.IndexFunc(k.Tags, func(t Tag) bool { return t.Key == term.Key })
		if at < 0 || len(term.Values) > 0 && !slices.Contains(term.Values, k.Tags[at].Value) {
			return false
		}
	}
	return true
}

// merged walks over several lists at once, newest key first.
type merged struct{ heads []listHead }

// listHead is the next key of a list.
type listHead struct {
	it    *iradix.ReverseIterator[string]
	list  []byte
	place uint64
	id    string
}

func (v *View) merge(lists [][]byte) *merged {
	m := new(merged)
	for _, list := range lists {
		h := listHead{it: v.tagPlaces.node().ReverseIterator(), list: list}
		h.it.SeekReverseLowerBound(appendPlace(list, ^uint64(0)))
		if h.advance() {
			m.heads = append(m.heads, h)
		}
	}
	return m
}

func (h *listHead) advance() bool {
	place, id, ok := h.it.Previous()
	if !ok || len(place) != len(h.list)+8 || !bytes.HasPrefix(place, h.list) {
		return false
	}
	h.place, h.id = binary.BigEndian.Uint64(place[len(h.list):]), id
	return true
}

// next takes the newest of the heads. There are few: as many as values in a search.
func (m *merged) next() (id string, ok bool) {
	if len(m.heads) == 0 {
		return "", false
	}
	newest := 0
	for i := range m.heads {
		if m.heads[i].place > m.heads[newest].place {
			newest = i
		}
	}
	id = m.heads[newest].id
	if !m.heads[newest].advance() {
		m.heads = slices.Delete(m.heads, newest, newest+1)
	}
	return id, true
}
