package command

import (
	"fmt"
	"slices"
)

// row is what this package knows of one kind of write.
type row struct {
	typ   Type
	name  string               // as logs and traces spell it
	level uint32               // feature level at which it came in
	check func(*Command) error // decodes the body in full
}

// rows is every kind of write there is. Each file of bodies lists its own.
var rows = slices.Concat(coreRows, membershipRows, lifeRows, identityRows, accountRows, tagRows, grantRows, importRows, traceRows, factorRows, rootRows)

var coreRows = []row{
	{TypeBootstrap, "bootstrap", 1, body[Bootstrap]},
	{TypeCreateKey, "create-key", 1, body[CreateKey]},
	{TypeEnableKey, "enable-key", 1, body[EnableKey]},
	{TypeDisableKey, "disable-key", 1, body[DisableKey]},
	{TypeCreateJoinToken, "create-join-token", 1, body[CreateJoinToken]},
	{TypeAdmitNode, "admit-node", 1, body[AdmitNode]},
	{TypeApproveRoots, "approve-roots", 1, body[ApproveRoots]},
	{TypeSetConsistency, "set-consistency", 1, body[SetConsistency]},
}

// body is the check of a row.
func body[B Body](c *Command) error {
	_, err := DecodeBody[B](*c)
	return err
}

// byType finds a row by the number of its type.
var byType = func() []*row {
	var index []*row
	for i := range rows {
		r := &rows[i]
		for len(index) <= int(r.typ) {
			index = append(index, nil)
		}
		if index[r.typ] != nil {
			panic(fmt.Sprintf("two kinds of write have the number %d", r.typ))
		}
		index[r.typ] = r
	}
	return index
}()

// row returns what is known of a type, nil for one that this binary does not know.
func (t Type) row() *row {
	if int(t) >= len(byType) {
		return nil
	}
	return byType[t]
}

// Types returns every type this binary knows.
func Types() []Type {
	types := make([]Type, len(rows))
	for i, r := range rows {
		types[i] = r.typ
	}
	return types
}

// String returns the name of the type, as logs and traces spell it.
func (t Type) String() string {
	if r := t.row(); r != nil {
		return r.name
	}
	return fmt.Sprintf("type-%d", uint16(t))
}

// Level returns the feature level at which the type came in; 0 for a type that
// this binary does not know.
func (t Type) Level() uint32 {
	if r := t.row(); r != nil {
		return r.level
	}
	return 0
}
