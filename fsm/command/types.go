package command

import "fmt"

// Types returns every type this binary knows, in the order of their numbers.
func Types() []Type {
	return []Type{TypeBootstrap, TypeCreateKey, TypeEnableKey, TypeDisableKey, TypeCreateJoinToken, TypeAdmitNode, TypeApproveRoots}
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
	default:
		return fmt.Sprintf("type-%d", uint16(t))
	}
}

// Level returns the feature level at which the type came in; 0 for a type that
// this binary does not know.
func (t Type) Level() uint32 {
	switch t {
	case TypeBootstrap, TypeCreateKey, TypeEnableKey, TypeDisableKey,
		TypeCreateJoinToken, TypeAdmitNode, TypeApproveRoots:
		return 1
	default:
		return 0
	}
}
