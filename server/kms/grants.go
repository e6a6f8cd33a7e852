package kms

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strconv"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// What is asked about grants.
var (
	OpCreateGrant         = Operation{"createGrant", policy.ActionCreateGrant, "cmk"}
	OpRevokeGrant         = Operation{"revokeGrant", policy.ActionRevokeGrant, "cmk"}
	OpRetireGrant         = Operation{"retireGrant", policy.ActionRetireGrant, "cmk"}
	OpListGrants          = Operation{"listGrants", policy.ActionListGrants, "cmk"}
	OpListRetirableGrants = Operation{"listRetirableGrants", policy.ActionListGrants, "cmk"}
)

// CreateGrantRequest asks for a grant on a key.
type CreateGrantRequest struct {
	Key        string
	Grantee    string // id of a user, or of an account
	ToAccount  bool
	Operations state.GrantedOps
	Retiring   string // id of a user or an account who may retire it besides; empty: nobody
	Name       string // for people; may be empty
}

// GrantPage is one page of grants, the oldest first.
type GrantPage struct {
	Grants []*state.Grant
	Total  int
	Next   uint64 // the After of the next page; 0 on the last one
}

// CreateGrant gives somebody leave to use a key, and returns the grant's id. The
// key may be of another project where a grant on it allows that.
func (s *Service) CreateGrant(ctx context.Context, c *Call, req CreateGrantRequest) (grantID string, err error) {
	c.asked.Text("key_id", req.Key)
	c.asked.Text("grantee_principal", req.Grantee)
	c.asked.Flag("to_account", req.ToAccount)
	c.asked.Texts("operations", req.Operations.Names())
	c.asked.Text("retiring_principal", req.Retiring)
	c.asked.Text("name", req.Name)
	key, err := c.findAuthorised(req.Key)
	if err != nil {
		return "", err
	}
	id := make([]byte, 32)
	rand.Read(id)
	body := command.CreateGrant{
		GrantID: hex.EncodeToString(id), KeyID: key.ID, Grantee: req.Grantee, ToAccount: req.ToAccount,
		Operations: req.Operations, Retiring: req.Retiring, Name: req.Name,
	}
	result, err := s.propose(ctx, c, body, key.ID, req.Grantee, strconv.FormatBool(req.ToAccount),
		strconv.FormatUint(uint64(req.Operations), 16), req.Retiring, req.Name)
	if err != nil {
		return "", err
	}
	made, err := result.Grant() // not what this call has drawn: a repeat may have met the first one's answer
	if err != nil {
		return "", &Error{Kind: KindInternal, Message: "reading which grant was made", Err: err}
	}
	c.answered.Text("grant_id", made.GrantID)
	return made.GrantID, nil
}

// RevokeGrant ends a grant, for who looks after the key or has made the grant.
// Once it has returned, no node lets the grantee do anything by it any more.
// Grants that the grantee has made stay.
func (s *Service) RevokeGrant(ctx context.Context, c *Call, ref, grantID string) error {
	return s.endGrant(ctx, c, ref, grantID, func(b command.RevokeGrant) command.Body { return b })
}

// RetireGrant is [Service.RevokeGrant] for who made the grant, is named in it as
// the one to retire it, or has it where it allows that.
func (s *Service) RetireGrant(ctx context.Context, c *Call, ref, grantID string) error {
	return s.endGrant(ctx, c, ref, grantID, func(b command.RevokeGrant) command.Body { return command.RetireGrant(b) })
}

func (s *Service) endGrant(ctx context.Context, c *Call, ref, grantID string, body func(command.RevokeGrant) command.Body) error {
	c.asked.Text("key_id", ref)
	c.asked.Text("grant_id", grantID)
	ending := body(command.RevokeGrant{})
	if _, known, err := c.repeated(ending.Type()); known || err != nil {
		return err
	}
	c.grant, _ = c.Root.Grant(grantID)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return err
	}
	_, err = s.propose(ctx, c, body(command.RevokeGrant{ProjectID: key.ProjectID, KeyID: key.ID, GrantID: grantID}), key.ID, grantID)
	return err
}

// ListGrants returns one page of the grants on a key of the project: up to
// limit that were made after the Next of the page before.
func (s *Service) ListGrants(_ context.Context, c *Call, ref string, after uint64, limit int) (GrantPage, error) {
	c.asked.Text("key_id", ref)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return GrantPage{}, err
	}
	return grantPage(c.Root.GrantsOn(key.ID, after, limit+1), limit, int(key.Grants)), nil
}

// ListRetirableGrants returns one page of the grants that the caller may
// retire, on whatever key.
func (s *Service) ListRetirableGrants(_ context.Context, c *Call, after uint64, limit int) (GrantPage, error) {
	if err := c.authorise(); err != nil {
		return GrantPage{}, err
	}
	c.abroad = true
	user, domain := c.caller.UserID, c.principal.DomainID
	return grantPage(c.Root.RetirableGrants(user, domain, after, limit+1), limit, c.Root.RetirableCount(user, domain)), nil
}

// grantPage makes a page of what was found when one more was looked for.
func grantPage(found []*state.Grant, limit, total int) GrantPage {
	page := GrantPage{Grants: found, Total: total}
	if len(found) > limit {
		page.Grants = found[:limit]
		page.Next = page.Grants[limit-1].Sequence
	}
	return page
}
