package policy

// The actions of key management that this binary performs, named as policies
// of the Huawei-style dialect name them: service, type of resource, operation.
const (
	ActionCreateKey   = "kms:cmk:create"
	ActionEnableKey   = "kms:cmk:enable"
	ActionDisableKey  = "kms:cmk:disable"
	ActionUpdateKey   = "kms:cmk:update" // deletion, name, description
	ActionListKeys    = "kms:cmk:list"
	ActionGetKey      = "kms:cmk:get"
	ActionRandom      = "kms:cmk:generate"
	ActionCreateDEK   = "kms:dek:create" // with and without plaintext
	ActionCryptoDEK   = "kms:dek:crypto" // encrypt-datakey, decrypt-datakey
	ActionCryptoData  = "kms:cmk:crypto" // encrypt-data, decrypt-data
	ActionGetInstance = "kms:cmk:getInstance"
	ActionGetQuota    = "kms:cmk:getQuota"

	ActionCreateAlias     = "kms:alias:create"
	ActionDeleteAlias     = "kms:alias:delete"
	ActionAssociateAlias  = "kms:alias:associate"
	ActionListAliases     = "kms:alias:list"
	ActionEnableRotation  = "kms:cmk:enableRotation"
	ActionUpdateRotation  = "kms:cmk:updateRotation" // the interval
	ActionDisableRotation = "kms:cmk:disableRotation"
	ActionGetRotation     = "kms:cmk:getRotation"
	ActionRotateKey       = "kms:cmk:rotate" // on demand
)
