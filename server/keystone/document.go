package keystone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/raftkms/raftkms/fsm/policy"
)

// maxPolicyJSON bounds a policy document as it is sent, in bytes.
const maxPolicyJSON = 2 * policy.MaxDocument

// wireDocument is a policy document as JSON has it.
type wireDocument struct {
	Version   string          `json:"Version"`
	Statement []wireStatement `json:"Statement"`
}

type wireStatement struct {
	Effect    string                          `json:"Effect"`
	Action    oneOrMany                       `json:"Action"`
	Resource  oneOrMany                       `json:"Resource,omitempty"`
	Condition map[string]map[string]oneOrMany `json:"Condition,omitempty"`
}

// oneOrMany is a list of texts that may be written as one of them.
type oneOrMany []string

// UnmarshalJSON implements [json.Unmarshaler].
func (l *oneOrMany) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*l = oneOrMany{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}

// parseDocument reads a policy document: exact names, none of them twice,
// nothing unknown but conditions, which are judged as such, and bounded.
func parseDocument(data []byte) (policy.Document, error) {
	if len(data) > maxPolicyJSON {
		return policy.Document{}, fmt.Errorf("a policy has at most %d bytes", maxPolicyJSON)
	}
	if err := checkNames(data); err != nil {
		return policy.Document{}, err
	}
	var sent wireDocument
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&sent); err != nil {
		return policy.Document{}, errors.New("the policy is not a JSON document of Version and Statement")
	}
	d := policy.Document{Version: sent.Version}
	for i, s := range sent.Statement {
		statement := policy.Statement{Actions: s.Action, Resources: s.Resource}
		switch s.Effect {
		case "Allow":
		case "Deny":
			statement.Deny = true
		default:
			return policy.Document{}, fmt.Errorf("the Effect of statement %d is neither Allow nor Deny", i+1)
		}
		if action := deniesNothing(&statement); action != "" {
			return policy.Document{}, fmt.Errorf("the action %s of statement %d is none that there is, so nothing would be denied", action, i+1)
		}
		if s.Resource != nil && len(s.Resource) == 0 {
			return policy.Document{}, fmt.Errorf("the Resource of statement %d is an empty list: leave it out where every resource is meant", i+1)
		}
		for _, operator := range slices.Sorted(maps.Keys(s.Condition)) {
			if len(s.Condition[operator]) == 0 {
				return policy.Document{}, fmt.Errorf("the condition %s of statement %d compares nothing", operator, i+1)
			}
			for _, key := range slices.Sorted(maps.Keys(s.Condition[operator])) {
				statement.Conditions = append(statement.Conditions, policy.Condition{Operator: operator, Key: key, Values: s.Condition[operator][key]})
			}
		}
		d.Statements = append(d.Statements, statement)
	}
	return d, d.Check()
}

// deniesNothing returns an action that is denied and that there is not, though
// there is its service: a slip of the pen, by which everything stays allowed.
// Actions of services that raftkms does not have are passed over.
func deniesNothing(s *policy.Statement) string {
	for _, pattern := range s.Actions {
		service, _, _ := strings.Cut(pattern, ":")
		if s.Deny && !policy.Names(pattern) && policy.Names(service+":*") {
			return pattern
		}
	}
	return ""
}

// exactNames are the names that documents may have, as they must be spelled:
// the decoder would take them in any case of letters.
var exactNames = map[string]string{"version": "Version", "statement": "Statement", "effect": "Effect", "action": "Action", "resource": "Resource", "condition": "Condition"}

// checkNames refuses a document in which an object has a name twice, or that
// is nested deeper than documents are.
func checkNames(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	type level struct {
		object bool
		name   bool // a name comes next
		seen   map[string]bool
	}
	var stack []level
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return errors.New("the policy is not JSON")
		}
		if top := len(stack) - 1; top >= 0 && stack[top].object && stack[top].name {
			if name, isName := token.(string); isName {
				folded := string(bytes.ToLower([]byte(name)))
				if stack[top].seen[folded] || top < 4 && exactNames[folded] != "" && exactNames[folded] != name {
					return fmt.Errorf("the name %q stands twice in one object, or is spelled in other letters", name)
				}
				stack[top].seen[folded], stack[top].name = true, false
				continue
			}
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if len(stack) == 8 {
				return errors.New("the policy is nested too deeply")
			}
			stack = append(stack, level{object: token == json.Delim('{'), name: true, seen: map[string]bool{}})
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		if top := len(stack) - 1; top >= 0 {
			stack[top].name = true
		}
	}
}

// showDocument is the inverse of parseDocument.
func showDocument(d *policy.Document) wireDocument {
	shown := wireDocument{Version: d.Version}
	for _, s := range d.Statements {
		statement := wireStatement{Effect: "Allow", Action: s.Actions, Resource: s.Resources}
		if s.Deny {
			statement.Effect = "Deny"
		}
		for _, c := range s.Conditions {
			if statement.Condition == nil {
				statement.Condition = map[string]map[string]oneOrMany{}
			}
			if statement.Condition[c.Operator] == nil {
				statement.Condition[c.Operator] = map[string]oneOrMany{}
			}
			statement.Condition[c.Operator][c.Key] = c.Values
		}
		shown.Statement = append(shown.Statement, statement)
	}
	return shown
}
