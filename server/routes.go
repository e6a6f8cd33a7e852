package server

import (
	"context"

	"github.com/raftkms/raftkms/server/huawei"
	"github.com/raftkms/raftkms/server/keystone"
)

// route is one endpoint: how it is asked for, how large a request may be, and
// what answers.
type route struct {
	method  string
	path    string // {name} stands for one segment; see routing.go
	body    int    // most bytes of a request body
	handler handler
}

// Sizes of request bodies, in bytes.
const (
	noBody    = 4 << 10  // SDKs send {} with a GET
	smallBody = 16 << 10 // ids, names, contexts
	dataBody  = 64 << 10 // plaintexts and ciphertexts with a context
)

// routes are all endpoints of the API port, on this page.
func (s *Server) routes(m *member) []route {
	kms := func(e huawei.Endpoint) handler { return s.dialect(m, e) }
	identity := func(e keystone.Endpoint) handler { return s.identity(m, e) }
	return []route{
		// Operations: for balancers and people; no credentials, nothing secret.
		{"GET", "/livez", noBody, livez},
		{"GET", "/readyz", noBody, readyz(m)},
		{"GET", "/leader", noBody, s.leader(m)},
		{"GET", "/nodes", noBody, s.listNodes(m)},
		{"GET", "/metrics", noBody, s.scrape},

		// Huawei-style dialect: versions, and its description.
		{"GET", "/", noBody, plain(huawei.Versions)},
		{"GET", "/v1.0", noBody, plain(huawei.Version)},
		{"GET", "/openapi.yaml", noBody, plain(huawei.Document)},

		// Identity, as clients of Keystone v3 know it: tokens and look-ups.
		{"GET", "/v3", noBody, func(_ context.Context, in incoming) string { m.keystone.Version(in.rc); return "version" }},
		{"POST", "/v3/auth/tokens", smallBody, identity(keystone.CreateToken)},
		{"GET", "/v3/auth/tokens", noBody, identity(keystone.ValidateToken)},
		{"HEAD", "/v3/auth/tokens", noBody, identity(keystone.ValidateToken)},
		{"DELETE", "/v3/auth/tokens", noBody, identity(keystone.RevokeToken)},
		{"GET", "/v3/auth/catalog", noBody, identity(keystone.Catalog)},
		{"GET", "/v3/auth/projects", noBody, identity(keystone.Projects)},
		{"GET", "/v3/auth/domains", noBody, identity(keystone.Domains)},
		{"GET", "/v3/projects", noBody, identity(keystone.Projects)},
		{"POST", "/v3/users/{user_id}/password", smallBody, identity(keystone.ChangePassword)},

		// Identity service: the administration of an account.
		{"GET", "/v3/domains", noBody, identity(keystone.ListAccounts)},
		{"POST", "/v3/domains", smallBody, identity(keystone.CreateAccount)},
		{"GET", "/v3/domains/{domain_id}", noBody, identity(keystone.ShowAccount)},
		{"PATCH", "/v3/domains/{domain_id}", smallBody, identity(keystone.UpdateAccount)},
		{"DELETE", "/v3/domains/{domain_id}", noBody, identity(keystone.DeleteAccount)},
		{"POST", "/v3/projects", smallBody, identity(keystone.CreateProject)},
		{"GET", "/v3/projects/{project_id}", noBody, identity(keystone.ShowProject)},
		{"PATCH", "/v3/projects/{project_id}", smallBody, identity(keystone.UpdateProject)},
		{"DELETE", "/v3/projects/{project_id}", noBody, identity(keystone.DeleteProject)},
		{"GET", "/v3/users", noBody, identity(keystone.ListUsers)},
		{"POST", "/v3/users", smallBody, identity(keystone.CreateUser)},
		{"GET", "/v3/users/{user_id}", noBody, identity(keystone.ShowUser)},
		{"PATCH", "/v3/users/{user_id}", smallBody, identity(keystone.UpdateUser)},
		{"DELETE", "/v3/users/{user_id}", noBody, identity(keystone.DeleteUser)},
		{"PUT", "/v3/users/{user_id}/password", smallBody, identity(keystone.SetPassword)},
		{"POST", "/v3/users/{user_id}/unlock", noBody, identity(keystone.UnlockUser)},
		{"GET", "/v3/users/{user_id}/groups", noBody, identity(keystone.ListGroupsOf)},
		{"GET", "/v3/users/{user_id}/permissions", noBody, identity(keystone.Explain)},
		{"GET", "/v3/groups", noBody, identity(keystone.ListGroups)},
		{"POST", "/v3/groups", smallBody, identity(keystone.CreateGroup)},
		{"GET", "/v3/groups/{group_id}", noBody, identity(keystone.ShowGroup)},
		{"PATCH", "/v3/groups/{group_id}", smallBody, identity(keystone.UpdateGroup)},
		{"DELETE", "/v3/groups/{group_id}", noBody, identity(keystone.DeleteGroup)},
		{"GET", "/v3/groups/{group_id}/users", noBody, identity(keystone.ListMembers)},
		{"HEAD", "/v3/groups/{group_id}/users/{user_id}", noBody, identity(keystone.CheckMember)},
		{"PUT", "/v3/groups/{group_id}/users/{user_id}", noBody, identity(keystone.AddMember)},
		{"DELETE", "/v3/groups/{group_id}/users/{user_id}", noBody, identity(keystone.RemoveMember)},
		{"GET", "/v3.0/OS-ROLE/roles", noBody, identity(keystone.ListPolicies)},
		{"GET", "/v3/roles", noBody, identity(keystone.ListPolicies)},
		{"POST", "/v3.0/OS-ROLE/roles", smallBody, identity(keystone.CreatePolicy)},
		{"GET", "/v3.0/OS-ROLE/roles/{role_id}", noBody, identity(keystone.ShowPolicy)},
		{"GET", "/v3/roles/{role_id}", noBody, identity(keystone.ShowPolicy)},
		{"PATCH", "/v3.0/OS-ROLE/roles/{role_id}", smallBody, identity(keystone.UpdatePolicy)},
		{"DELETE", "/v3.0/OS-ROLE/roles/{role_id}", noBody, identity(keystone.DeletePolicy)},
		{"GET", "/v3.0/OS-CREDENTIAL/credentials", noBody, identity(keystone.ListAccessKeys)},
		{"POST", "/v3.0/OS-CREDENTIAL/credentials", smallBody, identity(keystone.CreateAccessKey)},
		{"GET", "/v3.0/OS-CREDENTIAL/credentials/{access_key}", noBody, identity(keystone.ShowAccessKey)},
		{"PUT", "/v3.0/OS-CREDENTIAL/credentials/{access_key}", smallBody, identity(keystone.UpdateAccessKey)},
		{"DELETE", "/v3.0/OS-CREDENTIAL/credentials/{access_key}", noBody, identity(keystone.DeleteAccessKey)},

		{"POST", "/v3.0/OS-MFA/virtual-mfa-devices", smallBody, identity(keystone.EnrolMFA)},
		{"DELETE", "/v3.0/OS-MFA/virtual-mfa-devices", noBody, identity(keystone.ResetMFA)},
		{"PUT", "/v3.0/OS-MFA/mfa-devices/bind", smallBody, identity(keystone.BindMFA)},
		{"PUT", "/v3.0/OS-MFA/mfa-devices/unbind", smallBody, identity(keystone.UnbindMFA)},
		{"GET", "/v3.0/OS-MFA/users/{user_id}/virtual-mfa-device", noBody, identity(keystone.ShowMFA)},

		// Identity service: where policies hold. An assignment to an account holds
		// in all of its projects; the paths of OS-INHERIT say the same.
		{"GET", "/v3/role_assignments", noBody, identity(keystone.ListAssignments)},
		{"GET", "/v3/projects/{project_id}/groups/{group_id}/roles", noBody, identity(keystone.ListAttached)},
		{"HEAD", "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}", noBody, identity(keystone.CheckAttached)},
		{"PUT", "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}", noBody, identity(keystone.AttachPolicy)},
		{"DELETE", "/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}", noBody, identity(keystone.DetachPolicy)},
		{"GET", "/v3/projects/{project_id}/users/{user_id}/roles", noBody, identity(keystone.ListAttached)},
		{"HEAD", "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}", noBody, identity(keystone.CheckAttached)},
		{"PUT", "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}", noBody, identity(keystone.AttachPolicy)},
		{"DELETE", "/v3/projects/{project_id}/users/{user_id}/roles/{role_id}", noBody, identity(keystone.DetachPolicy)},
		{"GET", "/v3/domains/{domain_id}/groups/{group_id}/roles", noBody, identity(keystone.ListAttached)},
		{"HEAD", "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}", noBody, identity(keystone.CheckAttached)},
		{"PUT", "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}", noBody, identity(keystone.AttachPolicy)},
		{"DELETE", "/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}", noBody, identity(keystone.DetachPolicy)},
		{"GET", "/v3/domains/{domain_id}/users/{user_id}/roles", noBody, identity(keystone.ListAttached)},
		{"HEAD", "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}", noBody, identity(keystone.CheckAttached)},
		{"PUT", "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}", noBody, identity(keystone.AttachPolicy)},
		{"DELETE", "/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}", noBody, identity(keystone.DetachPolicy)},
		{"PUT", "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects", noBody, identity(keystone.AttachPolicy)},
		{"DELETE", "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects", noBody, identity(keystone.DetachPolicy)},

		// Huawei-style dialect: keys.
		{"POST", "/v1.0/{project_id}/kms/create-key", smallBody, kms(huawei.CreateKey)},
		{"POST", "/v1.0/{project_id}/kms/describe-key", smallBody, kms(huawei.DescribeKey)},
		{"POST", "/v1.0/{project_id}/kms/list-keys", smallBody, kms(huawei.ListKeys)},
		{"POST", "/v1.0/{project_id}/kms/enable-key", smallBody, kms(huawei.EnableKey)},
		{"POST", "/v1.0/{project_id}/kms/disable-key", smallBody, kms(huawei.DisableKey)},

		// Huawei-style dialect: names, deletion, rotation.
		{"POST", "/v1.0/{project_id}/kms/update-key-alias", smallBody, kms(huawei.UpdateKeyAlias)},
		{"POST", "/v1.0/{project_id}/kms/update-key-description", smallBody, kms(huawei.UpdateKeyDescription)},
		{"POST", "/v1.0/{project_id}/kms/schedule-key-deletion", smallBody, kms(huawei.ScheduleKeyDeletion)},
		{"POST", "/v1.0/{project_id}/kms/cancel-key-deletion", smallBody, kms(huawei.CancelKeyDeletion)},
		{"POST", "/v1.0/{project_id}/kms/enable-key-deletion-protection", smallBody, kms(huawei.EnableDeletionProtection)},
		{"POST", "/v1.0/{project_id}/kms/disable-key-deletion-protection", smallBody, kms(huawei.DisableDeletionProtection)},
		{"POST", "/v1.0/{project_id}/kms/aliases", smallBody, kms(huawei.CreateAlias)},
		{"DELETE", "/v1.0/{project_id}/kms/aliases", smallBody, kms(huawei.DeleteAliases)},
		{"GET", "/v1.0/{project_id}/kms/aliases", noBody, kms(huawei.ListAliases)},
		{"POST", "/v1.0/{project_id}/kms/alias/associate", smallBody, kms(huawei.AssociateAlias)},
		{"POST", "/v1.0/{project_id}/kms/enable-key-rotation", smallBody, kms(huawei.EnableKeyRotation)},
		{"POST", "/v1.0/{project_id}/kms/update-key-rotation-interval", smallBody, kms(huawei.UpdateRotationInterval)},
		{"POST", "/v1.0/{project_id}/kms/disable-key-rotation", smallBody, kms(huawei.DisableKeyRotation)},
		{"POST", "/v1.0/{project_id}/kms/get-key-rotation-status", smallBody, kms(huawei.GetKeyRotationStatus)},
		{"POST", "/v1.0/{project_id}/kms/rotate-on-demand", smallBody, kms(huawei.RotateOnDemand)},
		{"POST", "/v1.0/{project_id}/kms/list-key-versions", smallBody, kms(huawei.ListKeyVersions)},

		// Huawei-style dialect: tags, quotas.
		{"GET", "/v1.0/{project_id}/kms/tags", noBody, kms(huawei.ListProjectTags)},
		{"GET", "/v1.0/{project_id}/kms/{key_id}/tags", noBody, kms(huawei.ListTags)},
		{"POST", "/v1.0/{project_id}/kms/{key_id}/tags", smallBody, kms(huawei.CreateTag)},
		{"POST", "/v1.0/{project_id}/kms/{key_id}/tags/action", smallBody, kms(huawei.BatchTags)},
		{"DELETE", "/v1.0/{project_id}/kms/{key_id}/tags/{tag_key}", noBody, kms(huawei.DeleteTag)},
		{"POST", "/v1.0/{project_id}/kms/resource_instances/action", dataBody, kms(huawei.FindTagged)},
		{"GET", "/v1.0/{project_id}/kms/user-instances", noBody, kms(huawei.UserInstances)},
		{"GET", "/v1.0/{project_id}/kms/user-quotas", noBody, kms(huawei.UserQuotas)},
		{"PUT", "/v1.0/{project_id}/kms/user-quotas", smallBody, kms(huawei.SetUserQuotas)},

		// Huawei-style dialect: grants.
		{"POST", "/v1.0/{project_id}/kms/create-grant", smallBody, kms(huawei.CreateGrant)},
		{"POST", "/v1.0/{project_id}/kms/revoke-grant", smallBody, kms(huawei.RevokeGrant)},
		{"POST", "/v1.0/{project_id}/kms/retire-grant", smallBody, kms(huawei.RetireGrant)},
		{"POST", "/v1.0/{project_id}/kms/list-grants", smallBody, kms(huawei.ListGrants)},
		{"POST", "/v1.0/{project_id}/kms/list-retirable-grants", smallBody, kms(huawei.ListRetirableGrants)},

		// Huawei-style dialect: data keys, data, randomness.
		{"POST", "/v1.0/{project_id}/kms/create-datakey", smallBody, kms(huawei.CreateDataKey)},
		{"POST", "/v1.0/{project_id}/kms/create-datakey-without-plaintext", smallBody, kms(huawei.CreateDataKeyWithoutPlaintext)},
		{"POST", "/v1.0/{project_id}/kms/create-datakeys", smallBody, kms(huawei.CreateDataKeys)},
		{"POST", "/v1.0/{project_id}/kms/create-datakeys-without-plaintext", smallBody, kms(huawei.CreateDataKeysWithoutPlaintext)},
		{"POST", "/v1.0/{project_id}/kms/encrypt-datakey", dataBody, kms(huawei.EncryptDataKey)},
		{"POST", "/v1.0/{project_id}/kms/decrypt-datakey", dataBody, kms(huawei.DecryptDataKey)},
		{"POST", "/v1.0/{project_id}/kms/encrypt-data", dataBody, kms(huawei.EncryptData)},
		{"POST", "/v1.0/{project_id}/kms/decrypt-data", dataBody, kms(huawei.DecryptData)},
		{"POST", "/v1.0/{project_id}/kms/gen-random", smallBody, kms(huawei.GenerateRandom)},
		{"POST", "/v1.0/{project_id}/kms/re-encrypt", dataBody, kms(huawei.ReEncrypt)},
		{"POST", "/v1.0/{project_id}/kms/create-rsa-datakey-pair", smallBody, kms(huawei.CreateRSADataKeyPair)},
		{"POST", "/v1.0/{project_id}/kms/create-ec-datakey-pair", smallBody, kms(huawei.CreateECDataKeyPair)},

		// Huawei-style dialect: import.
		{"POST", "/v1.0/{project_id}/kms/get-parameters-for-import", smallBody, kms(huawei.GetParametersForImport)},
		{"POST", "/v1.0/{project_id}/kms/import-key-material", smallBody, kms(huawei.ImportKeyMaterial)},
		{"POST", "/v1.0/{project_id}/kms/delete-imported-key-material", smallBody, kms(huawei.DeleteImportedKeyMaterial)},

		// Huawei-style dialect: signatures, MACs, agreement.
		{"POST", "/v1.0/{project_id}/kms/get-publickey", smallBody, kms(huawei.GetPublicKey)},
		{"POST", "/v1.0/{project_id}/kms/sign", smallBody, kms(huawei.Sign)},
		{"POST", "/v1.0/{project_id}/kms/verify", smallBody, kms(huawei.Verify)},
		{"POST", "/v1.0/{project_id}/kms/generate-mac", smallBody, kms(huawei.GenerateMAC)},
		{"POST", "/v1.0/{project_id}/kms/verify-mac", smallBody, kms(huawei.VerifyMAC)},
		{"POST", "/v1.0/{project_id}/kms/derive-shared-secret", smallBody, kms(huawei.DeriveSharedSecret)},

		// Huawei-style dialect: traces.
		{"GET", "/v3/{project_id}/traces", noBody, kms(huawei.ListTraces)},
		{"GET", "/v3/{project_id}/traces/follow", noBody, kms(huawei.FollowTraces)},
		{"GET", "/v2.0/{project_id}/{tracker_name}/trace", noBody, kms(huawei.ListTracesOfTracker)},
		{"GET", "/v1.0/{project_id}/{tracker_name}/trace", noBody, kms(huawei.ListTracesOfTracker)},
	}
}
