package command

// The life of a key: names, deletion, rotation, erasure.

// The kinds of write of this file.
const (
	TypeRenameKey           Type = 20
	TypeUpdateDescription   Type = 21
	TypeScheduleDeletion    Type = 22
	TypeCancelDeletion      Type = 23
	TypeProtectKey          Type = 24
	TypeCreateAlias         Type = 25
	TypeDeleteAliases       Type = 26
	TypeAssociateAlias      Type = 27
	TypeEnableRotation      Type = 28
	TypeSetRotationInterval Type = 29
	TypeDisableRotation     Type = 30
	TypeRotateKey           Type = 31
	TypeRotateDueKey        Type = 32
	TypeDeleteDueKey        Type = 33
	TypeReportErasure       Type = 34
	TypeRecordUse           Type = 35
	TypeCreateDefaultKey    Type = 36
)

var lifeRows = []row{
	{TypeRenameKey, "rename-key", 1, body[RenameKey]},
	{TypeUpdateDescription, "update-description", 1, body[UpdateDescription]},
	{TypeScheduleDeletion, "schedule-deletion", 1, body[ScheduleDeletion]},
	{TypeCancelDeletion, "cancel-deletion", 1, body[CancelDeletion]},
	{TypeProtectKey, "protect-key", 1, body[ProtectKey]},
	{TypeCreateAlias, "create-alias", 1, body[CreateAlias]},
	{TypeDeleteAliases, "delete-aliases", 1, body[DeleteAliases]},
	{TypeAssociateAlias, "associate-alias", 1, body[AssociateAlias]},
	{TypeEnableRotation, "enable-rotation", 1, body[EnableRotation]},
	{TypeSetRotationInterval, "set-rotation-interval", 1, body[SetRotationInterval]},
	{TypeDisableRotation, "disable-rotation", 1, body[DisableRotation]},
	{TypeRotateKey, "rotate-key", 1, body[RotateKey]},
	{TypeRotateDueKey, "rotate-due-key", 1, body[RotateDueKey]},
	{TypeDeleteDueKey, "delete-due-key", 1, body[DeleteDueKey]},
	{TypeReportErasure, "report-erasure", 1, body[ReportErasure]},
	{TypeRecordUse, "record-use", 1, body[RecordUse]},
	{TypeCreateDefaultKey, "create-default-key", 1, body[CreateDefaultKey]},
}

// RenameKey gives a key another name. Fenced: the old name stops to mean it.
type RenameKey struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	Name      string `cbor:"3,keyasint"`
}

// UpdateDescription gives a key another description.
type UpdateDescription struct {
	ProjectID   string `cbor:"1,keyasint"`
	KeyID       string `cbor:"2,keyasint"`
	Description string `cbor:"3,keyasint"`
}

// ScheduleDeletion takes a key out of use and deletes it after a wait. Fenced.
type ScheduleDeletion struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	Wait      int64  `cbor:"3,keyasint"` // ms from the replicated time at which it is applied
}

// CancelDeletion takes a key from PendingDeletion to Disabled, or to
// PendingImport when it has no material.
type CancelDeletion struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
}

// ProtectKey switches a key's deletion protection.
type ProtectKey struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	On        bool   `cbor:"3,keyasint"`
}

// CreateAlias gives a key one more name.
type CreateAlias struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	Name      string `cbor:"3,keyasint"`
}

// DeleteAliases takes aliases from a key: all of them, or none. Fenced.
type DeleteAliases struct {
	ProjectID string   `cbor:"1,keyasint"`
	KeyID     string   `cbor:"2,keyasint"`
	Names     []string `cbor:"3,keyasint"`
}

// AssociateAlias points an alias at another key. Fenced.
type AssociateAlias struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"` // the key that it points at from now on
	Name      string `cbor:"3,keyasint"`
}

// EnableRotation has a key rotated every so many days.
type EnableRotation struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	Days      uint32 `cbor:"3,keyasint"`
}

// SetRotationInterval changes the days and begins a new period.
type SetRotationInterval struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
	Days      uint32 `cbor:"3,keyasint"`
}

// DisableRotation ends the rotation of a key.
type DisableRotation struct {
	ProjectID string `cbor:"1,keyasint"`
	KeyID     string `cbor:"2,keyasint"`
}

// NewVersion is a further version of a key, made in a module.
type NewVersion struct {
	Number         uint32 `cbor:"1,keyasint"` // must be the next one: the record MAC is over it
	RootGeneration uint32 `cbor:"2,keyasint"`
	Blob           []byte `cbor:"3,keyasint"`
	PublicKey      []byte `cbor:"4,keyasint"`
	MAC            []byte `cbor:"5,keyasint"`
}

// RotateKey adds a version to a key on demand. It becomes the primary one,
// except with an asymmetric key, which has none. Fenced.
type RotateKey struct {
	ProjectID string     `cbor:"1,keyasint"`
	KeyID     string     `cbor:"2,keyasint"`
	Version   NewVersion `cbor:"3,keyasint"`
}

// RotateDueKey adds the version that was due. Fenced.
type RotateDueKey struct {
	KeyID   string     `cbor:"1,keyasint"`
	Due     int64      `cbor:"2,keyasint"` // the due time that the scheduler saw: done once, whoever else saw it
	Version NewVersion `cbor:"3,keyasint"`
}

// DeleteDueKey deletes a key whose deletion is due. Fenced.
type DeleteDueKey struct {
	KeyID string `cbor:"1,keyasint"`
	Due   int64  `cbor:"2,keyasint"` // the deletion time that the scheduler saw
}

// ReportErasure says that the files of a node hold nothing any more of the
// keys that were deleted up to an index.
type ReportErasure struct {
	NodeID  string `cbor:"1,keyasint"`
	Through uint64 `cbor:"2,keyasint"`
}

// RecordUse says when versions were last used on a node.
type RecordUse struct {
	Uses []VersionUse `cbor:"1,keyasint"` // sorted by key, then number; at most 512
}

// VersionUse is the last use of one version on one node.
type VersionUse struct {
	KeyID  string `cbor:"1,keyasint"`
	Number uint32 `cbor:"2,keyasint"`
	Last   int64  `cbor:"3,keyasint"`
}

// CreateDefaultKey makes the default master key of a service in a project,
// unless it is there.
type CreateDefaultKey struct {
	KeyID          string `cbor:"1,keyasint"`
	ProjectID      string `cbor:"2,keyasint"`
	Service        string `cbor:"3,keyasint"` // the key is called SERVICE/default
	Level          uint8  `cbor:"4,keyasint"`
	RootGeneration uint32 `cbor:"5,keyasint"`
	Blob           []byte `cbor:"6,keyasint"`
	MAC            []byte `cbor:"7,keyasint"`
}

func (CreateDefaultKey) Type() Type { return TypeCreateDefaultKey }

func (RenameKey) Type() Type           { return TypeRenameKey }
func (UpdateDescription) Type() Type   { return TypeUpdateDescription }
func (ScheduleDeletion) Type() Type    { return TypeScheduleDeletion }
func (CancelDeletion) Type() Type      { return TypeCancelDeletion }
func (ProtectKey) Type() Type          { return TypeProtectKey }
func (CreateAlias) Type() Type         { return TypeCreateAlias }
func (DeleteAliases) Type() Type       { return TypeDeleteAliases }
func (AssociateAlias) Type() Type      { return TypeAssociateAlias }
func (EnableRotation) Type() Type      { return TypeEnableRotation }
func (SetRotationInterval) Type() Type { return TypeSetRotationInterval }
func (DisableRotation) Type() Type     { return TypeDisableRotation }
func (RotateKey) Type() Type           { return TypeRotateKey }
func (RotateDueKey) Type() Type        { return TypeRotateDueKey }
func (DeleteDueKey) Type() Type        { return TypeDeleteDueKey }
func (ReportErasure) Type() Type       { return TypeReportErasure }
func (RecordUse) Type() Type           { return TypeRecordUse }
