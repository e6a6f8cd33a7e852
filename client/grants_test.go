package client_test

import (
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
)

// What the calls about grants send, and what they make of the answer.
func TestGrants(t *testing.T) {
	node := newFake(t, nil)
	c := open(t, configure(node))
	f := node.exchange
	f(`create-grant {"key_id":"k","grantee_principal":"u","operations":["sign"]}`, `{"grant_id":"g"}`, "g",
		func() (any, error) {
			return c.CreateGrant(t.Context(), client.NewGrant{Key: "k", Grantee: "u", Operations: []string{"sign"}})
		})
	f(`create-grant {"key_id":"k","grantee_principal":"a","grantee_principal_type":"domain","operations":["sign"],"name":"n","retiring_principal":"r"}`, `{"grant_id":"g"}`, "g",
		func() (any, error) {
			return c.CreateGrant(t.Context(), client.NewGrant{Key: "k", Grantee: "a", ToAccount: true, Operations: []string{"sign"}, Name: "n", Retiring: "r"})
		})
	f(`revoke-grant {"key_id":"k","grant_id":"g"}`, `{}`, nil, func() (any, error) { return nil, c.RevokeGrant(t.Context(), "k", "g") })
	f(`retire-grant {"key_id":"k","grant_id":"g"}`, `{}`, nil, func() (any, error) { return nil, c.RetireGrant(t.Context(), "k", "g") })
	const page = `{"grants":[{"key_id":"k","grant_id":"g","grantee_principal":"a","grantee_principal_type":"domain","operations":["sign","verify"],` +
		`"issuing_principal":"i","creation_date":"1000","name":"n","retiring_principal":"r"}],"next_marker":"","truncated":"false","total":1}`
	want := []client.Grant{{
		ID: "g", KeyID: "k", Name: "n", Grantee: "a", ToAccount: true, Operations: []string{"sign", "verify"}, Issuer: "i", Retiring: "r", Created: time.UnixMilli(1000).UTC(),
	}}
	f(`list-grants {"key_id":"k"}`, page, want, func() (any, error) { return c.ListGrants(t.Context(), "k") })
	f(`list-retirable-grants {}`, page, want, func() (any, error) { return c.ListRetirableGrants(t.Context()) })
}
