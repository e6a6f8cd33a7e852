package policy

import "strings"

// The actions, named as policies of the Huawei-style dialect name them:
// service, type of resource, operation. What policies write is matched against
// this list, the service as it stands and the rest in any case of letters. An
// action that is not in [Actions] is allowed to nobody.
const (
	// Keys.
	ActionCreateKey       = "kms:cmk:create"
	ActionEnableKey       = "kms:cmk:enable"
	ActionDisableKey      = "kms:cmk:disable"
	ActionUpdateKey       = "kms:cmk:update" // deletion, name, description
	ActionListKeys        = "kms:cmk:list"
	ActionGetKey          = "kms:cmk:get"
	ActionGetInstance     = "kms:cmk:getInstance"
	ActionGetQuota        = "kms:cmk:getQuota"
	ActionGetRotation     = "kms:cmk:getRotation"
	ActionEnableRotation  = "kms:cmk:enableRotation"
	ActionUpdateRotation  = "kms:cmk:updateRotation" // the interval
	ActionDisableRotation = "kms:cmk:disableRotation"
	ActionRotateKey       = "kms:cmk:rotate"      // on demand
	ActionGetMaterial     = "kms:cmk:getMaterial" // the parameters for an import
	ActionImportMaterial  = "kms:cmk:importMaterial"
	ActionDeleteMaterial  = "kms:cmk:deleteMaterial"

	// What keys are used for.
	ActionRandom       = "kms:cmk:generate"
	ActionCreateDEK    = "kms:dek:create" // with and without plaintext
	ActionCryptoDEK    = "kms:dek:crypto" // both of these, in one word; see [Whole]
	ActionEncryptDEK   = "kms:dek:encrypt"
	ActionDecryptDEK   = "kms:dek:decrypt"
	ActionCryptoData   = "kms:cmk:crypto" // both of these
	ActionEncryptData  = "kms:cmk:encrypt"
	ActionDecryptData  = "kms:cmk:decrypt"
	ActionSign         = "kms:cmk:sign"
	ActionVerify       = "kms:cmk:verify"
	ActionGetPublicKey = "kms:cmk:getPublicKey"
	ActionGenerateMAC  = "kms:cmk:generateMac"
	ActionVerifyMAC    = "kms:cmk:verifyMac"
	ActionDeriveSecret = "kms:cmk:deriveSharedSecret"

	// Aliases, tags and grants.
	ActionCreateAlias       = "kms:alias:create"
	ActionDeleteAlias       = "kms:alias:delete"
	ActionAssociateAlias    = "kms:alias:associate"
	ActionListAliases       = "kms:alias:list"
	ActionCreateTag         = "kms:cmkTag:create"
	ActionDeleteTag         = "kms:cmkTag:delete"
	ActionBatchTags         = "kms:cmkTag:batch"
	ActionListTags          = "kms:cmkTag:list"
	ActionListTagged        = "kms:cmkTag:listInstance"
	ActionCreateGrant       = "kms:grant:create"
	ActionRevokeGrant       = "kms:grant:revoke"
	ActionRetireGrant       = "kms:grant:retire"
	ActionListGrants        = "kms:grant:list"
	ActionUpdateQuota       = "kms:quota:update"
	ActionProtectKey        = "kms:cmk:protect"
	ActionGetPolicies       = "kms:cmk:getPolicies"
	ActionUseDefaultKey     = "kms:cmk:useDefault" // makes a service's default master key on first use
	ActionListKeyVersions   = "kms:cmk:listVersions"
	ActionCreateDataKeyPair = "kms:dek:createPair"

	// Who may do what. Accounts are the cluster's, see [ClusterWide].
	ActionCreateAccount    = "iam:accounts:create"
	ActionUpdateAccount    = "iam:accounts:update"
	ActionDeleteAccount    = "iam:accounts:delete"
	ActionListAccounts     = "iam:accounts:list"
	ActionUpdateServices   = "iam:accounts:updateServices"
	ActionCreateProject    = "iam:projects:create"
	ActionUpdateProject    = "iam:projects:update"
	ActionDeleteProject    = "iam:projects:delete"
	ActionListProjects     = "iam:projects:list"
	ActionCreateUser       = "iam:users:create"
	ActionUpdateUser       = "iam:users:update"
	ActionDeleteUser       = "iam:users:delete"
	ActionListUsers        = "iam:users:list"
	ActionSetPassword      = "iam:users:setPassword"
	ActionCreateGroup      = "iam:groups:create"
	ActionUpdateGroup      = "iam:groups:update"
	ActionDeleteGroup      = "iam:groups:delete"
	ActionListGroups       = "iam:groups:list"
	ActionAddMember        = "iam:groups:addMember"
	ActionRemoveMember     = "iam:groups:removeMember"
	ActionCreatePolicy     = "iam:roles:create"
	ActionUpdatePolicy     = "iam:roles:update"
	ActionDeletePolicy     = "iam:roles:delete"
	ActionListPolicies     = "iam:roles:list"
	ActionAttachPolicy     = "iam:permissions:grant"
	ActionDetachPolicy     = "iam:permissions:revoke"
	ActionListAttachments  = "iam:permissions:list"
	ActionExplain          = "iam:permissions:explain"
	ActionCreateCredential = "iam:credentials:create"
	ActionUpdateCredential = "iam:credentials:update"
	ActionDeleteCredential = "iam:credentials:delete"
	ActionListCredentials  = "iam:credentials:list"
	ActionRevokeTokens     = "iam:tokens:revoke"
	ActionUnlockUser       = "iam:users:unlock"
	ActionResetMFA         = "iam:users:resetMFA"           // takes a second factor away
	ActionUpdateProviders  = "iam:identityProviders:update" // OIDC issuers and client CAs
	ActionListProviders    = "iam:identityProviders:list"

	// Traces.
	ActionListTraces      = "cts:trace:list"
	ActionListAllTraces   = "cts:trace:listAll" // of every account
	ActionExportTraces    = "cts:trace:export"
	ActionVerifyTraces    = "cts:trace:verify"
	ActionGetTracker      = "cts:tracker:get"
	ActionUpdateTracker   = "cts:tracker:update"
	ActionGetCheckpoint   = "cts:checkpoint:get"
	ActionWriteCheckpoint = "cts:checkpoint:create"

	// The cluster and its roots.
	ActionGetCluster         = "cluster:cluster:get"
	ActionUpdateCluster      = "cluster:cluster:update"
	ActionCreateJoinToken    = "cluster:token:create"
	ActionUpdateNode         = "cluster:node:update"
	ActionRemoveNode         = "cluster:node:remove"
	ActionTransferLeadership = "cluster:leader:transfer"
	ActionCreateSnapshot     = "cluster:snapshot:create"
	ActionRestoreSnapshot    = "cluster:snapshot:restore"
	ActionApproveRoots       = "root:node:approve"
	ActionRotateRoots        = "root:generation:create"
	ActionDestroyRoots       = "root:generation:destroy"
	ActionListRoots          = "root:generation:list"
	ActionBackupRoots        = "root:generation:backup"
)

// Actions returns every action that this binary knows. A new one goes into
// this list too.
func Actions() []string {
	return []string{
		ActionCreateKey, ActionEnableKey, ActionDisableKey, ActionUpdateKey, ActionListKeys, ActionGetKey,
		ActionGetInstance, ActionGetQuota, ActionGetRotation, ActionEnableRotation, ActionUpdateRotation,
		ActionDisableRotation, ActionRotateKey, ActionGetMaterial, ActionImportMaterial, ActionDeleteMaterial,
		ActionRandom, ActionCreateDEK, ActionCryptoDEK, ActionEncryptDEK, ActionDecryptDEK,
		ActionCryptoData, ActionEncryptData, ActionDecryptData, ActionSign, ActionVerify,
		ActionGetPublicKey, ActionGenerateMAC, ActionVerifyMAC, ActionDeriveSecret,
		ActionCreateAlias, ActionDeleteAlias, ActionAssociateAlias, ActionListAliases,
		ActionCreateTag, ActionDeleteTag, ActionBatchTags, ActionListTags, ActionListTagged,
		ActionCreateGrant, ActionRevokeGrant, ActionRetireGrant, ActionListGrants,
		ActionUpdateQuota, ActionProtectKey, ActionGetPolicies, ActionUseDefaultKey, ActionListKeyVersions,
		ActionCreateDataKeyPair,

		ActionCreateAccount, ActionUpdateAccount, ActionDeleteAccount, ActionListAccounts, ActionUpdateServices,
		ActionCreateProject, ActionUpdateProject, ActionDeleteProject, ActionListProjects,
		ActionCreateUser, ActionUpdateUser, ActionDeleteUser, ActionListUsers, ActionSetPassword,
		ActionCreateGroup, ActionUpdateGroup, ActionDeleteGroup, ActionListGroups, ActionAddMember, ActionRemoveMember,
		ActionCreatePolicy, ActionUpdatePolicy, ActionDeletePolicy, ActionListPolicies,
		ActionAttachPolicy, ActionDetachPolicy, ActionListAttachments, ActionExplain,
		ActionCreateCredential, ActionUpdateCredential, ActionDeleteCredential, ActionListCredentials,
		ActionRevokeTokens, ActionUnlockUser, ActionResetMFA, ActionUpdateProviders, ActionListProviders,

		ActionListTraces, ActionListAllTraces, ActionExportTraces, ActionVerifyTraces, ActionGetTracker,
		ActionUpdateTracker, ActionGetCheckpoint, ActionWriteCheckpoint,

		ActionGetCluster, ActionUpdateCluster, ActionCreateJoinToken, ActionUpdateNode, ActionRemoveNode,
		ActionTransferLeadership, ActionCreateSnapshot, ActionRestoreSnapshot,
		ActionApproveRoots, ActionRotateRoots, ActionDestroyRoots, ActionListRoots, ActionBackupRoots,
	}
}

// Whole is the action that names this one together with its counterpart: who may
// kms:dek:crypto may encrypt data keys and decrypt them. Empty: it has none.
//
// Operations need the one or the other. Asked about itself, as people do who want
// an explanation, the whole is allowed by what allows both and denied by what
// denies either.
func Whole(action string) string {
	switch action {
	case ActionEncryptDEK, ActionDecryptDEK:
		return ActionCryptoDEK
	case ActionEncryptData, ActionDecryptData:
		return ActionCryptoData
	default:
		return ""
	}
}

// Names tells whether a pattern of actions names any that there is.
func Names(pattern string) bool {
	for _, action := range Actions() {
		if matchAction(pattern, action) {
			return true
		}
	}
	return false
}

// ClusterWide tells whether an action reaches beyond its account, so that no
// policy of an account but the system one can allow it.
func ClusterWide(action string) bool {
	switch action {
	case ActionListAllTraces, ActionExportTraces, ActionVerifyTraces, ActionUpdateTracker, ActionGetCheckpoint, ActionWriteCheckpoint,
		ActionUpdateProviders, ActionListProviders, ActionUpdateQuota:
		return true
	}
	return strings.HasPrefix(action, "cluster:") || strings.HasPrefix(action, "root:") || strings.HasPrefix(action, "iam:accounts:")
}
