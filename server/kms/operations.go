package kms

import (
	"slices"

	"github.com/raftkms/raftkms/fsm/policy"
)

// Operation is one row of what can be asked: the name in traces and metrics,
// and the permission it needs.
type Operation struct {
	Name     string // trace name, camelCase, e.g. createDataKey
	Action   string // permission, e.g. kms:dek:create
	Resource string // resource type in traces: cmk or rng
}

// The operations.
var (
	OpCreateKey                      = Operation{"createKey", "kms:cmk:create", "cmk"}
	OpDescribeKey                    = Operation{"describeKey", "kms:cmk:get", "cmk"}
	OpListKeys                       = Operation{"listKeys", "kms:cmk:list", "cmk"}
	OpEnableKey                      = Operation{"enableKey", "kms:cmk:enable", "cmk"}
	OpDisableKey                     = Operation{"disableKey", "kms:cmk:disable", "cmk"}
	OpCreateDataKey                  = Operation{"createDataKey", "kms:dek:create", "cmk"}
	OpCreateDataKeyWithoutPlaintext  = Operation{"createDataKeyWithoutPlaintext", "kms:dek:create", "cmk"}
	OpCreateDataKeys                 = Operation{"createDataKeys", "kms:dek:create", "cmk"}
	OpCreateDataKeysWithoutPlaintext = Operation{"createDataKeysWithoutPlaintext", "kms:dek:create", "cmk"}
	OpEncryptDataKey                 = Operation{"encryptDatakey", "kms:dek:encrypt", "cmk"}
	OpDecryptDataKey                 = Operation{"decryptDatakey", "kms:dek:decrypt", "cmk"}
	OpEncryptData                    = Operation{"encryptData", "kms:cmk:encrypt", "cmk"}
	OpDecryptData                    = Operation{"decryptData", "kms:cmk:decrypt", "cmk"}
	OpGenerateRandom                 = Operation{"genRandom", "kms:cmk:generate", "rng"}
	OpCreateJoinToken                = Operation{"createJoinToken", "cluster:token:create", "cluster"}
	OpAdmitNode                      = Operation{"admitNode", "", "cluster"} // by a join token
	OpApproveRoots                   = Operation{"approveRoots", "root:node:approve", "cluster"}
	OpRemoveNode                     = Operation{"removeNode", "cluster:node:remove", "cluster"}
	OpPromoteNode                    = Operation{"promoteNode", "cluster:node:update", "cluster"}
	OpDemoteNode                     = Operation{"demoteNode", "cluster:node:update", "cluster"}
	OpBackup                         = Operation{"backupCluster", policy.ActionCreateSnapshot, "cluster"}
	OpBackUpRoots                    = Operation{"backUpRoots", policy.ActionBackupRoots, "cluster"}
	OpRotateRoots                    = Operation{"rotateRoots", policy.ActionRotateRoots, "cluster"}
	OpRetireRoots                    = Operation{"retireRoots", policy.ActionRotateRoots, "cluster"}
	OpSetConsistency                 = Operation{"setConsistency", policy.ActionUpdateCluster, "cluster"}
	OpRotateGossipKey                = Operation{"rotateGossipKey", policy.ActionUpdateCluster, "cluster"}
	OpRotateCA                       = Operation{"rotateCA", policy.ActionUpdateCluster, "cluster"}
	OpRaiseLevel                     = Operation{"raiseFeatureLevel", policy.ActionUpdateCluster, "cluster"}
	OpBootstrap                      = Operation{"bootstrapCluster", "", "cluster"} // before there is anybody

	// What an operator asks of a node, besides.
	OpJoinCluster        = Operation{"joinCluster", "", "cluster"}
	OpExamineModule      = Operation{"examineModule", "", "cluster"}
	OpCopyRoots          = Operation{"copyRoots", "", "cluster"}
	OpTransferLeadership = Operation{"transferLeadership", "", "cluster"}
	OpCheckBackup        = Operation{"checkBackup", "", "cluster"}
	OpShowCA             = Operation{"showCA", "", "cluster"}
	OpReportCAs          = Operation{"reportCAs", "", "cluster"}
	OpShowUpgrade        = Operation{"showUpgrade", "", "cluster"}
	OpReportNode         = Operation{"reportNode", "", "cluster"}
	OpReportRoots        = Operation{"reportRoots", "", "cluster"}
	OpRewrapRecords      = Operation{"rewrapRecords", "", "cluster"}
	OpVerifyRoots        = Operation{"verifyRoots", "", "cluster"}
	OpVerifyErasure      = Operation{"verifyErasure", "", "cmk"}
	OpVerifyTraces       = Operation{"verifyTraces", "", "trace"}
	OpShowTraceKeys      = Operation{"showTraceKeys", "", "trace"}
	OpShowConsistency    = Operation{"showConsistency", "", "cluster"}
	OpListProviders      = Operation{"listIdentityProviders", "", "provider"}

	// The life of a key.
	OpUpdateKeyAlias            = Operation{"updateKeyAlias", policy.ActionUpdateKey, "cmk"}
	OpUpdateKeyDescription      = Operation{"updateKeyDescription", policy.ActionUpdateKey, "cmk"}
	OpScheduleKeyDeletion       = Operation{"scheduleKeyDeletion", policy.ActionUpdateKey, "cmk"}
	OpCancelKeyDeletion         = Operation{"cancelKeyDeletion", policy.ActionUpdateKey, "cmk"}
	OpEnableDeletionProtection  = Operation{"enableKeyDeletionProtection", policy.ActionProtectKey, "cmk"}
	OpDisableDeletionProtection = Operation{"disableKeyDeletionProtection", policy.ActionProtectKey, "cmk"}
	OpCreateAlias               = Operation{"createAlias", policy.ActionCreateAlias, "cmk"}
	OpDeleteAliases             = Operation{"deleteAlias", policy.ActionDeleteAlias, "cmk"}
	OpAssociateAlias            = Operation{"associateAlias", policy.ActionAssociateAlias, "cmk"}
	OpListAliases               = Operation{"listAliases", policy.ActionListAliases, "cmk"}
	OpEnableKeyRotation         = Operation{"enableKeyRotation", policy.ActionEnableRotation, "cmk"}
	OpUpdateRotationInterval    = Operation{"updateKeyRotationInterval", policy.ActionUpdateRotation, "cmk"}
	OpDisableKeyRotation        = Operation{"disableKeyRotation", policy.ActionDisableRotation, "cmk"}
	OpGetRotationStatus         = Operation{"getKeyRotationStatus", policy.ActionGetRotation, "cmk"}
	OpRotateOnDemand            = Operation{"rotateOnDemand", policy.ActionRotateKey, "cmk"}
	OpListKeyVersions           = Operation{"listKeyVersions", policy.ActionListKeyVersions, "cmk"}

	// What the cluster does to a key by itself.
	OpRotateDueKey      = Operation{"rotateKey", "", "cmk"}
	OpDeleteDueKey      = Operation{"deleteKey", "", "cmk"}
	OpDeleteKeyRiskTips = Operation{"deleteKeyRiskTips", "", "cmk"}
	OpEraseFiles        = Operation{"eraseDeletedKeys", "", "cluster"}

	// What happens to a node; nobody asks for it.
	OpGainLeadership  = Operation{"gainLeadership", "", "cluster"}
	OpLoseLeadership  = Operation{"loseLeadership", "", "cluster"}
	OpChangeMember    = Operation{"changeMember", "", "cluster"}
	OpRecoverCluster  = Operation{"recoverCluster", "", "cluster"}
	OpRestoreBackup   = Operation{"restoreBackup", "", "cluster"}
	OpTakeSnapshot    = Operation{"takeSnapshot", "", "cluster"}
	OpRestoreSnapshot = Operation{"restoreSnapshot", "", "cluster"}
	OpLoseModule      = Operation{"loseModule", "", "cluster"}
	OpRegainModule    = Operation{"regainModule", "", "cluster"}
	OpReceiveRoots    = Operation{"receiveRoots", "", "cluster"}
	OpLoseTraces      = Operation{"loseTraces", "", "cluster"}
	OpDoubtTraces     = Operation{"doubtTraces", "", "cluster"}
)

// usesOfKeys are the operations that do something with a key's material, or
// hand it out. Asked twice they change nothing that asking once does not.
func usesOfKeys() []Operation {
	return []Operation{
		OpCreateDataKey, OpCreateDataKeyWithoutPlaintext, OpCreateDataKeys, OpCreateDataKeysWithoutPlaintext, OpEncryptDataKey, OpDecryptDataKey, OpEncryptData, OpDecryptData,
		OpGetPublicKey, OpSign, OpVerify, OpGenerateMAC, OpVerifyMAC, OpReEncrypt,
		OpCreateRSADataKeyPair, OpCreateECDataKeyPair, OpDeriveSharedSecret,
	}
}

// Grantable tells whether a grant can allow the operation of that name, which
// needs the action, or one half of it.
func Grantable(name, action string) bool {
	return slices.ContainsFunc(append(usesOfKeys(), OpDescribeKey, OpCreateGrant), func(o Operation) bool {
		return o.Name == name && (o.Action == action || policy.Whole(o.Action) == action)
	})
}

// usesKey tells whether the operation is one of those.
func (o Operation) usesKey() bool { return slices.Contains(usesOfKeys(), o) }

// Repeatable says that asking twice changes nothing that asking once does not.
// What is not known to be is not.
func (o Operation) Repeatable() bool { return o == OpGenerateRandom || o.usesKey() }
