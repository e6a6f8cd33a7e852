package kms

// Operation is one row of what can be asked: the name in traces and metrics,
// and the permission it needs.
type Operation struct {
	Name     string // trace name, camelCase, e.g. createDataKey
	Action   string // permission, e.g. kms:dek:create
	Resource string // resource type in traces: cmk or rng
}

// The operations.
var (
	OpCreateKey                     = Operation{"createKey", "kms:cmk:create", "cmk"}
	OpDescribeKey                   = Operation{"describeKey", "kms:cmk:get", "cmk"}
	OpListKeys                      = Operation{"listKeys", "kms:cmk:list", "cmk"}
	OpEnableKey                     = Operation{"enableKey", "kms:cmk:enable", "cmk"}
	OpDisableKey                    = Operation{"disableKey", "kms:cmk:disable", "cmk"}
	OpCreateDataKey                 = Operation{"createDataKey", "kms:dek:create", "cmk"}
	OpCreateDataKeyWithoutPlaintext = Operation{"createDataKeyWithoutPlaintext", "kms:dek:create", "cmk"}
	OpEncryptDataKey                = Operation{"encryptDatakey", "kms:dek:crypto", "cmk"}
	OpDecryptDataKey                = Operation{"decryptDatakey", "kms:dek:crypto", "cmk"}
	OpEncryptData                   = Operation{"encryptData", "kms:cmk:crypto", "cmk"}
	OpDecryptData                   = Operation{"decryptData", "kms:cmk:crypto", "cmk"}
	OpGenerateRandom                = Operation{"genRandom", "kms:cmk:generate", "rng"}
	OpCreateJoinToken               = Operation{"createJoinToken", "cluster:token:create", "cluster"}
	OpAdmitNode                     = Operation{"admitNode", "cluster:node:admit", "cluster"}
	OpApproveRoots                  = Operation{"approveRoots", "cluster:root:approve", "cluster"}
	OpBootstrap                     = Operation{"bootstrapCluster", "cluster:bootstrap", "cluster"}

	// What happens to a node; nobody asks for it.
	OpGainLeadership  = Operation{"gainLeadership", "", "cluster"}
	OpLoseLeadership  = Operation{"loseLeadership", "", "cluster"}
	OpChangeMember    = Operation{"changeMember", "", "cluster"}
	OpTakeSnapshot    = Operation{"takeSnapshot", "", "cluster"}
	OpRestoreSnapshot = Operation{"restoreSnapshot", "", "cluster"}
	OpReceiveRoots    = Operation{"receiveRoots", "", "cluster"}
)
