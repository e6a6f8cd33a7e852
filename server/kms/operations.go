package kms

// Operation is one row of what can be asked: the name in traces and metrics,
// and the permission it needs.
type Operation struct {
	Name     string // trace name, camelCase, e.g. createDataKey
	Action   string // permission, e.g. kms:dek:create
	Resource string // resource type in traces: cmk or rng
	ReadOnly bool   // changes no state and uses no key
}

// The operations.
var (
	OpCreateKey                     = Operation{"createKey", "kms:cmk:create", "cmk", false}
	OpDescribeKey                   = Operation{"describeKey", "kms:cmk:get", "cmk", true}
	OpListKeys                      = Operation{"listKeys", "kms:cmk:list", "cmk", true}
	OpEnableKey                     = Operation{"enableKey", "kms:cmk:enable", "cmk", false}
	OpDisableKey                    = Operation{"disableKey", "kms:cmk:disable", "cmk", false}
	OpCreateDataKey                 = Operation{"createDataKey", "kms:dek:create", "cmk", false}
	OpCreateDataKeyWithoutPlaintext = Operation{"createDataKeyWithoutPlaintext", "kms:dek:create", "cmk", false}
	OpEncryptDataKey                = Operation{"encryptDatakey", "kms:dek:crypto", "cmk", false}
	OpDecryptDataKey                = Operation{"decryptDatakey", "kms:dek:crypto", "cmk", false}
	OpEncryptData                   = Operation{"encryptData", "kms:cmk:crypto", "cmk", false}
	OpDecryptData                   = Operation{"decryptData", "kms:cmk:crypto", "cmk", false}
	OpGenerateRandom                = Operation{"genRandom", "kms:cmk:generate", "rng", false}
	OpCreateJoinToken               = Operation{"createJoinToken", "cluster:token:create", "cluster", false}
	OpAdmitNode                     = Operation{"admitNode", "cluster:node:admit", "cluster", false}
	OpApproveRoots                  = Operation{"approveRoots", "cluster:root:approve", "cluster", false}
	OpBootstrap                     = Operation{"bootstrapCluster", "cluster:bootstrap", "cluster", false}
)
