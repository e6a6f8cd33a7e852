package state

import (
	"iter"

	iradix "github.com/hashicorp/go-immutable-radix/v2"
)

// Walks over whole tables, in the order of the records' keys: for what is done
// once, not for a call.

// AllKeys walks over the keys of every project.
func (v *View) AllKeys() iter.Seq[*Key] { return all(v.keys.node()) }

// AllUsers walks over the users of every domain.
func (v *View) AllUsers() iter.Seq[*User] { return all(v.users.node()) }

// AllAccessKeys walks over the access keys of every user.
func (v *View) AllAccessKeys() iter.Seq[*AccessKey] { return all(v.accessKeys.node()) }

// AllTombstones walks over what is left of deleted keys.
func (v *View) AllTombstones() iter.Seq[*Tombstone] { return all(v.tombstones.node()) }

func all[T any](node *iradix.Node[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for it := node.Iterator(); ; {
			_, record, ok := it.Next()
			if !ok || !yield(record) {
				return
			}
		}
	}
}
