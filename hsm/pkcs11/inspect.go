package pkcs11

import (
	"fmt"
	"slices"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// inspect reads the roots' attributes back and tries what must be refused. What
// a device accepted and did not keep is a note for the operator, and a warning.
func (m *Module) inspect(s *session, t *rootTable) error {
	var notes []string
	for _, g := range t.generations() {
		for _, k := range rootKinds {
			for _, p := range slices.Concat(k.guards(), k.uses.permissions(), lasting()) {
				kept, err := m.keeps(s, t.sets[g][k.root], p)
				if err != nil {
					return err
				}
				if !kept {
					notes = append(notes, fmt.Sprintf("The token does not keep %s=%t of %q: whoever has the PIN can do what that forbids.",
						p.name, p.allowed, k.label(g)))
				}
			}
		}
		forced, err := m.forcesMaterial(s, t.sets[g][hsm.RootHSM])
		if err != nil {
			return err
		}
		if !forced {
			notes = append(notes, fmt.Sprintf("The token ignores CKA_UNWRAP_TEMPLATE of generation %d: whoever has the PIN can read keys.", g))
		}
	}
	m.notesLock.Lock()
	defer m.notesLock.Unlock()
	for _, note := range notes {
		if !slices.Contains(m.rootNotes, note) {
			m.log.Warn("the module has a limitation", "token", m.dev.label, "note", note)
		}
	}
	m.rootNotes = notes
	return nil
}

// keeps tells whether the object has the attribute as it was set.
func (m *Module) keeps(s *session, o p11.ObjectHandle, p permission) (bool, error) {
	is, err := m.dev.api.GetAttributeValue(s.handle, o, template{attribute(p.kind, nil)})
	if hasCode(err, p11.CKR_ATTRIBUTE_TYPE_INVALID) {
		return !p.allowed && p.kind == p11.CKA_TRUSTED, nil // a token that trusts nothing
	}
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", p.name, err)
	}
	return slices.Equal(is[0].Value, p.attribute().Value), nil
}

// forcesMaterial tries to unwrap a key of no worth as a readable one.
func (m *Module) forcesMaterial(s *session, root p11.ObjectHandle) (bool, error) {
	blob, _, err := m.newWrapped(s, root, hsm.SpecAES256)
	if err != nil {
		return false, fmt.Errorf("trying the unwrap template: %w", err)
	}
	key, err := m.dev.api.UnwrapKey(s.handle, mechanism(m.keyWrap), root, blob, loadedMaterial(true))
	switch {
	case err != nil && faultOf(err) == faultNone:
		return true, nil
	case err != nil:
		return false, fmt.Errorf("trying the unwrap template: %w", err)
	}
	// A device may also force the template silently.
	value := make([]byte, keySize)
	defer clear(value)
	_, err = m.dev.api.ReadValue(s.handle, key, value)
	if derr := m.dev.api.DestroyObject(s.handle, key); derr != nil {
		return false, fmt.Errorf("destroying a key: %w", derr)
	}
	if faultOf(err) != faultNone { // of the device, which has refused nothing
		return false, fmt.Errorf("trying the unwrap template: %w", err)
	}
	return err != nil, nil
}
