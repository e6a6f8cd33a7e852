package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/raftkms/raftkms/server/wire"
)

// Policies lists the policies of the system and of the account; of a name only
// that one.
func (i Identities) Policies(ctx context.Context, name string) ([]Policy, error) {
	return all[Policy](ctx, i, at(policyRoot), "roles", name, nil)
}

// CreatePolicy makes a policy of a JSON document of Version and Statement. It
// holds for nobody yet.
func (i Identities) CreatePolicy(ctx context.Context, name, description string, document json.RawMessage) (Policy, error) {
	var reply wire.PolicyReply
	r := wire.PolicyRequest{Role: wire.PolicyBody{DisplayName: name, Type: "AX", Description: description, Policy: document}}
	err := i.change(ctx, http.MethodPost, at(policyRoot), r, &reply)
	return reply.Role, err
}

// UpdatePolicy replaces a policy; it holds where the old one did.
func (i Identities) UpdatePolicy(ctx context.Context, id, name, description string, document json.RawMessage) (Policy, error) {
	var reply wire.PolicyReply
	r := wire.PolicyRequest{Role: wire.PolicyBody{DisplayName: name, Type: "AX", Description: description, Policy: document}}
	err := i.change(ctx, http.MethodPatch, at(policyRoot, id), r, &reply)
	return reply.Role, err
}

// DeletePolicy removes a policy that holds nowhere.
func (i Identities) DeletePolicy(ctx context.Context, id string) error {
	return i.change(ctx, http.MethodDelete, at(policyRoot, id), nil, nil)
}

// Holder is for whom a policy holds and where: one user or one group, in one
// project or, with the account's id, in all of the account.
type Holder struct {
	UserID, GroupID      string
	ProjectID, AccountID string
}

func (h Holder) path(policyID string) string {
	place, in, kind, who := "domains", h.AccountID, "users", h.UserID
	if h.ProjectID != "" {
		place, in = "projects", h.ProjectID
	}
	if h.GroupID != "" {
		kind, who = "groups", h.GroupID
	}
	return at(identityRoot, place, in, kind, who, "roles", policyID)
}

// Assign has a policy hold for somebody; a policy of the system is named by its name.
func (i Identities) Assign(ctx context.Context, policyID string, h Holder) error {
	return i.change(ctx, http.MethodPut, h.path(policyID), nil, nil)
}

// Revoke takes that back. When it returns, no node allows anything by it.
func (i Identities) Revoke(ctx context.Context, policyID string, h Holder) error {
	return i.change(ctx, http.MethodDelete, h.path(policyID), nil, nil)
}

// Assignments lists where policies hold: for the user or the group of h, or in
// all of the account.
func (i Identities) Assignments(ctx context.Context, h Holder) ([]Assignment, error) {
	query := url.Values{}
	for name, value := range map[string]string{"user.id": h.UserID, "group.id": h.GroupID, "scope.project.id": h.ProjectID} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return all[Assignment](ctx, i, at(identityRoot, "role_assignments"), "role_assignments", "", query)
}

// AccessKeys lists the access keys of a user.
func (i Identities) AccessKeys(ctx context.Context, userID string) ([]AccessKey, error) {
	return all[AccessKey](ctx, i, at(credentialRoot), "credentials", "", url.Values{"user_id": {userID}})
}

// CreateAccessKey gives a user one more access key. The secret is in the
// answer and nowhere else.
func (i Identities) CreateAccessKey(ctx context.Context, userID, description string) (AccessKey, error) {
	var reply wire.CredentialReply
	r := map[string]map[string]string{"credential": {"user_id": userID, "description": description}}
	err := i.change(ctx, http.MethodPost, at(credentialRoot), r, &reply)
	return reply.Credential, err
}

// EnableAccessKey switches an access key on, or off on every node at once.
func (i Identities) EnableAccessKey(ctx context.Context, id string, enabled bool) (AccessKey, error) {
	status := "inactive"
	if enabled {
		status = "active"
	}
	var reply wire.CredentialReply
	err := i.change(ctx, http.MethodPut, at(credentialRoot, id), map[string]map[string]string{"credential": {"status": status}}, &reply)
	return reply.Credential, err
}

// DeleteAccessKey removes an access key.
func (i Identities) DeleteAccessKey(ctx context.Context, id string) error {
	return i.change(ctx, http.MethodDelete, at(credentialRoot, id), nil, nil)
}

// Question is what an explanation is asked for. Key is an id or alias/NAME, and
// takes a project.
type Question struct {
	Action, ProjectID, Key, SourceIP string
	MFA                              bool
	Operation                        string // as traces name it, createDataKey …: what a grant must allow; empty: any that needs the action
}

// Explain says whether a user may do something, and which statement says so.
func (i Identities) Explain(ctx context.Context, userID string, q Question) (Explanation, error) {
	query := url.Values{"action": {q.Action}, "mfa": {strconv.FormatBool(q.MFA)}}
	for name, value := range map[string]string{"project_id": q.ProjectID, "key": q.Key, "source_ip": q.SourceIP, "operation": q.Operation} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var reply wire.ExplainReply
	err := i.ask(ctx, at(identityRoot, "users", userID, "permissions"), query, &reply)
	return reply.Explanation, err
}
