package state

import (
	"encoding/binary"
	"slices"
	"strings"
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
// tagPlaces adds a block of places in the project and leads to those of the
// keys on the list; tagCounts says how many keys are on it.

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
		if !slices.Contains(is, t) {
			x.listTag(from, t, false)
		}
	}
	for _, t := range is {
		if !slices.Contains(was, t) {
			x.listTag(to, t, true)
		}
	}
}

// listTag puts a key on the lists of a tag, or takes it off them.
func (x *Txn) listTag(k *Key, t Tag, on bool) {
	for _, list := range tagLists(k.ProjectID, t) {
		place := appendPlace(list, k.Sequence>>placeBits)
		block, _ := x.tagPlaces.get(place)
		n, _ := x.tagCounts.get(list)
		if block = block.with(k.Sequence, on); block.empty() {
			x.tagPlaces.remove(place)
		} else {
			x.tagPlaces.insert(place, block)
		}
		if on {
			n++
		} else {
			n--
		}
		if n == 0 {
			x.tagCounts.remove(list)
		} else {
			x.tagCounts.insert(list, n)
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
	place, _, ok := v.loads.below(last)
	if !ok || !strings.HasPrefix(place, string(last[:len(last)-8])) {
		return 0
	}
	return int(number(place))
}

// ProjectTags returns every tag that a key of a project has, by name, its
// values in their order, in a new slice. It costs what it returns.
func (v *View) ProjectTags(projectID string) []TagValues {
	var all []TagValues
	prefix := append([]byte(projectID), 0)
	for list := range v.tagCounts.under(prefix) {
		name, rest, _ := strings.Cut(list[len(prefix):], "\x00")
		if rest[0] == anyValue {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Key != name {
			all = append(all, TagValues{Key: name})
		}
		last := &all[len(all)-1]
		last.Values = append(last.Values, rest[1:len(rest)-1])
	}
	return all
}

// KeysTagged returns up to limit of the keys of a project that meet every
// term, newest first, after skipping offset of them, and how many there are in
// all. A name, unless empty, must be a part of theirs as well. Default master
// keys are not among them. With one term, or none, and no name it costs the
// blocks of the skipped and the returned keys; else every block of the rarest
// term, in which what meets the others is found by bits. The slice is new.
func (v *View) KeysTagged(projectID string, terms []TagTerm, name string, offset, limit int) (page []*Key, total int) {
	lists, known := v.termLists(projectID, terms)
	blocks := v.namedBlocks(projectID)
	if len(terms) > 0 {
		blocks, lists = blocksOf(&v.tagPlaces, lists[0]), lists[1:]
	}
	exact := name == "" && len(lists) == 0
	if exact && offset >= known {
		return nil, known
	}
	for block, found := range blocks {
		for _, others := range lists {
			if *found == (keyBits{}) {
				break
			}
			found.and(atBlock(&v.tagPlaces, others, block))
		}
		if name != "" {
			v.keepNamed(projectID, block, found, name)
		}
		n := found.count()
		if total+n > offset && len(page) < limit {
			skip := max(0, offset-total)
			for place := range found.newestFirst() {
				if skip--; skip < 0 && len(page) < limit {
					page = append(page, v.keyAt(projectID, block<<placeBits|place))
				}
			}
		}
		if total += n; exact && len(page) >= limit {
			return page, known
		}
	}
	return page, total
}

// termLists returns the lists of each term, which have no key in common, the
// rarest term first, and how many keys meet that one; without a term how many there are.
func (v *View) termLists(projectID string, terms []TagTerm) (lists [][][]byte, least int) {
	if least = v.KeyCount(projectID); len(terms) == 0 {
		return nil, least
	}
	for i, term := range terms {
		theirs, n := v.listsOf(projectID, term)
		if lists = append(lists, theirs); i == 0 || n < least {
			least, lists[0], lists[i] = n, lists[i], lists[0]
		}
	}
	return lists, least
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
