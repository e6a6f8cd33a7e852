package command

import "github.com/raftkms/raftkms/fsm/state"

// Root keys: one generation after the other.

// The kinds of write of this file.
const (
	TypeRotateRoots   Type = 170
	TypeReportRoots   Type = 171
	TypeRewrapRecords Type = 172
)

var rootRows = []row{
	{TypeRotateRoots, "rotate-roots", 1, body[RotateRoots]},
	{TypeReportRoots, "report-roots", 1, body[ReportRoots]},
	{TypeRewrapRecords, "rewrap-records", 1, body[RewrapRecords]},
}

// RotateRoots takes one step of a rotation of the root keys.
type RotateRoots struct {
	Step       RootStep `cbor:"1,keyasint"`
	Generation uint32   `cbor:"2,keyasint"`           // that is staged, used, retired or given up
	Canary     []byte   `cbor:"3,keyasint,omitempty"` // of the new generation: with RootStage only
	EndTokens  bool     `cbor:"4,keyasint,omitempty"` // with RootRetire: tokens of the old generation may still count, and end
}

// RootStep is a step of a rotation of the root keys.
type RootStep uint8

// The steps, in their order.
const (
	RootStage  RootStep = 1 // a new generation was made; modules take it in
	RootUse    RootStep = 2 // all hold it: whatever is made from now on is under it
	RootRetire RootStep = 3 // nothing is under the old one: modules destroy it
	RootAbort  RootStep = 4 // instead of RootUse: the staged one is given up, and modules destroy it
)

// ReportRoots says that a node's module has proved to hold a generation.
type ReportRoots struct {
	NodeID     string   `cbor:"1,keyasint"`
	Generation uint32   `cbor:"2,keyasint"`
	Canary     [32]byte `cbor:"3,keyasint"` // SHA-256 of the canary that it proved it with: a number serves again after RootAbort
}

// MaxRewrapped is how many things one command puts under other roots.
const MaxRewrapped = 256

// RewrapRecords puts things under the generation of the roots in use. Each
// names what it replaces; what was changed meanwhile stays as it is.
type RewrapRecords struct {
	Generation uint32      `cbor:"1,keyasint"`
	Parts      []Rewrapped `cbor:"2,keyasint"`
}

// Rewrapped is one thing that was put under other roots.
type Rewrapped struct {
	What   state.SealedWhat `cbor:"1,keyasint"`
	ID     string           `cbor:"2,keyasint"` // of the record
	Number uint32           `cbor:"3,keyasint,omitempty"`
	Old    [32]byte         `cbor:"4,keyasint"` // SHA-256 of what it replaces
	Bytes  []byte           `cbor:"5,keyasint"`
	MAC    []byte           `cbor:"6,keyasint,omitempty"` // of a version
}

// Type returns [TypeRotateRoots].
func (RotateRoots) Type() Type { return TypeRotateRoots }

// Type returns [TypeReportRoots].
func (ReportRoots) Type() Type { return TypeReportRoots }

// Type returns [TypeRewrapRecords].
func (RewrapRecords) Type() Type { return TypeRewrapRecords }
