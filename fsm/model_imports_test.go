package fsm_test

import (
	"slices"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// modelImports is what the model knows of a key whose material comes from elsewhere.
type modelImports struct {
	ofPair   bool // an asymmetric key's
	tokens   []modelToken
	material bool   // there is some
	print    string // of the first that there was
	expires  int64  // 0: never
	disabled bool   // it was not Enabled when its material went
}

// modelToken leads to a wrapping pair.
type modelToken struct {
	id       string
	expires  int64
	failures int
}

// token returns the first of that id.
func (i *modelImports) token(id []byte) *modelToken {
	for at := range i.tokens {
		if i.tokens[at].id == string(id) {
			return &i.tokens[at]
		}
	}
	return nil
}

// check is why a token cannot be used.
func (i *modelImports) check(id []byte, now int64) fsm.Code {
	switch t := i.token(id); {
	case t == nil || t.expires <= now:
		return fsm.CodeImportExpired
	case t.failures >= 10:
		return fsm.CodeImportToken
	}
	return ""
}

// due is when something of it is over; 0: never.
func (i *modelImports) due() int64 {
	var all []int64
	for _, t := range i.tokens {
		all = append(all, t.expires)
	}
	if i.expires != 0 {
		all = append(all, i.expires)
	}
	if len(all) == 0 {
		return 0
	}
	return slices.Min(all)
}

// is tells whether a record says what the model does.
func (i *modelImports) is(r *state.Key) bool {
	same := slices.EqualFunc(r.ImportPairs, i.tokens, func(p state.ImportPair, t modelToken) bool {
		return string(p.TokenID) == t.id && p.Expires == t.expires && int(p.Failures) == t.failures && p.Ended() == (t.failures >= 10)
	})
	return same && string(r.Fingerprint) == i.print && r.MaterialExpires == i.expires && r.DisabledBefore == i.disabled
}

// lose takes the material from a key.
func (k *modelKey) lose() {
	k.imports.disabled = k.state != state.Enabled
	if k.state != state.PendingDeletion {
		k.state = state.PendingImport
	}
	k.imports.material, k.imports.expires = false, 0
}

// importing is [model.do] for imports.
func (m *model) importing(body command.Body) fsm.Code {
	if b, ok := body.(command.ExpireImport); ok {
		k := m.find(b.KeyID)
		if k == nil || b.Due == 0 || k.imports.due() != b.Due || b.Due > m.now {
			return fsm.CodeStale
		}
		k.imports.tokens = slices.DeleteFunc(k.imports.tokens, func(t modelToken) bool { return t.expires <= m.now })
		if k.imports.expires != 0 && k.imports.expires <= m.now {
			k.lose()
		}
		return ""
	}
	k := m.find(body.(interface{ AboutKey() string }).AboutKey())
	_, deletes := body.(command.DeleteMaterial)
	switch {
	case k == nil:
		return fsm.CodeNotFound
	case !k.external:
		return fsm.CodeNotExternal
	case k.state == state.PendingDeletion && deletes:
		return fsm.CodeMaterialState
	case k.state == state.PendingDeletion:
		return fsm.CodePendingDeletion
	}
	i := &k.imports
	switch b := body.(type) {
	case command.DeleteMaterial:
		switch {
		case i.ofPair:
			return fsm.CodePairMaterial
		case k.state == state.PendingImport:
			return fsm.CodeMaterialState
		}
		k.lose()
	case command.CountImportFailure:
		if code := i.check(b.TokenID, m.now); code != "" {
			return code
		}
		i.token(b.TokenID).failures++
	case command.OpenImport:
		switch {
		case k.state != state.PendingImport:
			return fsm.CodeNotPendingImport
		case b.Expires <= m.now || b.Expires > m.now+25*3_600_000:
			return fsm.CodeInvalid
		}
		i.tokens = append(i.tokens, modelToken{id: string(b.TokenID), expires: b.Expires})
		if len(i.tokens) > 4 {
			oldest := i.tokens[0].id
			i.tokens = slices.DeleteFunc(i.tokens, func(t modelToken) bool { return t.id == oldest })
		}
	case command.ImportMaterial:
		return k.imported(b, m.now)
	}
	return ""
}

func (k *modelKey) imported(b command.ImportMaterial, now int64) fsm.Code {
	i := &k.imports
	if k.state != state.PendingImport {
		return fsm.CodeNotPendingImport
	}
	if code := i.check(b.TokenID, now); code != "" {
		return code
	}
	switch {
	case b.Expires != 0 && b.Expires <= now:
		return fsm.CodeImportExpiry
	case b.Expires != 0 && i.ofPair:
		return fsm.CodePairMaterial
	case i.ofPair != (len(b.Version.PublicKey) != 0):
		return fsm.CodeInvalid
	case i.print != "" && i.print != string(b.Fingerprint):
		return fsm.CodeMaterialDiffers
	}
	k.state, k.versions = state.Enabled, 1
	if i.disabled {
		k.state, i.disabled = state.Disabled, false
	}
	i.material, i.print, i.expires = true, string(b.Fingerprint), b.Expires
	if i.ofPair {
		i.tokens = nil
	}
	return ""
}
