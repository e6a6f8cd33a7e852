package wire

import "encoding/json"

// The messages of the administration of accounts: /v3 and the paths of the
// vendor's IAM beside it.

// User is a user, as administrators see it.
type User struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	DomainID    string    `json:"domain_id"`
	Description string    `json:"description"`
	Service     string    `json:"service,omitempty"` // obs …: it is that service's own
	Enabled     bool      `json:"enabled"`
	HasPassword bool      `json:"has_password"`
	HasMFA      bool      `json:"has_mfa"`                // the password alone gets no token
	LockedUntil string    `json:"locked_until,omitempty"` // after too many wrong passwords
	Links       SelfLinks `json:"links"`
}

// UserReply is one user.
type UserReply struct {
	User User `json:"user"`
}

// NewNamed is what a new account, project, user or group is called.
type NewNamed struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// NewUser is a user to be made.
type NewUser struct {
	NewNamed
	Password SecretString `json:"password,omitempty"` // empty: none
	Service  string       `json:"service,omitempty"`  // obs …: it is that service's own
	Enabled  *bool        `json:"enabled,omitempty"`  // nil: yes
}

// Changes are what is to change; what is absent stays.
type Changes struct {
	Name        *string `json:"name,omitempty"`
	Description *string `json:"description,omitempty"`
	Enabled     *bool   `json:"enabled,omitempty"`
}

// Group is a group.
type Group struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	DomainID    string    `json:"domain_id"`
	Description string    `json:"description"`
	Links       SelfLinks `json:"links"`
}

// GroupReply is one group.
type GroupReply struct {
	Group Group `json:"group"`
}

// ProjectReply is one project.
type ProjectReply struct {
	Project Project `json:"project"`
}

// DomainReply is one account.
type DomainReply struct {
	Domain Domain `json:"domain"`
}

// CreateAccountRequest asks for an account with its first administrator.
type CreateAccountRequest struct {
	Domain struct {
		NewNamed
		Administrator struct {
			Name     string       `json:"name"`     // empty: admin
			Password SecretString `json:"password"` // empty: one is made
		} `json:"administrator"`
	} `json:"domain"`
}

// CreateAccountReply is a new account.
type CreateAccountReply struct {
	Domain        Domain           `json:"domain"`
	Project       NameOrID         `json:"project"`
	Administrator NewAdministrator `json:"administrator"`
}

// NewAdministrator is the first user of an account. The secrets are told this once.
type NewAdministrator struct {
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Password SecretString `json:"password,omitempty"` // empty: the one that was sent
	Access   string       `json:"access"`
	Secret   SecretString `json:"secret"`
}

// Credential is an access key.
type Credential struct {
	Access      string       `json:"access"`
	Secret      SecretString `json:"secret,omitempty"` // when it is made, and never again
	UserID      string       `json:"user_id"`
	Status      string       `json:"status"` // active or inactive
	Description string       `json:"description"`
	CreateTime  string       `json:"create_time,omitempty"`
	LastUseTime string       `json:"last_use_time,omitempty"`
}

// CredentialReply is one access key.
type CredentialReply struct {
	Credential Credential `json:"credential"`
}

// Assignment says that a policy holds for a user or a group, in a project or
// in the account with all of its projects.
type Assignment struct {
	Role  NameOrID        `json:"role"`
	User  *NameOrID       `json:"user,omitempty"`
	Group *NameOrID       `json:"group,omitempty"`
	Scope AssignmentScope `json:"scope"`
}

// AssignmentScope is where a policy holds.
type AssignmentScope struct {
	Project   *NameOrID `json:"project,omitempty"`
	Domain    *NameOrID `json:"domain,omitempty"`
	Inherited string    `json:"OS-INHERIT:inherited_to,omitempty"` // projects
}

// AssignmentsReply lists assignments.
type AssignmentsReply struct {
	Assignments []Assignment `json:"role_assignments"`
	Links       PageLinks    `json:"links"`
}

// What decides whether somebody may do something.
const (
	DecidedByNothing      = "nothing" // no policy says anything, or the user or the project is not there to be allowed anything
	DecidedByPolicy       = "policy"
	DecidedBySystemPolicy = "system-policy"
	DecidedByGrant        = "grant"
)

// Explanation says whether a user may do something, and why.
type Explanation struct {
	User      string `json:"user"`
	Action    string `json:"action"`
	Allowed   bool   `json:"allowed"`
	DecidedBy string `json:"decided_by"`
	Effect    string `json:"effect,omitempty"` // Allow or Deny
	PolicyID  string `json:"policy_id,omitempty"`
	Policy    string `json:"policy,omitempty"`    // its name
	Statement int    `json:"statement,omitempty"` // of the policy, counted from 1
	GroupID   string `json:"group_id,omitempty"`  // for which the policy holds; empty: for the user
	Group     string `json:"group,omitempty"`
	ProjectID string `json:"project_id,omitempty"` // in which the policy holds; empty: in all of the account
	Reason    string `json:"reason,omitempty"`     // of a no
}

// ExplainReply is an explanation.
type ExplainReply struct {
	Explanation Explanation `json:"explanation"`
}

// Policy is a policy of the system or of the account.
type Policy struct {
	PolicyBody
	ID       string `json:"id"`                  // of a system policy: its name
	Name     string `json:"name"`                // the same as its display name
	DomainID string `json:"domain_id,omitempty"` // of a policy of the account
}

// PolicyBody is what is said of a policy.
type PolicyBody struct {
	DisplayName string          `json:"display_name"`
	Type        string          `json:"type"` // AX: holds in the account or in a project, as it is assigned
	Description string          `json:"description"`
	Policy      json.RawMessage `json:"policy"` // Version and Statement
}

// PolicyRequest makes or replaces a policy.
type PolicyRequest struct {
	Role PolicyBody `json:"role"`
}

// PolicyReply is one policy.
type PolicyReply struct {
	Role Policy `json:"role"`
}

// MFADeviceRequest asks for a second factor for the caller.
type MFADeviceRequest struct {
	Device struct {
		Name   string `json:"name"` // for the caller's own use
		UserID string `json:"user_id"`
	} `json:"virtual_mfa_device"`
}

// MFADevice is a second factor. The seed is told once, when it is handed out.
type MFADevice struct {
	UserID       string       `json:"user_id"`
	SerialNumber string       `json:"serial_number"`
	Seed         SecretString `json:"base32_string_seed,omitempty"`
	URI          SecretString `json:"uri,omitempty"`          // the same, as authenticators read it from a picture
	ConfirmTime  string       `json:"confirm_time,omitempty"` // since when it counts
}

// MFADeviceReply is one second factor.
type MFADeviceReply struct {
	Device MFADevice `json:"virtual_mfa_device"`
}

// MFABinding has a second factor count, or not any more.
type MFABinding struct {
	UserID       string       `json:"user_id"`
	SerialNumber string       `json:"serial_number"`
	First        SecretString `json:"authentication_code_first,omitempty"`
	Second       SecretString `json:"authentication_code_second,omitempty"` // the one after it; may be absent
	Code         SecretString `json:"authentication_code,omitempty"`        // to unbind
}
