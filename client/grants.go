package client

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/server/wire"
)

// Grant is leave to use one key.
type Grant struct {
	ID         string    `json:"id"`
	KeyID      string    `json:"key_id"`
	Name       string    `json:"name,omitempty"`
	Grantee    string    `json:"grantee"` // id of a user or an account
	ToAccount  bool      `json:"to_account"`
	Operations []string  `json:"operations"`         // create-datakey, decrypt-datakey …
	Issuer     string    `json:"issuer"`             // id of the user who made it
	Retiring   string    `json:"retiring,omitempty"` // id of who may retire it besides
	Created    time.Time `json:"created"`
}

// NewGrant is a grant that is to be made.
type NewGrant struct {
	Key        string   // id or alias/NAME
	Grantee    string   // id of a user or, with ToAccount, of an account
	ToAccount  bool     // every user of the account whom no policy denies it
	Operations []string // what it allows: create-datakey, decrypt-datakey, describe-key …
	Retiring   string   // id of a user or an account who may retire it besides; empty: nobody
	Name       string   // for people; may be empty
}

// CreateGrant lets somebody use a key, from their own project, and returns the
// grant's id. The key is of the client's project, or there is a grant on it
// that allows the client create-grant and all that the new one allows.
func (c *Client) CreateGrant(ctx context.Context, g NewGrant) (id string, err error) {
	request := wire.CreateGrantRequest{
		KeyID: g.Key, GranteePrincipal: g.Grantee, Operations: g.Operations, Name: g.Name, RetiringPrincipal: g.Retiring,
	}
	if g.ToAccount {
		request.GranteePrincipalType = granteeAccount
	}
	var reply wire.CreateGrantReply
	if err := c.call(ctx, "create-grant", once, request, &reply); err != nil {
		return "", err
	}
	return reply.GrantID, nil
}

// granteeAccount is the wire's word for an account.
const granteeAccount = "domain"

// RevokeGrant ends a grant on a key of the project, or one that the client's
// user has made. When it returns nil no node lets anybody do anything by it.
func (c *Client) RevokeGrant(ctx context.Context, key, id string) error {
	return c.call(ctx, "revoke-grant", once, wire.EndGrantRequest{KeyID: key, GrantID: id}, new(wire.EmptyReply))
}

// RetireGrant is [Client.RevokeGrant] for who made the grant, is named in it as
// the one to retire it, or has it where it allows retire-grant.
func (c *Client) RetireGrant(ctx context.Context, key, id string) error {
	return c.call(ctx, "retire-grant", once, wire.EndGrantRequest{KeyID: key, GrantID: id}, new(wire.EmptyReply))
}

// ListGrants returns the grants on a key, the oldest first.
func (c *Client) ListGrants(ctx context.Context, key string) ([]Grant, error) {
	return c.listGrants(ctx, "list-grants", wire.ListGrantsRequest{KeyID: key})
}

// ListRetirableGrants returns the grants that the client's user may retire, on
// whatever key, the oldest first.
func (c *Client) ListRetirableGrants(ctx context.Context) ([]Grant, error) {
	return c.listGrants(ctx, "list-retirable-grants", wire.ListGrantsRequest{})
}

func (c *Client) listGrants(ctx context.Context, verb string, request wire.ListGrantsRequest) ([]Grant, error) {
	grants := []Grant{}
	for {
		var page wire.ListGrantsReply
		if err := c.call(ctx, verb, again, request, &page); err != nil {
			return nil, err
		}
		for _, g := range page.Grants {
			created, err := readTime(g.CreationDate)
			if err != nil {
				return nil, fmt.Errorf("reading the creation time of grant %s: %w", g.GrantID, err)
			}
			grants = append(grants, Grant{
				ID: g.GrantID, KeyID: g.KeyID, Name: g.Name, Grantee: g.GranteePrincipal, ToAccount: g.GranteePrincipalType == granteeAccount,
				Operations: g.Operations, Issuer: g.IssuingPrincipal, Retiring: g.RetiringPrincipal, Created: created,
			})
		}
		if page.NextMarker == "" {
			return grants, nil
		}
		next, err := strconv.ParseInt(page.NextMarker, 10, 64)
		if err != nil || next <= request.Marker.Value {
			return nil, fmt.Errorf("%s: %q is no marker of a next page", verb, page.NextMarker)
		}
		request.Marker = wire.Int(next)
	}
}
