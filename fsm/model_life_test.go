package fsm_test

import (
	"slices"
	"strings"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

const days = 86_400_000 // in milliseconds

// live is [model.do] for what happens to a key that exists.
func (m *model) live(body command.Body) fsm.Code {
	switch b := body.(type) {
	case command.RotateDueKey:
		k := m.find(b.KeyID)
		if k == nil || k.state != state.Enabled || k.days == 0 || k.due != b.Due || k.due > m.now || b.Version.Number != k.versions+1 {
			return fsm.CodeStale
		}
		k.versions, k.due = k.versions+1, m.now+int64(k.days)*days
		return ""
	case command.DeleteDueKey:
		k := m.find(b.KeyID)
		if k == nil || k.state != state.PendingDeletion || k.deletion != b.Due || k.deletion > m.now {
			return fsm.CodeStale
		}
		m.gone = append(m.gone, k.id)
		m.keys = slices.DeleteFunc(m.keys, func(other modelKey) bool { return other.id == b.KeyID })
		return ""
	case command.AssociateAlias:
		return m.associate(b)
	case command.DeleteAliases:
		k := m.find(b.KeyID)
		if k == nil {
			return fsm.CodeNotFound
		}
		for _, name := range b.Names {
			if !slices.Contains(k.aliases, strings.TrimPrefix(name, "alias/")) {
				return fsm.CodeAliasNotFound
			}
		}
		k.aliases = slices.DeleteFunc(k.aliases, func(a string) bool {
			return slices.ContainsFunc(b.Names, func(name string) bool { return strings.TrimPrefix(name, "alias/") == a })
		})
		return ""
	case command.OpenImport, command.ImportMaterial, command.DeleteMaterial, command.CountImportFailure, command.ExpireImport:
		return m.importing(body)
	case command.CreateGrant, command.RevokeGrant, command.RetireGrant:
		return m.grant(body)
	case command.SetTags, command.RemoveTags, command.BatchSetTags, command.BatchRemoveTags:
		return m.tag(body)
	default:
		return m.change(body)
	}
}

func (m *model) associate(b command.AssociateAlias) fsm.Code {
	to, name := m.find(b.KeyID), strings.TrimPrefix(b.Name, "alias/")
	switch {
	case to == nil:
		return fsm.CodeNotFound
	case to.state == state.PendingDeletion:
		return fsm.CodePendingDeletion
	}
	from := m.named(name)
	if from == nil || from.name == name {
		return fsm.CodeAliasNotFound
	}
	from.aliases = slices.DeleteFunc(from.aliases, func(a string) bool { return a == name })
	to.aliases = append(to.aliases, name)
	return ""
}

// keyOf returns the key that a body is about.
func keyOf(body command.Body) string {
	switch b := body.(type) {
	case command.EnableKey:
		return b.KeyID
	case command.DisableKey:
		return b.KeyID
	case command.ScheduleDeletion:
		return b.KeyID
	case command.CancelDeletion:
		return b.KeyID
	case command.ProtectKey:
		return b.KeyID
	case command.RenameKey:
		return b.KeyID
	case command.UpdateDescription:
		return b.KeyID
	case command.CreateAlias:
		return b.KeyID
	case command.EnableRotation:
		return b.KeyID
	case command.SetRotationInterval:
		return b.KeyID
	case command.DisableRotation:
		return b.KeyID
	case command.RotateKey:
		return b.KeyID
	default:
		return ""
	}
}

// inUse is why a key's state does not let it be rotated.
func (k *modelKey) inUse(scheduled bool) fsm.Code {
	switch {
	case k.imports.ofPair && scheduled:
		return fsm.CodeRotationAsymmetric
	case k.external:
		return fsm.CodeRotationExternal
	case k.state == state.Disabled:
		return fsm.CodeKeyDisabled
	default:
		return ""
	}
}

// change is what is done to one key by its id.
func (m *model) change(body command.Body) fsm.Code {
	id := keyOf(body)
	k := m.find(id)
	if id == "" {
		return "" // uses, reports: they never fail, and are not the model's
	}
	if k == nil {
		return fsm.CodeNotFound
	}
	pending := k.state == state.PendingDeletion
	switch b := body.(type) {
	case command.ScheduleDeletion:
		switch {
		case pending:
			return fsm.CodeAlreadyPending
		case k.protected:
			return fsm.CodeProtected
		}
		k.state, k.deletion = state.PendingDeletion, m.now+b.Wait
		return ""
	case command.CancelDeletion:
		if !pending {
			return fsm.CodeNotPendingDeletion
		}
		k.state, k.deletion = state.Disabled, 0
		if k.external && !k.imports.material {
			k.state = state.PendingImport
		}
		return ""
	}
	if pending {
		return fsm.CodePendingDeletion
	}
	switch b := body.(type) {
	case command.EnableKey:
		if k.state != state.Disabled {
			return fsm.CodeNotDisabled
		}
		k.state = state.Enabled
	case command.DisableKey:
		if k.state != state.Enabled {
			return fsm.CodeNotEnabled
		}
		k.state = state.Disabled
	case command.ProtectKey:
		k.protected = b.On
	case command.RenameKey:
		holder := m.named(b.Name)
		switch {
		case k.state == state.PendingImport:
			return fsm.CodePendingImport
		case b.Name == "d/default":
			return fsm.CodeInvalid
		case holder != nil && (holder != k || k.name != b.Name):
			return fsm.CodeAlreadyExists
		}
		k.name = b.Name
	case command.UpdateDescription:
		if k.state == state.PendingImport {
			return fsm.CodePendingImport
		}
	case command.CreateAlias:
		switch {
		case strings.HasSuffix(b.Name, "/default"):
			return fsm.CodeInvalid
		case m.named(b.Name) != nil:
			return fsm.CodeAlreadyExists
		}
		k.aliases = append(k.aliases, strings.TrimPrefix(b.Name, "alias/"))
	case command.EnableRotation:
		if code := k.inUse(true); code != "" {
			return code
		}
		if k.days != 0 {
			return fsm.CodeRotationOn
		}
		k.days, k.due = b.Days, m.now+int64(b.Days)*days
	case command.SetRotationInterval:
		if code := k.inUse(true); code != "" {
			return code
		}
		if k.days == 0 {
			return fsm.CodeRotationOff
		}
		k.days, k.due = b.Days, m.now+int64(b.Days)*days
	case command.DisableRotation:
		if k.days == 0 {
			return fsm.CodeRotationOff
		}
		k.days, k.due = 0, 0
	case command.RotateKey:
		if code := k.inUse(false); code != "" {
			return code
		}
		if b.Version.Number != k.versions+1 {
			return fsm.CodeStale
		}
		k.versions++
	}
	return ""
}

// is tells whether a key's record says what the model does.
func (k *modelKey) is(root *state.Root, r *state.Key) bool {
	aliases := root.AliasesOf(r.ID)
	for _, a := range aliases {
		found, _ := root.KeyByName(r.ProjectID, a.Name)
		if found != r || !slices.Contains(k.aliases, state.PlainName(a.Name)) {
			return false
		}
	}
	wantDue := k.imports.due()
	switch {
	case k.state == state.Enabled && k.due != 0 && (wantDue == 0 || k.due < wantDue):
		wantDue = k.due
	case k.state == state.PendingDeletion && (wantDue == 0 || k.deletion < wantDue):
		wantDue = k.deletion
	}
	held := k.versions // versions of which there is material
	if k.external && !k.imports.material {
		held = 0
	}
	isDue := slices.Contains(root.Due(root.Now(), 1000, nil), r)
	versions := root.Versions(r.ID)
	return k.tagged(r) && k.granted(root, r) && r.State == k.state && r.Protected == k.protected && r.Deletion == k.deletion && r.RotationDays == k.days && r.RotationDue == k.due &&
		r.Versions == k.versions && len(versions) == int(held) && r.PrimaryVersion == held && k.imports.is(r) &&
		int(r.Aliases) == len(k.aliases) && len(aliases) == len(k.aliases) && isDue == (wantDue != 0 && wantDue <= root.Now())
}
