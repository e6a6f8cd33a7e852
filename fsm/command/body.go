package command

import (
	"fmt"

	"github.com/raftkms/raftkms/fsm/canonical"
)

// Body is what a command of one type carries: one of the structs of command.go.
type Body interface{ Type() Type }

func (Bootstrap) Type() Type       { return TypeBootstrap }
func (CreateKey) Type() Type       { return TypeCreateKey }
func (EnableKey) Type() Type       { return TypeEnableKey }
func (DisableKey) Type() Type      { return TypeDisableKey }
func (CreateJoinToken) Type() Type { return TypeCreateJoinToken }
func (AdmitNode) Type() Type       { return TypeAdmitNode }
func (ApproveRoots) Type() Type    { return TypeApproveRoots }

// DecodeBody returns the body of a command, which must be of the type that B
// is for; else the error wraps [ErrMalformed].
func DecodeBody[B Body](c Command) (B, error) {
	var body B
	if c.Type != body.Type() {
		return body, fmt.Errorf("%w: a %v command read as %v", ErrMalformed, c.Type, body.Type())
	}
	if err := canonical.Unmarshal(c.Body, &body); err != nil {
		return body, fmt.Errorf("%w: the body of a %v command: %w", ErrMalformed, c.Type, err)
	}
	return body, nil
}

// checkBody decodes the body, whatever the type.
func (c *Command) checkBody() error {
	var err error
	switch c.Type {
	case TypeBootstrap:
		_, err = DecodeBody[Bootstrap](*c)
	case TypeCreateKey:
		_, err = DecodeBody[CreateKey](*c)
	case TypeEnableKey:
		_, err = DecodeBody[EnableKey](*c)
	case TypeDisableKey:
		_, err = DecodeBody[DisableKey](*c)
	case TypeCreateJoinToken:
		_, err = DecodeBody[CreateJoinToken](*c)
	case TypeAdmitNode:
		_, err = DecodeBody[AdmitNode](*c)
	case TypeApproveRoots:
		_, err = DecodeBody[ApproveRoots](*c)
	case TypeRenameKey:
		_, err = DecodeBody[RenameKey](*c)
	case TypeUpdateDescription:
		_, err = DecodeBody[UpdateDescription](*c)
	case TypeScheduleDeletion:
		_, err = DecodeBody[ScheduleDeletion](*c)
	case TypeCancelDeletion:
		_, err = DecodeBody[CancelDeletion](*c)
	case TypeProtectKey:
		_, err = DecodeBody[ProtectKey](*c)
	case TypeCreateAlias:
		_, err = DecodeBody[CreateAlias](*c)
	case TypeDeleteAliases:
		_, err = DecodeBody[DeleteAliases](*c)
	case TypeAssociateAlias:
		_, err = DecodeBody[AssociateAlias](*c)
	case TypeEnableRotation:
		_, err = DecodeBody[EnableRotation](*c)
	case TypeSetRotationInterval:
		_, err = DecodeBody[SetRotationInterval](*c)
	case TypeDisableRotation:
		_, err = DecodeBody[DisableRotation](*c)
	case TypeRotateKey:
		_, err = DecodeBody[RotateKey](*c)
	case TypeRotateDueKey:
		_, err = DecodeBody[RotateDueKey](*c)
	case TypeDeleteDueKey:
		_, err = DecodeBody[DeleteDueKey](*c)
	case TypeReportErasure:
		_, err = DecodeBody[ReportErasure](*c)
	case TypeRecordUse:
		_, err = DecodeBody[RecordUse](*c)
	default:
		err = fmt.Errorf("%w: %d", ErrUnknownType, uint16(c.Type))
	}
	return err
}
