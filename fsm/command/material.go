package command

import "github.com/raftkms/raftkms/fsm/state"

// Material is wrapped material of a key that stands in a body, and with it in
// the log of every node, whatever is answered to the command.
type Material struct {
	KeyID          string
	Number         uint32 // of the version; 0: the private half of a wrapping pair
	RootGeneration uint32
	Blob           []byte
}

// WithMaterial is a body that carries wrapped material. Apply has that erased of
// which the key is gone by then: a body with such bytes says so here.
type WithMaterial interface {
	Body
	Material() []Material
}

// Material implements [WithMaterial]. A key whose material is imported is made without.
func (b CreateKey) Material() []Material {
	if len(b.Blob) == 0 {
		return nil
	}
	return []Material{{b.KeyID, 1, b.RootGeneration, b.Blob}}
}

// Material implements [WithMaterial].
func (b CreateDefaultKey) Material() []Material {
	return []Material{{b.KeyID, 1, b.RootGeneration, b.Blob}}
}

// Material implements [WithMaterial].
func (b RotateKey) Material() []Material { return b.Version.material(b.KeyID) }

// Material implements [WithMaterial].
func (b RotateDueKey) Material() []Material { return b.Version.material(b.KeyID) }

// Material implements [WithMaterial].
func (b ImportMaterial) Material() []Material { return b.Version.material(b.KeyID) }

// Material implements [WithMaterial].
func (b OpenImport) Material() []Material {
	return []Material{{b.KeyID, 0, b.RootGeneration, b.Blob}}
}

// Material implements [WithMaterial]. What else is put under other roots is no
// key's material.
func (b RewrapRecords) Material() (all []Material) {
	for _, p := range b.Parts {
		if p.What == state.SealedVersion {
			all = append(all, Material{p.ID, p.Number, b.Generation, p.Bytes})
		}
	}
	return all
}

func (v NewVersion) material(keyID string) []Material {
	return []Material{{keyID, v.Number, v.RootGeneration, v.Blob}}
}
