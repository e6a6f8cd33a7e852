package keystone

import (
	"context"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// The states of access keys.
const (
	keyActive   = "active"
	keyInactive = "inactive"
)

func status(enabled bool) string {
	if enabled {
		return keyActive
	}
	return keyInactive
}

// credentialOf is an access key as administrators read it: without its secret,
// which is shown once, when it is made.
func (x *exchange) credentialOf(a *state.AccessKey) wire.Credential {
	shown := wire.Credential{Access: a.ID, UserID: a.UserID, Status: status(a.Enabled), Description: a.Description}
	if a.Created != 0 {
		shown.CreateTime = isoTime(a.Created)
	}
	if used, ok := x.call.Root.Access(a.ID); ok {
		shown.LastUseTime = isoTime(used.Last)
	}
	return shown
}

// findAccessKey returns an access key of a user of the caller's account.
func (x *exchange) findAccessKey(id string) (*state.AccessKey, error) {
	if a, ok := x.call.Root.AccessKey(id); ok {
		if _, err := x.findUser(a.UserID); err == nil {
			return a, nil
		}
	}
	return nil, kms.Refuse(kms.KindNotFound, "the account has no such access key")
}

func listAccessKeys(_ context.Context, x *exchange) (any, error) {
	u, err := x.findUser(x.query("user_id"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(u.ID, u.Name)
	shown := []wire.Credential{}
	for _, a := range x.call.Root.AccessKeysOf(u.ID) {
		shown = append(shown, x.credentialOf(a))
	}
	return map[string]any{"credentials": shown}, nil
}

func showAccessKey(_ context.Context, x *exchange) (any, error) {
	a, err := x.findAccessKey(x.path("access_key"))
	if err != nil {
		return nil, err
	}
	x.call.AboutResource(a.ID, "")
	return wire.CredentialReply{Credential: x.credentialOf(a)}, nil
}

func createAccessKey(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Credential struct {
			UserID      string `json:"user_id"`
			Description string `json:"description"`
		} `json:"credential"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	secret := newText(40)
	b := command.CreateAccessKey{ID: newText(20), UserID: req.Credential.UserID, Description: req.Credential.Description}
	var err error
	if b.SealedSecret, err = x.SealSecret(ctx, x.call.Root, b.ID, []byte(secret)); err != nil {
		return nil, err
	}
	x.call.Asked().Text("user_id", b.UserID)
	if err := x.change(ctx, b, "", "", b.UserID, b.Description); err != nil {
		return nil, err
	}
	x.call.AboutResource(b.ID, "")
	shown := x.credentialOf(&state.AccessKey{ID: b.ID, UserID: b.UserID, Enabled: true, Description: b.Description})
	shown.Secret = wire.SecretString(secret)
	return wire.CredentialReply{Credential: shown}, nil
}

func updateAccessKey(ctx context.Context, x *exchange) (any, error) {
	var req struct {
		Credential struct {
			Status      *string `json:"status"`
			Description *string `json:"description"`
		} `json:"credential"`
	}
	if err := x.decode(&req); err != nil {
		return nil, err
	}
	old, err := x.findAccessKey(x.path("access_key"))
	if err != nil {
		return nil, err
	}
	body := command.UpdateAccessKey{ID: old.ID, Description: old.Description, Enabled: old.Enabled, KeepEnabled: true, KeepDescription: req.Credential.Description == nil}
	set(&body.Description, req.Credential.Description)
	if s := req.Credential.Status; s != nil {
		body.Enabled, body.KeepEnabled = *s == keyActive, false
		if !body.Enabled && *s != keyInactive {
			return nil, &refusal{400, "IAM.0011", "The status is neither active nor inactive."}
		}
	}
	x.call.Asked().Text("status", status(body.Enabled))
	if err := x.change(ctx, body, body.ID, "", status(body.Enabled), body.Description); err != nil {
		return nil, err
	}
	changed := *old
	changed.Description, changed.Enabled = body.Description, body.Enabled
	return wire.CredentialReply{Credential: x.credentialOf(&changed)}, nil
}

func deleteAccessKey(ctx context.Context, x *exchange) (any, error) {
	id := x.path("access_key")
	return nil, x.change(ctx, command.DeleteAccessKey{ID: id}, id, "")
}
