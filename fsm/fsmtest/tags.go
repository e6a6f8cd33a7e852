package fsmtest

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// SetTags is the body that gives a key tags, named and valued in turn. The
// dialect lets a key have three.
func SetTags(name string, pairs ...string) command.SetTags {
	b := command.SetTags{ProjectID: ProjectID, KeyID: KeyID(name), Most: 3}
	for i := 0; i+1 < len(pairs); i += 2 {
		b.Tags = append(b.Tags, state.Tag{Key: pairs[i], Value: pairs[i+1]})
	}
	return b
}

// RemoveTags is the body that takes tags from a key, those that are there.
func RemoveTags(name string, tags ...string) command.RemoveTags {
	return command.RemoveTags{ProjectID: ProjectID, KeyID: KeyID(name), Keys: tags}
}

// SetQuotas is the body that sets every quota of the project.
func SetQuotas(keys, grants, tags, allGrants uint32) command.SetQuotas {
	return command.SetQuotas{ProjectID: ProjectID, Keys: &keys, Grants: &grants, Tags: &tags, TotalGrants: &allGrants}
}
