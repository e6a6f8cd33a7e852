package command

// Imported material: the parameters for an import, the import, and its end.

// The kinds of write of this file.
const (
	TypeOpenImport         Type = 70
	TypeImportMaterial     Type = 71
	TypeDeleteMaterial     Type = 72
	TypeCountImportFailure Type = 73
	TypeExpireImport       Type = 74
)

var importRows = []row{
	{TypeOpenImport, "open-import", 1, body[OpenImport]},
	{TypeImportMaterial, "import-material", 1, body[ImportMaterial]},
	{TypeDeleteMaterial, "delete-material", 1, body[DeleteMaterial]},
	{TypeCountImportFailure, "count-import-failure", 1, body[CountImportFailure]},
	{TypeExpireImport, "expire-import", 1, body[ExpireImport]},
}

// OpenImport keeps the wrapping pair of a key's import until it expires. A key
// has a few at once; one more drops the oldest.
type OpenImport struct {
	ProjectID      string `cbor:"1,keyasint"`
	KeyID          string `cbor:"2,keyasint"`
	TokenID        []byte `cbor:"3,keyasint"` // 16 bytes
	Expires        int64  `cbor:"4,keyasint"`
	RootGeneration uint32 `cbor:"5,keyasint"`
	Blob           []byte `cbor:"6,keyasint"`
	PublicKey      []byte `cbor:"7,keyasint"`
	MAC            []byte `cbor:"8,keyasint"`
}

// ImportMaterial gives a key its material, the same for ever: the fingerprint
// of the first import is that of every later one.
type ImportMaterial struct {
	ProjectID   string     `cbor:"1,keyasint"`
	KeyID       string     `cbor:"2,keyasint"`
	TokenID     []byte     `cbor:"3,keyasint"`
	Expires     int64      `cbor:"4,keyasint,omitempty"` // 0: never
	Fingerprint []byte     `cbor:"5,keyasint"`           // keyed; says nothing of the material
	Version     NewVersion `cbor:"6,keyasint"`           // number 1
}

// DeleteMaterial erases imported material. Fenced.
type DeleteMaterial struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
}

// CountImportFailure counts what did not open under a wrapping pair; a few of
// them end its token.
type CountImportFailure struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	TokenID   []byte `cbor:"3,keyasint"`
}

// ExpireImport erases the material and the wrapping pairs whose time is over.
type ExpireImport struct {
	KeyID string `cbor:"1,keyasint"`
	Due   int64  `cbor:"2,keyasint"` // the time that the scheduler saw
}

// Type implements [Body].
func (OpenImport) Type() Type { return TypeOpenImport }

// Type implements [Body].
func (ImportMaterial) Type() Type { return TypeImportMaterial }

// Type implements [Body].
func (DeleteMaterial) Type() Type { return TypeDeleteMaterial }

// Type implements [Body].
func (CountImportFailure) Type() Type { return TypeCountImportFailure }

// Type implements [Body].
func (ExpireImport) Type() Type { return TypeExpireImport }

// AboutKey implements [AboutKey].
func (b OpenImport) AboutKey() string { return b.KeyID }

// AboutKey implements [AboutKey].
func (b ImportMaterial) AboutKey() string { return b.KeyID }

// AboutKey implements [AboutKey].
func (b DeleteMaterial) AboutKey() string { return b.KeyID }

// AboutKey implements [AboutKey].
func (b CountImportFailure) AboutKey() string { return b.KeyID }
