package command

import "github.com/raftkms/raftkms/fsm/state"

// Tags of keys, and how many keys, grants and tags a project may have.

// The kinds of write of this file.
const (
	TypeSetTags         Type = 50
	TypeRemoveTags      Type = 51
	TypeBatchSetTags    Type = 52
	TypeBatchRemoveTags Type = 53
	TypeSetQuotas       Type = 54
)

var tagRows = []row{
	{TypeSetTags, "set-tags", 1, body[SetTags]},
	{TypeRemoveTags, "remove-tags", 1, body[RemoveTags]},
	{TypeBatchSetTags, "batch-set-tags", 1, body[BatchSetTags]},
	{TypeBatchRemoveTags, "batch-remove-tags", 1, body[BatchRemoveTags]},
	{TypeSetQuotas, "set-quotas", 1, body[SetQuotas]},
}

// SetTags adds tags to a key and gives those that it has their new values.
// Fenced: a policy may ask for a tag.
type SetTags struct {
	ProjectID string      `cbor:"1,keyasint"`
	KeyID     string      `cbor:"2,keyasint"`
	Tags      []state.Tag `cbor:"3,keyasint"`
	// Most is how many tags the dialect lets a key have, where the project has
	// no number of its own.
	Most uint32 `cbor:"4,keyasint"`
}

// RemoveTags takes tags from a key. Fenced, as [SetTags].
type RemoveTags struct {
	ProjectID string   `cbor:"1,keyasint"`
	KeyID     string   `cbor:"2,keyasint"`
	Keys      []string `cbor:"3,keyasint"` // of the tags
	All       bool     `cbor:"4,keyasint"` // refuse unless the key has every one of them
}

// BatchSetTags is [SetTags] for who may change tags in batches.
type BatchSetTags SetTags

// BatchRemoveTags is [RemoveTags] for who may change tags in batches.
type BatchRemoveTags RemoveTags

// SetQuotas sets how many keys a project may have, grants and tags each of
// them, and grants all of them. What there is already above a new number stays.
type SetQuotas struct {
	ProjectID string  `cbor:"1,keyasint"` // need not be the caller's
	Keys      *uint32 `cbor:"2,keyasint"` // nil: as it is
	Grants    *uint32 `cbor:"3,keyasint"`
	Tags      *uint32 `cbor:"4,keyasint"`
	// TotalGrants are those of all keys of the project.
	TotalGrants *uint32 `cbor:"5,keyasint,omitempty"`
}

func (SetTags) Type() Type         { return TypeSetTags }
func (RemoveTags) Type() Type      { return TypeRemoveTags }
func (BatchSetTags) Type() Type    { return TypeBatchSetTags }
func (BatchRemoveTags) Type() Type { return TypeBatchRemoveTags }
func (SetQuotas) Type() Type       { return TypeSetQuotas }

// AboutKey says which key the write is about.
func (b SetTags) AboutKey() string { return b.KeyID }

// AboutKey says which key the write is about.
func (b RemoveTags) AboutKey() string { return b.KeyID }

// AboutKey says which key the write is about.
func (b BatchSetTags) AboutKey() string { return b.KeyID }

// AboutKey says which key the write is about.
func (b BatchRemoveTags) AboutKey() string { return b.KeyID }
