package policy

import "slices"

// The system policies. They are part of the binary, hold in every account, and
// are bound by these names. Roles are apart: who administers keys need not be
// able to use them, who runs the cluster sees no key, who reads traces changes
// nothing, who says who may do what does nothing else.
const (
	RoleKMSAdministrator      = "KMS Administrator"      // all of the service kms
	RoleKMSFullAccess         = "KMS CMKFullAccess"      // the same, as a policy
	RoleKMSReadOnly           = "KMS CMKReadOnlyAccess"  // sees keys, uses and changes none
	RoleKMSCrypto             = "KMS CMKCryptoAccess"    // uses keys, sees and changes none
	RoleKeyAdministrator      = "KMS CMK Admin"          // changes keys, uses none
	RoleSecurityAdministrator = "Security Administrator" // says who may do what in the account
	RoleClusterOperator       = "Cluster Operator"       // cluster and roots; of the system account
	RoleAuditor               = "Auditor"                // reads traces, keys' metadata and who may do what
)

// SystemPolicy is one of the policies that come with the binary.
type SystemPolicy struct {
	Name        string
	Description string
	Document    Document
	Policy      *Policy
}

// system is never changed.
var system = compileSystem()

// SystemPolicies returns the system policies, by name. The slice is new.
func SystemPolicies() []SystemPolicy { return slices.Clone(system) }

// System returns the system policy of that name.
func System(name string) (*Policy, bool) {
	for i := range system {
		if system[i].Name == name {
			return system[i].Policy, true
		}
	}
	return nil, false
}

func compileSystem() []SystemPolicy {
	all := []SystemPolicy{
		role(RoleKMSAdministrator, "Everything with keys.", VersionRole, "kms:*"),
		role(RoleKMSFullAccess, "Everything with keys.", VersionPolicy, "kms:*"),
		role(RoleKMSReadOnly, "Sees keys; uses and changes none.", VersionPolicy, readKeys()...),
		role(RoleKMSCrypto, "Uses keys; sees and changes none.", VersionPolicy,
			ActionCreateDEK, ActionCryptoDEK, ActionCreateDataKeyPair, ActionCryptoData, ActionSign, ActionVerify,
			ActionGetPublicKey, ActionGenerateMAC, ActionVerifyMAC, ActionDeriveSecret, ActionRandom),
		role(RoleKeyAdministrator, "Makes, changes and deletes keys and says who may use them; uses none.", VersionPolicy,
			append(readKeys(),
				ActionCreateKey, ActionEnableKey, ActionDisableKey, ActionUpdateKey, ActionProtectKey,
				ActionEnableRotation, ActionUpdateRotation, ActionDisableRotation, ActionRotateKey,
				ActionGetMaterial, ActionImportMaterial, ActionDeleteMaterial,
				"kms:alias:*", "kms:cmkTag:*", "kms:grant:*")...),
		role(RoleSecurityAdministrator, "Says who may do what in the account.", VersionRole, "iam:*"),
		role(RoleClusterOperator, "Runs the cluster and looks after its roots.", VersionRole, "cluster:*", "root:*"),
		role(RoleAuditor, "Reads traces, the metadata of keys, and who may do what.", VersionRole,
			append(readKeys(), "cts:*:list*", "cts:*:get*", "cts:*:verify", "cts:*:export", "iam:*:list", ActionExplain)...),
	}
	slices.SortFunc(all, func(a, b SystemPolicy) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all
}

func readKeys() []string {
	return []string{
		ActionGetKey, ActionListKeys, ActionGetInstance, ActionGetQuota, ActionGetRotation, ActionGetPublicKey,
		ActionListKeyVersions, ActionGetPolicies, ActionListAliases, ActionListTags, ActionListTagged, ActionListGrants,
	}
}

func role(name, description, version string, actions ...string) SystemPolicy {
	p := SystemPolicy{Name: name, Description: description, Document: Document{
		Version:    version,
		Statements: []Statement{{Actions: actions}},
	}}
	compiled, err := Compile(&p.Document)
	if err != nil {
		panic("policy: the system policy " + name + ": " + err.Error())
	}
	p.Policy = compiled
	return p
}
