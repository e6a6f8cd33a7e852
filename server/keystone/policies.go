package keystone

import (
	"context"
	"encoding/json"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
)

// shownPolicy is a policy in the wrapper of the vendor's API.
type shownPolicy struct {
	ID          string       `json:"id"`   // of a system policy: its name
	Name        string       `json:"name"` // as clients of Keystone read it
	DisplayName string       `json:"display_name"`
	Type        string       `json:"type"` // AX: holds in the account or in a project, as it is assigned
	Description string       `json:"description"`
	DomainID    string       `json:"domain_id,omitempty"` // of a policy of the account
	Policy      wireDocument `json:"policy"`
}

func policyOf(p *state.Policy) shownPolicy {
	return shownPolicy{
		ID: p.ID, Name: p.Name, DisplayName: p.Name, Type: "AX", Description: p.Description, DomainID: p.DomainID, Policy: showDocument(&p.Document),
	}
}

func systemPolicyOf(p policy.SystemPolicy) shownPolicy {
	return shownPolicy{ID: p.Name, Name: p.Name, DisplayName: p.Name, Type: "AX", Description: p.Description, Policy: showDocument(&p.Document)}
}

// findPolicy returns a system policy or one of the caller's account, by what
// bindings name it by.
func (x *exchange) findPolicy(id string) (shownPolicy, error) {
	for _, p := range policy.SystemPolicies() {
		if p.Name == id {
			return systemPolicyOf(p), nil
		}
	}
	p, ok := x.call.Root.Policy(id)
	if !ok || p.DomainID != x.account {
		return shownPolicy{}, kms.Refuse(kms.KindNotFound, "the account has no such policy")
	}
	return policyOf(p), nil
}

// listPolicies lists the account's policies, and before them those of the system.
func listPolicies(_ context.Context, x *exchange) (any, error) {
	root := x.call.Root
	reply, err := page(x, "roles",
		func(after string, limit int) []*state.Policy { return root.Policies(x.account, after, limit) },
		func(name string) (*state.Policy, bool) { return root.PolicyByName(x.account, name) },
		func(p *state.Policy) string { return p.Name }, func(p *state.Policy) any { return policyOf(p) })
	if err != nil {
		return nil, err
	}
	name, shown := x.query("name"), []any{}
	for _, p := range policy.SystemPolicies() {
		if name == p.Name || name == "" && x.query("marker") == "" {
			shown = append(shown, systemPolicyOf(p))
		}
	}
	reply["roles"] = append(shown, reply["roles"].([]any)...)
	return reply, nil
}

func showPolicy(_ context.Context, x *exchange) (any, error) {
	p, err := x.findPolicy(x.path("role_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(p.ID, p.Name)
	return map[string]any{"role": p}, nil
}

func (x *exchange) policyBody() (name, description string, d policy.Document, err error) {
	var req struct {
		Role struct {
			DisplayName string          `json:"display_name"`
			Description string          `json:"description"`
			Policy      json.RawMessage `json:"policy"`
		} `json:"role"`
	}
	if err := x.decode(&req); err != nil {
		return "", "", d, err
	}
	if d, err = parseDocument(req.Role.Policy); err != nil {
		return "", "", d, &refusal{400, "IAM.0011", err.Error() + "."}
	}
	return req.Role.DisplayName, req.Role.Description, d, nil
}

// policyMeaning is what a request says of a policy, beside its name.
func policyMeaning(description string, d *policy.Document) []string {
	text, err := json.Marshal(showDocument(d))
	if err != nil {
		text = nil // of a struct of texts: cannot be
	}
	return []string{description, string(text)}
}

func createPolicy(ctx context.Context, x *exchange) (any, error) {
	name, description, d, err := x.policyBody()
	if err != nil {
		return nil, err
	}
	b := command.CreatePolicy{ID: newID(), Name: name, Description: description, Document: d}
	if err := x.change(ctx, b, "", name, policyMeaning(description, &d)...); err != nil {
		return nil, err
	}
	x.call.AboutResource(b.ID, b.Name)
	return map[string]any{"role": policyOf(&state.Policy{ID: b.ID, Name: name, DomainID: x.account, Description: description, Document: d})}, nil
}

func updatePolicy(ctx context.Context, x *exchange) (any, error) {
	name, description, d, err := x.policyBody()
	if err != nil {
		return nil, err
	}
	b := command.UpdatePolicy{ID: x.path("role_id"), Name: name, Description: description, Document: d}
	if err := x.change(ctx, b, b.ID, name, policyMeaning(description, &d)...); err != nil {
		return nil, err
	}
	return map[string]any{"role": policyOf(&state.Policy{ID: b.ID, Name: name, DomainID: x.account, Description: description, Document: d})}, nil
}

func deletePolicy(ctx context.Context, x *exchange) (any, error) {
	id := x.path("role_id")
	return nil, x.change(ctx, command.DeletePolicy{ID: id}, id, "")
}
