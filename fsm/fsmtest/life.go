package fsmtest

import (
	"crypto/sha256"
	"fmt"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Bodies about the life of the key of a name.

// CreateExternalKey is the body that makes a key whose material is imported later.
func CreateExternalKey(name string) command.CreateKey {
	b := CreateKey(name)
	b.Origin, b.RootGeneration, b.Blob, b.MAC = state.OriginExternal, 0, nil, nil
	return b
}

// ScheduleDeletion is the body that has a key deleted after a wait in milliseconds.
func ScheduleDeletion(name string, wait int64) command.ScheduleDeletion {
	return command.ScheduleDeletion{ProjectID: ProjectID, KeyID: KeyID(name), Wait: wait}
}

// CancelDeletion is the body that brings a key back.
func CancelDeletion(name string) command.CancelDeletion {
	return command.CancelDeletion{ProjectID: ProjectID, KeyID: KeyID(name)}
}

// ProtectKey is the body that switches a key's deletion protection.
func ProtectKey(name string, on bool) command.ProtectKey {
	return command.ProtectKey{ProjectID: ProjectID, KeyID: KeyID(name), On: on}
}

// RenameKey is the body that gives a key another name. Its id stays [KeyID] of the first.
func RenameKey(name, to string) command.RenameKey {
	return command.RenameKey{ProjectID: ProjectID, KeyID: KeyID(name), Name: to}
}

// CreateAlias is the body that gives a key an alias.
func CreateAlias(name, alias string) command.CreateAlias {
	return command.CreateAlias{ProjectID: ProjectID, KeyID: KeyID(name), Name: alias}
}

// DeleteAliases is the body that takes aliases from a key.
func DeleteAliases(name string, aliases ...string) command.DeleteAliases {
	return command.DeleteAliases{ProjectID: ProjectID, KeyID: KeyID(name), Names: aliases}
}

// AssociateAlias is the body that points an alias at a key.
func AssociateAlias(name, alias string) command.AssociateAlias {
	return command.AssociateAlias{ProjectID: ProjectID, KeyID: KeyID(name), Name: alias}
}

// EnableRotation is the body that has a key rotated every so many days.
func EnableRotation(name string, days uint32) command.EnableRotation {
	return command.EnableRotation{ProjectID: ProjectID, KeyID: KeyID(name), Days: days}
}

// SetRotationInterval is the body that changes the days.
func SetRotationInterval(name string, days uint32) command.SetRotationInterval {
	return command.SetRotationInterval{ProjectID: ProjectID, KeyID: KeyID(name), Days: days}
}

// DisableRotation is the body that ends a key's rotation.
func DisableRotation(name string) command.DisableRotation {
	return command.DisableRotation{ProjectID: ProjectID, KeyID: KeyID(name)}
}

// RotateKey is the body that adds a version of that number on demand.
func RotateKey(name string, number uint32) command.RotateKey {
	return command.RotateKey{ProjectID: ProjectID, KeyID: KeyID(name), Version: NewVersion(name, number)}
}

// RotateDueKey is the body that adds the version that was due then.
func RotateDueKey(name string, due int64, number uint32) command.RotateDueKey {
	return command.RotateDueKey{KeyID: KeyID(name), Due: due, Version: NewVersion(name, number)}
}

// NewVersion is a further version of the key of that name.
func NewVersion(name string, number uint32) command.NewVersion {
	mac := sha256.Sum256(fmt.Appendf(nil, "mac of %s %d", name, number))
	return command.NewVersion{
		Number: number, RootGeneration: 1, Blob: fmt.Appendf(nil, "wrapped material of version %d of %s", number, name), MAC: mac[:],
	}
}

// CreateDefaultKey is the body that makes the default master key of a service,
// with [KeyID] of the service.
func CreateDefaultKey(service string) command.CreateDefaultKey {
	b := CreateKey(service)
	return command.CreateDefaultKey{KeyID: b.KeyID, ProjectID: ProjectID, Service: service, Level: b.Level, RootGeneration: 1, Blob: b.Blob, MAC: b.MAC}
}
