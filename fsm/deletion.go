package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The bounds of the wait before a deletion, in milliseconds. What a node
// demands at least is its configuration's and above this.
const (
	minDeletionWait int64 = 1000
	maxDeletionWait int64 = 1096 * day

	day int64 = 24 * 60 * 60 * 1000
)

// scheduleDeletion takes a key out of use; at its deadline it goes for good.
// What is set for its rotation stays, for a cancellation.
func scheduleDeletion(c *call, b command.ScheduleDeletion) (any, *Refusal) {
	key, refusal := findKey(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil:
		return nil, refusal
	case key.Default:
		return nil, refuse(CodeDefaultKey, "the default master key of a service is not deleted")
	case key.State == state.PendingDeletion:
		return nil, refuse(CodeAlreadyPending, "the key is pending deletion already")
	case b.Wait < minDeletionWait || b.Wait > maxDeletionWait:
		return nil, refuse(CodeInvalid, "a key waits 1 second to 1096 days for its deletion")
	case key.Protected:
		return nil, refuse(CodeProtected, "the key is protected from deletion; switch that off first")
	}
	key.State, key.Deletion, key.Fence = state.PendingDeletion, c.Now()+b.Wait, c.index
	c.PutKey(&key)
	return keyResult(&key), nil
}

// cancelDeletion brings a key back, Disabled, or Pending import when there is
// no material. It is not fenced: no use of the key was allowed, and none is.
func cancelDeletion(c *call, b command.CancelDeletion) (any, *Refusal) {
	key, refusal := findKey(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil:
		return nil, refusal
	case key.Default:
		return nil, refuse(CodeDefaultKey, "the default master key of a service is not deleted")
	case key.State != state.PendingDeletion:
		return nil, refuse(CodeNotPendingDeletion, "the key is %s", key.State)
	}
	key.State, key.Deletion = state.Disabled, 0
	if key.Versions == 0 || key.Origin == state.OriginExternal && key.PrimaryVersion == 0 {
		key.State = state.PendingImport
	}
	c.PutKey(&key)
	return keyResult(&key), nil
}

// protectKey switches the protection of a key from being scheduled for deletion.
func protectKey(c *call, b command.ProtectKey) (any, *Refusal) {
	key, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	if key.Protected != b.On {
		key.Protected = b.On
		c.PutKey(&key)
	}
	return keyResult(&key), nil
}

// deleteDueKey deletes a key at its deadline, with all that belongs to it, and
// leaves a tombstone. What the scheduler saw must still be so: a deletion that
// was cancelled, and perhaps scheduled anew, is another one.
func deleteDueKey(c *call, b command.DeleteDueKey) (any, *Refusal) {
	key, ok := c.Key(b.KeyID)
	if !ok || key.State != state.PendingDeletion || key.Deletion != b.Due {
		return nil, refuse(CodeStale, "no deletion of that key was due then")
	}
	if key.Deletion > c.Now() {
		return nil, refuse(CodeStale, "the deletion is not due yet")
	}
	stone := &state.Tombstone{
		KeyID: key.ID, ProjectID: key.ProjectID, DomainID: key.DomainID, Name: key.Name, Spec: key.Spec,
		Created: key.Created, Deleted: c.Now(), Index: c.index, Fence: c.index,
	}
	stone.Holders, stone.Blobs = remains(c, key)
	c.DeleteKey(key)
	c.PutTombstone(stone)
	return keyResult(key), nil
}

// reportErasure keeps how far a node has erased its files. Only the node
// itself can know, and it never goes back.
func reportErasure(c *call, b command.ReportErasure) (any, *Refusal) {
	if c.caller.NodeID != b.NodeID {
		return nil, refuse(CodeForbidden, "a node reports its own files only")
	}
	if _, known := c.Node(b.NodeID); !known {
		return nil, refuse(CodeNotFound, "there is no such node")
	}
	if b.Through >= c.index {
		return nil, refuse(CodeInvalid, "a node cannot have erased what is not applied yet")
	}
	if old, had := c.Erasure(b.NodeID); !had || old.Through < b.Through {
		c.PutErasure(&state.Erasure{NodeID: b.NodeID, Through: b.Through, At: c.Now()})
	}
	return NodeResult{NodeID: b.NodeID}, nil
}

// maxUses is how many uses one command reports.
const maxUses = 512

// recordUse keeps when versions were last used, as far as it is news. Keys that
// are gone meanwhile are passed over.
func recordUse(c *call, b command.RecordUse) (any, *Refusal) {
	if len(b.Uses) > maxUses {
		return nil, refuse(CodeInvalid, "at most %d uses are reported at once", maxUses)
	}
	for _, u := range b.Uses {
		if _, exists := c.Version(u.KeyID, u.Number); !exists {
			continue
		}
		last := min(u.Last, c.Now())
		if old, had := c.Use(u.KeyID, u.Number); !had || old.Last < last {
			c.PutUse(&state.Use{KeyID: u.KeyID, Number: u.Number, Last: last})
		}
	}
	return TokenResult{}, nil
}
