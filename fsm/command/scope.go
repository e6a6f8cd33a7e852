package command

// Scoped is a body that says what a fenced command concerns at most, so that
// only answers about that wait until it is released. Without it a command
// concerns everything.
//
// key is empty for what concerns all keys of the project: names, say, which may
// stand for one key before the command and for another after it.
type Scoped interface {
	Scope() (projectID, keyID string)
}

// Scope implements [Scoped].
func (b DisableKey) Scope() (projectID, keyID string) { return b.ProjectID, b.KeyID }

// Scope implements [Scoped].
func (b ScheduleDeletion) Scope() (projectID, keyID string) { return b.ProjectID, b.KeyID }

// Scope implements [Scoped].
func (b RotateKey) Scope() (projectID, keyID string) { return b.ProjectID, b.KeyID }

// Scope implements [Scoped].
func (b RenameKey) Scope() (projectID, keyID string) { return b.ProjectID, "" }

// Scope implements [Scoped].
func (b DeleteAliases) Scope() (projectID, keyID string) { return b.ProjectID, "" }

// Scope implements [Scoped].
func (b AssociateAlias) Scope() (projectID, keyID string) { return b.ProjectID, "" }
