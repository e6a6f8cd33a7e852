package wire

// The paths of the admin socket about client CAs and OIDC issuers.
const (
	AdminPathProviders      = "/v1/providers"
	AdminPathAddProvider    = "/v1/providers/add"
	AdminPathRemoveProvider = "/v1/providers/remove"
	AdminPathBind           = "/v1/providers/bind"
	AdminPathUnbind         = "/v1/providers/unbind"
)

// The kinds of provider.
const (
	ProviderClientCA = "client-ca"
	ProviderOIDC     = "oidc"
)

// Provider is a client CA or an OIDC issuer that is believed about users of
// one account.
type Provider struct {
	ID          string    `json:"id"` // its name
	Kind        string    `json:"kind"`
	Domain      string    `json:"domain"`      // name of the account
	ByName      bool      `json:"by_name"`     // a name without a binding is the user's of that name
	Certificate string    `json:"certificate"` // PEM; client-ca, and oidc: the CA of the issuer's own certificate
	Issuer      string    `json:"issuer"`      // https URL; oidc, like the rest
	Audience    string    `json:"audience"`
	UserClaim   string    `json:"user_claim"`
	GroupsClaim string    `json:"groups_claim,omitempty"` // names groups of the account that the user is in as well; empty: none
	KeySet      string    `json:"key_set"`                // JWKS document; empty: fetched from the issuer
	Bindings    []Binding `json:"bindings,omitempty"`
}

// Binding says which user a provider's name is.
type Binding struct {
	Provider string `json:"provider"`
	Name     string `json:"name"` // uri:…, dns:…, email:… of a certificate; the value of the user claim
	User     string `json:"user"` // name of the user
}

// ProvidersReply lists client CAs and OIDC issuers, by name.
type ProvidersReply struct {
	Providers []Provider `json:"providers"`
}
