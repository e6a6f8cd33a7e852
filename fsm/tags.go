package fsm

import (
	"slices"
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The bounds of tags. A dialect takes a part of them.
const (
	MaxTags     = 50  // of one key
	MaxTagKey   = 128 // characters
	MaxTagValue = 256 // characters

	// maxTagBytes bounds all tags of a key together, so that the record of a
	// key stays far below the size of a command.
	maxTagBytes = 16 << 10
)

// setTags adds tags to a key, or gives those that are there another value.
func setTags(c *call, b command.SetTags) (any, *Refusal) {
	key, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	if refusal := checkTags(b.Tags); refusal != nil {
		return nil, refusal
	}
	tags := slices.Clone(key.Tags)
	for _, tag := range b.Tags {
		if i, there := findTag(tags, tag.Key); there {
			tags[i] = tag
		} else {
			tags = slices.Insert(tags, i, tag)
		}
	}
	project, _ := c.Project(key.ProjectID)
	if most := tagQuota(project, b.Most); len(tags) > most && len(tags) > len(key.Tags) {
		return nil, refuse(CodeTagLimit, "the key would have %d tags where it may have %d", len(tags), most)
	}
	size := 0
	for _, tag := range tags {
		size += len(tag.Key) + len(tag.Value)
	}
	if size > maxTagBytes {
		return nil, refuse(CodeTagLimit, "the tags of a key have at most %d bytes together", maxTagBytes)
	}
	return putTags(c, &key, tags)
}

// removeTags takes tags from a key: those that are there, or all or none.
func removeTags(c *call, b command.RemoveTags) (any, *Refusal) {
	key, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil:
		return nil, refusal
	case len(b.Keys) < 1 || len(b.Keys) > MaxTags:
		return nil, refuse(CodeInvalid, "1 to %d tags are removed at once", MaxTags)
	}
	tags := slices.Clone(key.Tags)
	for _, name := range b.Keys {
		i, there := findTag(tags, name)
		if there {
			tags = slices.Delete(tags, i, i+1)
		} else if b.All {
			return nil, refuse(CodeTagNotFound, "the key has no such tag")
		}
	}
	return putTags(c, &key, tags)
}

// putTags writes a key with other tags. What changes nothing writes nothing.
func putTags(c *call, key *state.Key, tags []state.Tag) (any, *Refusal) {
	if slices.Equal(key.Tags, tags) {
		return keyResult(key), nil
	}
	if len(tags) == 0 {
		tags = nil // as in the record of a key that never had one
	}
	key.Tags, key.Fence = tags, c.index
	c.PutKey(key)
	return keyResult(key), nil
}

// batchSetTags is setTags for who may change tags in batches.
func batchSetTags(c *call, b command.BatchSetTags) (any, *Refusal) {
	return setTags(c, command.SetTags(b))
}

// batchRemoveTags is removeTags for who may change tags in batches.
func batchRemoveTags(c *call, b command.BatchRemoveTags) (any, *Refusal) {
	return removeTags(c, command.RemoveTags(b))
}

func checkTags(tags []state.Tag) *Refusal {
	if len(tags) < 1 || len(tags) > MaxTags {
		return refuse(CodeInvalid, "1 to %d tags are set at once", MaxTags)
	}
	for i, tag := range tags {
		switch {
		case tag.Key == "" || !isTagText(tag.Key, MaxTagKey):
			return refuse(CodeInvalid, "the key of a tag has 1 to %d characters, none of them a control character", MaxTagKey)
		case !isTagText(tag.Value, MaxTagValue):
			return refuse(CodeInvalid, "the value of a tag has at most %d characters, none of them a control character", MaxTagValue)
		}
		for _, other := range tags[:i] {
			if other.Key == tag.Key {
				return refuse(CodeInvalid, "a tag is named twice")
			}
		}
	}
	return nil
}

// isTagText tells whether s can be part of a tag; that it is UTF-8 its encoding
// has seen to. Control characters are in none, so that the zero byte can stand
// between the parts in an index.
func isTagText(s string, most int) bool {
	characters := 0
	for _, r := range s {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return false
		}
		characters++
	}
	return characters <= most
}

// findTag returns where a tag of that key is, or would be, among sorted ones.
func findTag(tags []state.Tag, key string) (int, bool) {
	return slices.BinarySearchFunc(tags, key, func(t state.Tag, key string) int { return strings.Compare(t.Key, key) })
}
