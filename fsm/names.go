package fsm

import (
	"strings"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The names of keys: the one in the key's record, which can be changed, and
// aliases, which can be pointed elsewhere. All names of a project are one set.

const (
	maxAliases = 50 // of one key

	// awsPrefix begins the aliases that the AWS-style dialect keeps for the
	// keys of services.
	awsPrefix = state.AliasPrefix + "aws/"
)

// renameKey gives a key another name. The old one is free at once.
func renameKey(c *call, b command.RenameKey) (any, *Refusal) {
	key, refusal := findEditable(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil:
		return nil, refusal
	case !isKeyName(b.Name):
		return nil, refuse(CodeInvalid, "%s", nameRule)
	}
	if holder, taken := c.KeyByName(b.ProjectID, b.Name); taken && (holder.ID != key.ID || isAlias(c, b.ProjectID, b.Name)) {
		return nil, refuse(CodeAlreadyExists, "the name is a key's, or an alias, already")
	}
	key.Name, key.Fence = b.Name, c.index
	c.PutKey(&key)
	return keyResult(&key), nil
}

// updateDescription gives a key another description.
func updateDescription(c *call, b command.UpdateDescription) (any, *Refusal) {
	key, refusal := findEditable(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil:
		return nil, refusal
	case len(b.Description) > maxDescription:
		return nil, refuse(CodeInvalid, "a description has at most %d bytes", maxDescription)
	}
	key.Description = b.Description
	c.PutKey(&key)
	return keyResult(&key), nil
}

// createAlias gives a key one more name. It is not fenced: the name was free.
func createAlias(c *call, b command.CreateAlias) (any, *Refusal) {
	key, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil:
		return nil, refusal
	case !isAliasName(b.Name):
		return nil, refuse(CodeInvalid, "%s", nameRule)
	}
	if _, taken := c.KeyByName(b.ProjectID, b.Name); taken {
		return nil, refuse(CodeAlreadyExists, "the name is a key's, or an alias, already")
	}
	if key.Aliases >= maxAliases {
		return nil, refuse(CodeAliasLimit, "the key has all %d aliases that it may have", maxAliases)
	}
	alias := &state.Alias{ProjectID: b.ProjectID, Name: b.Name, KeyID: key.ID, Created: c.Now(), Updated: c.Now()}
	key.Aliases++
	c.PutKey(&key)
	c.PutAlias(alias)
	return aliasResult(alias), nil
}

// deleteAliases takes aliases from the key that they point at.
func deleteAliases(c *call, b command.DeleteAliases) (any, *Refusal) {
	key, refusal := findKey(c, b.ProjectID, b.KeyID)
	switch {
	case refusal != nil:
		return nil, refusal
	case len(b.Names) == 0 || len(b.Names) > maxAliases:
		return nil, refuse(CodeInvalid, "1 to %d aliases are deleted at once", maxAliases)
	}
	going := make([]*state.Alias, 0, len(b.Names))
	for _, name := range b.Names {
		alias, ok := c.Alias(b.ProjectID, name)
		if !ok || alias.KeyID != key.ID {
			return nil, refuse(CodeAliasNotFound, "the key has no such alias")
		}
		for _, other := range going {
			if other == alias {
				return nil, refuse(CodeInvalid, "an alias is named twice")
			}
		}
		going = append(going, alias)
	}
	for _, alias := range going {
		c.DeleteAlias(alias)
	}
	key.Aliases -= uint32(len(going))
	key.Fence = c.index
	c.PutKey(&key)
	return keyResult(&key), nil
}

// associateAlias points an alias at another key of the project. Pointing it at
// the key that it points at already changes the time only.
func associateAlias(c *call, b command.AssociateAlias) (any, *Refusal) {
	to, refusal := findOwnKey(c, b.ProjectID, b.KeyID)
	if refusal != nil {
		return nil, refusal
	}
	old, ok := c.Alias(b.ProjectID, b.Name)
	if !ok {
		return nil, refuse(CodeAliasNotFound, "the project has no such alias")
	}
	alias := *old
	alias.KeyID, alias.Updated, alias.Fence = to.ID, c.Now(), c.index
	if old.KeyID != to.ID {
		if to.Aliases >= maxAliases {
			return nil, refuse(CodeAliasLimit, "the key has all %d aliases that it may have", maxAliases)
		}
		held, _ := c.Key(old.KeyID)
		from := *held
		from.Aliases--
		from.Fence = c.index
		to.Aliases++
		c.PutKey(&from)
	}
	to.Fence = c.index
	c.PutKey(&to)
	c.PutAlias(&alias)
	return aliasResult(&alias), nil
}

// findEditable returns a copy of a key whose name and description may be changed.
func findEditable(c *call, projectID, keyID string) (state.Key, *Refusal) {
	key, refusal := findOwnKey(c, projectID, keyID)
	if refusal == nil && key.State == state.PendingImport {
		refusal = refuse(CodePendingImport, "the key has no material: import it first")
	}
	return key, refusal
}

func isAlias(c *call, projectID, name string) bool {
	_, ok := c.Alias(projectID, name)
	return ok
}

// isAliasName tells whether an alias may be called that.
func isAliasName(name string) bool {
	return isKeyName(name) && !strings.HasPrefix(name, awsPrefix)
}

func aliasResult(a *state.Alias) AliasResult {
	return AliasResult{ProjectID: a.ProjectID, Name: a.Name, KeyID: a.KeyID, Created: a.Created, Updated: a.Updated}
}
