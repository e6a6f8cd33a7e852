package command

import "fmt"

// Types returns every type this binary knows, in the order of their numbers.
func Types() []Type {
	return []Type{TypeBootstrap, TypeCreateKey, TypeEnableKey, TypeDisableKey, TypeCreateJoinToken, TypeAdmitNode, TypeApproveRoots,
		TypeRenameKey, TypeUpdateDescription, TypeScheduleDeletion, TypeCancelDeletion, TypeProtectKey, TypeCreateAlias, TypeDeleteAliases, TypeAssociateAlias,
		TypeEnableRotation, TypeSetRotationInterval, TypeDisableRotation, TypeRotateKey, TypeRotateDueKey, TypeDeleteDueKey, TypeReportErasure, TypeRecordUse,
	}
}

// String returns the name of the type, as logs and traces spell it.
func (t Type) String() string {
	switch t {
	case TypeBootstrap:
		return "bootstrap"
	case TypeCreateKey:
		return "create-key"
	case TypeEnableKey:
		return "enable-key"
	case TypeDisableKey:
		return "disable-key"
	case TypeCreateJoinToken:
		return "create-join-token"
	case TypeAdmitNode:
		return "admit-node"
	case TypeApproveRoots:
		return "approve-roots"
	case TypeRenameKey:
		return "rename-key"
	case TypeUpdateDescription:
		return "update-description"
	case TypeScheduleDeletion:
		return "schedule-deletion"
	case TypeCancelDeletion:
		return "cancel-deletion"
	case TypeProtectKey:
		return "protect-key"
	case TypeCreateAlias:
		return "create-alias"
	case TypeDeleteAliases:
		return "delete-aliases"
	case TypeAssociateAlias:
		return "associate-alias"
	case TypeEnableRotation:
		return "enable-rotation"
	case TypeSetRotationInterval:
		return "set-rotation-interval"
	case TypeDisableRotation:
		return "disable-rotation"
	case TypeRotateKey:
		return "rotate-key"
	case TypeRotateDueKey:
		return "rotate-due-key"
	case TypeDeleteDueKey:
		return "delete-due-key"
	case TypeReportErasure:
		return "report-erasure"
	case TypeRecordUse:
		return "record-use"
	default:
		return fmt.Sprintf("type-%d", uint16(t))
	}
}

// Level returns the feature level at which the type came in; 0 for a type that
// this binary does not know.
func (t Type) Level() uint32 {
	switch t {
	case TypeBootstrap, TypeCreateKey, TypeEnableKey, TypeDisableKey,
		TypeCreateJoinToken, TypeAdmitNode, TypeApproveRoots,
		TypeRenameKey, TypeUpdateDescription, TypeScheduleDeletion, TypeCancelDeletion, TypeProtectKey, TypeCreateAlias, TypeDeleteAliases, TypeAssociateAlias,
		TypeEnableRotation, TypeSetRotationInterval, TypeDisableRotation, TypeRotateKey, TypeRotateDueKey, TypeDeleteDueKey, TypeReportErasure, TypeRecordUse:
		return 1
	default:
		return 0
	}
}
