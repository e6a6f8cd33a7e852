package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// createDefaultKey makes the default master key of a service in a project. All
// nodes may be asked for it at the same moment: whoever comes second gets the
// key that is there. It does not count against the project's quota. It is fenced
// as anything that is not known to only add: a service asks for it once.
func createDefaultKey(c *call, b command.CreateDefaultKey) (any, *Refusal) {
	if refusal := checkCallersProject(c, b.ProjectID); refusal != nil {
		return nil, refusal
	}
	project, exists := c.Project(b.ProjectID)
	name := b.Service + defaultKeySuffix
	switch {
	case !exists:
		return nil, refuse(CodeNotFound, "there is no such project")
	case !isServiceName(b.Service):
		return nil, refuse(CodeInvalid, "a service's name has 1 to 64 of a-z, 0-9 and -")
	}
	if key, made := c.KeyByName(b.ProjectID, name); made {
		return keyResult(key), nil
	}
	_, used := c.Key(b.KeyID)
	_, gone := c.Tombstone(b.KeyID)
	switch {
	case !isUUID(b.KeyID) || used || gone:
		return nil, refuse(CodeInvalid, "the key id is no UUID in lower case, or was given out before")
	case b.Level != state.LevelHSM && b.Level != state.LevelSoftware:
		return nil, refuse(CodeInvalid, "no such protection level")
	case len(b.Blob) == 0 || len(b.Blob) > maxBlob || len(b.MAC) != macSize:
		return nil, refuse(CodeInvalid, "the wrapped material is not that of the spec")
	case !c.Cluster().TakesRoots(b.RootGeneration):
		return nil, refuse(CodeInvalid, "the material is wrapped under root generation %d, the cluster is at %d", b.RootGeneration, c.Cluster().RootGeneration)
	}
	key := &state.Key{
		ID: b.KeyID, ProjectID: b.ProjectID, DomainID: project.DomainID, Name: name, Description: "the default master key of " + b.Service,
		Spec: state.SpecAES256, Usage: state.UsageEncryptDecrypt, Origin: state.OriginKMS, Level: b.Level, State: state.Enabled,
		PrimaryVersion: 1, Versions: 1, CreatorID: c.caller.UserID, Created: c.Now(), Sequence: c.NextSequence(b.ProjectID), Default: true,
	}
	c.PutKey(key)
	c.PutVersion(&state.Version{KeyID: b.KeyID, Number: 1, RootGeneration: b.RootGeneration, Blob: b.Blob, MAC: b.MAC, Created: c.Now()})
	return keyResult(key), nil
}

// isServiceName tells whether a service may be called that.
func isServiceName(s string) bool {
	return len(s) >= 1 && len(s) <= 64 && only(s, func(b byte) bool { return b >= 'a' && b <= 'z' || isDigit(b) || b == '-' })
}
