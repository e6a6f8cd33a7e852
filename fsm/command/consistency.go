package command

import "github.com/raftkms/raftkms/fsm/state"

// TypeSetConsistency is the kind of write of this file.
const TypeSetConsistency Type = 140

// SetConsistency says what uses of keys are answered from. Fenced.
type SetConsistency struct {
	Mode   state.Consistency `cbor:"1,keyasint"`
	MaxAge int64             `cbor:"2,keyasint"` // ms; with state.ConsistencyAvailable only
}

// Type implements [Body].
func (SetConsistency) Type() Type { return TypeSetConsistency }
