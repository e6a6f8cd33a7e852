package wire

// The identity service's messages, as clients of Keystone v3 write and read
// them. Members that clients send and nothing here depends on are left out.

// AuthRequest asks for a token.
type AuthRequest struct {
	Auth struct {
		Identity AuthIdentity `json:"identity"`
		Scope    *AuthScope   `json:"scope,omitempty"`
	} `json:"auth"`
}

// AuthIdentity says who asks, and how they prove it.
type AuthIdentity struct {
	Methods  []string `json:"methods"`
	Password *struct {
		User AuthUser `json:"user"`
	} `json:"password,omitempty"`
	TOTP *struct {
		User AuthCode `json:"user"`
	} `json:"totp,omitempty"`
	Token *struct {
		ID string `json:"id"`
	} `json:"token,omitempty"`
}

// AuthCode is a one-time code of a user, who is named as beside a password or
// not at all.
type AuthCode struct {
	ID       string       `json:"id,omitempty"`
	Name     string       `json:"name,omitempty"`
	Domain   *NameOrID    `json:"domain,omitempty"`
	Passcode SecretString `json:"passcode"`
}

// AuthUser names a user by id, or by name and account.
type AuthUser struct {
	ID       string       `json:"id,omitempty"`
	Name     string       `json:"name,omitempty"`
	Domain   *NameOrID    `json:"domain,omitempty"`
	Password SecretString `json:"password"`
}

// SecretString is a text that no formatting shows.
type SecretString string

// String says nothing.
func (SecretString) String() string { return "***" }

// GoString says nothing.
func (SecretString) GoString() string { return "***" }

// AuthScope says what a token is to be good for. A project wins over a domain.
type AuthScope struct {
	Project *struct {
		NameOrID
		Domain *NameOrID `json:"domain,omitempty"`
	} `json:"project,omitempty"`
	Domain *NameOrID `json:"domain,omitempty"`
}

// NameOrID names something.
type NameOrID struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// PasswordRequest asks for another password.
type PasswordRequest struct {
	User struct {
		Password SecretString `json:"password"`
		Original SecretString `json:"original_password"`
	} `json:"user"`
}

// TokenReply describes a token; its text is in the header X-Subject-Token.
type TokenReply struct {
	Token TokenBody `json:"token"`
}

// TokenBody is what a token says.
type TokenBody struct {
	ExpiresAt string         `json:"expires_at"`
	IssuedAt  string         `json:"issued_at"`
	Methods   []string       `json:"methods"`
	User      TokenUser      `json:"user"`
	Project   *TokenProject  `json:"project,omitempty"`
	Domain    *NameOrID      `json:"domain,omitempty"`
	Roles     []NameOrID     `json:"roles"`
	Catalog   []CatalogEntry `json:"catalog,omitempty"`
}

// TokenUser is whose token it is.
type TokenUser struct {
	ID                string   `json:"id"`
	Name              string   `json:"name"`
	Domain            NameOrID `json:"domain"`
	PasswordExpiresAt string   `json:"password_expires_at"` // empty: never
}

// TokenProject is what a token is good for.
type TokenProject struct {
	NameOrID
	Domain NameOrID `json:"domain"`
}

// CatalogEntry is one service and where it is.
type CatalogEntry struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Type      string     `json:"type"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Endpoint is where a service is.
type Endpoint struct {
	ID        string `json:"id"`
	Region    string `json:"region"`
	RegionID  string `json:"region_id"`
	Interface string `json:"interface"`
	URL       string `json:"url"`
}

// CatalogReply lists the services.
type CatalogReply struct {
	Catalog []CatalogEntry `json:"catalog"`
	Links   PageLinks      `json:"links"`
}

// PageLinks are the links of a list, which has one page.
type PageLinks struct {
	Self     string  `json:"self,omitempty"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
}

// ProjectsReply lists projects.
type ProjectsReply struct {
	Projects []Project `json:"projects"`
	Links    PageLinks `json:"links"`
}

// Project is a project; its name is the region's.
type Project struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	DomainID    string    `json:"domain_id"`
	ParentID    string    `json:"parent_id"`
	Enabled     bool      `json:"enabled"`
	IsDomain    bool      `json:"is_domain"`
	Description string    `json:"description"`
	Links       SelfLinks `json:"links"`
}

// SelfLinks is the link of a thing to itself.
type SelfLinks struct {
	Self string `json:"self"`
}

// DomainsReply lists accounts.
type DomainsReply struct {
	Domains []Domain  `json:"domains"`
	Links   PageLinks `json:"links"`
}

// Domain is an account.
type Domain struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Enabled     bool      `json:"enabled"`
	Description string    `json:"description"`
	Links       SelfLinks `json:"links"`
}

// IdentityVersion describes the identity service's version.
type IdentityVersion struct {
	ID         string              `json:"id"`
	Status     string              `json:"status"`
	Updated    string              `json:"updated"`
	Links      []VersionLink       `json:"links"`
	MediaTypes []map[string]string `json:"media-types"`
}

// IdentityVersionReply answers GET /v3.
type IdentityVersionReply struct {
	Version IdentityVersion `json:"version"`
}

// IdentityError is how the identity service refuses; the flat members repeat
// it for clients that read those.
type IdentityError struct {
	Error struct {
		Code    int    `json:"code"`
		Title   string `json:"title"`
		Message string `json:"message"`
	} `json:"error"`
	ErrorCode string `json:"error_code"`
	ErrorMsg  string `json:"error_msg"`
	RequestID string `json:"request_id"`
}
