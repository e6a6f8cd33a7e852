package kms

import "github.com/raftkms/raftkms/fsm/policy"

// Who somebody is. Without an action everybody may, about themselves.
var (
	OpCreateToken    = Operation{"createToken", "", "token"}
	OpValidateToken  = Operation{"validateToken", "", "token"}
	OpRevokeToken    = Operation{"revokeToken", policy.ActionRevokeTokens, "token"}
	OpShowCatalog    = Operation{"showCatalog", "", "token"}
	OpFindProjects   = Operation{"findProjects", "", "project"}
	OpFindDomains    = Operation{"findDomains", "", "domain"}
	OpChangePassword = Operation{"changePassword", "", "user"}
	OpEnrolMFA       = Operation{"createVirtualMFADevice", "", "user"}
	OpBindMFA        = Operation{"bindMFADevice", "", "user"}
	OpUnbindMFA      = Operation{"unbindMFADevice", "", "user"}
	OpShowMFA        = Operation{"showMFADevice", policy.ActionListUsers, "user"}
	OpResetMFA       = Operation{"deleteVirtualMFADevice", policy.ActionResetMFA, "user"}
	OpLockUser       = Operation{"lockUser", "", "user"}
	OpRefuseMany     = Operation{"refuseManyRequests", "", "address"}

	OpUpdateProviders = Operation{"updateIdentityProviders", policy.ActionUpdateProviders, "provider"}
)
