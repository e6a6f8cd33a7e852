package state

import "iter"

// Walks over whole tables, in the order of the records' keys: for what is done
// once, not for a call.

// AllKeys walks over the keys of every project.
func (v *View) AllKeys() iter.Seq[*Key] { return values(&v.keys) }

// AllUsers walks over the users of every domain.
func (v *View) AllUsers() iter.Seq[*User] { return values(&v.users) }

// AllAccessKeys walks over the access keys of every user.
func (v *View) AllAccessKeys() iter.Seq[*AccessKey] { return values(&v.accessKeys) }

// AllTombstones walks over what is left of deleted keys.
func (v *View) AllTombstones() iter.Seq[*Tombstone] { return values(&v.tombstones) }

func values[T any](t *table[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, record := range t.all() {
			if !yield(record) {
				return
			}
		}
	}
}
