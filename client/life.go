package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/server/wire"
)

// RenameKey gives a key another name.
func (c *Client) RenameKey(ctx context.Context, key, name string) error {
	return c.call(ctx, "update-key-alias", once, wire.UpdateKeyAliasRequest{KeyID: key, KeyAlias: name}, new(wire.KeyAliasReply))
}

// DescribeAs gives a key another description.
func (c *Client) DescribeAs(ctx context.Context, key, description string) error {
	return c.call(ctx, "update-key-description", once, wire.UpdateKeyDescriptionRequest{KeyID: key, KeyDescription: &description}, new(wire.KeyDescriptionReply))
}

// ScheduleDeletion takes a key out of use and has it deleted after so many
// days, 7 to 1096 unless the service is configured otherwise. When it returns
// nil no node of the cluster uses the key any more.
func (c *Client) ScheduleDeletion(ctx context.Context, key string, days int) error {
	request := wire.ScheduleDeletionRequest{KeyID: key, PendingDays: wire.Int(int64(days))}
	return c.call(ctx, "schedule-key-deletion", once, request, new(wire.DeletionReply))
}

// CancelDeletion brings a key back; it is Disabled then, or PendingImport.
func (c *Client) CancelDeletion(ctx context.Context, key string) error {
	return c.call(ctx, "cancel-key-deletion", once, wire.KeyRequest{KeyID: key}, new(wire.DeletionReply))
}

// ProtectKey switches a key's protection from deletion.
func (c *Client) ProtectKey(ctx context.Context, key string, on bool) error {
	verb := "disable-key-deletion-protection"
	if on {
		verb = "enable-key-deletion-protection"
	}
	return c.call(ctx, verb, again, wire.KeyRequest{KeyID: key}, new(wire.EmptyReply))
}

// Alias is one further name of a key.
type Alias struct {
	Name    string    `json:"name"`
	KeyID   string    `json:"key_id"`
	URN     string    `json:"urn"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"` // when it was last pointed somewhere
}

// CreateAlias gives a key one more name.
func (c *Client) CreateAlias(ctx context.Context, key, name string) error {
	return c.call(ctx, "aliases", once, wire.CreateAliasRequest{KeyID: key, Alias: name}, new(wire.AliasInfo))
}

// AssociateAlias points an alias at another key. When it returns nil no node
// takes the alias for the key before.
func (c *Client) AssociateAlias(ctx context.Context, name, key string) error {
	return c.call(ctx, "alias/associate", again, wire.AssociateAliasRequest{Alias: name, TargetKeyID: key}, new(wire.AliasInfo))
}

// DeleteAliases takes aliases from the key that they point at: all or none.
func (c *Client) DeleteAliases(ctx context.Context, key string, names ...string) error {
	h := how{method: http.MethodDelete, verb: "aliases"}
	return c.callBy(ctx, h, once, wire.DeleteAliasesRequest{KeyID: key, Aliases: names}, nil)
}

// ListAliases returns the aliases of a key, or with an empty key all of the
// project, by name.
func (c *Client) ListAliases(ctx context.Context, key string) ([]Alias, error) {
	aliases := []Alias{}
	for marker := ""; ; {
		query := url.Values{}
		if key != "" {
			query.Set("key_id", key)
		}
		if marker != "" {
			query.Set("marker", marker)
		}
		var page wire.ListAliasesReply
		if err := c.callBy(ctx, how{method: http.MethodGet, verb: "aliases", query: query}, again, struct{}{}, &page); err != nil {
			return nil, err
		}
		for _, a := range page.Aliases {
			created, err1 := time.Parse(time.RFC3339, a.CreateTime)
			updated, err2 := time.Parse(time.RFC3339, a.UpdateTime)
			if err1 != nil || err2 != nil {
				return nil, fmt.Errorf("reading the times of alias %q: %q, %q", a.Alias, a.CreateTime, a.UpdateTime)
			}
			aliases = append(aliases, Alias{Name: a.Alias, KeyID: a.KeyID, URN: a.AliasURN, Created: created, Updated: updated})
		}
		if page.PageInfo.NextMarker == "" || page.PageInfo.NextMarker == marker {
			return aliases, nil
		}
		marker = page.PageInfo.NextMarker
	}
}

// Rotation is how a key is rotated.
type Rotation struct {
	Enabled bool      `json:"enabled"`
	Days    int       `json:"days"`
	Last    time.Time `json:"last,omitzero"`
	Count   int       `json:"count"`
}

// EnableRotation has a key rotated every so many days, 30 to 365; 0: 365.
func (c *Client) EnableRotation(ctx context.Context, key string, days int) error {
	if err := c.call(ctx, "enable-key-rotation", once, wire.KeyRequest{KeyID: key}, new(wire.EmptyReply)); err != nil || days == 0 {
		return err
	}
	return c.SetRotationInterval(ctx, key, days)
}

// SetRotationInterval changes the days of a rotation that is enabled.
func (c *Client) SetRotationInterval(ctx context.Context, key string, days int) error {
	request := wire.RotationIntervalRequest{KeyID: key, RotationInterval: wire.Int(int64(days))}
	return c.call(ctx, "update-key-rotation-interval", again, request, new(wire.EmptyReply))
}

// DisableRotation ends the rotation of a key; its versions stay.
func (c *Client) DisableRotation(ctx context.Context, key string) error {
	return c.call(ctx, "disable-key-rotation", once, wire.KeyRequest{KeyID: key}, new(wire.EmptyReply))
}

// RotationOf returns how a key is rotated.
func (c *Client) RotationOf(ctx context.Context, key string) (Rotation, error) {
	var reply wire.RotationStatusReply
	if err := c.call(ctx, "get-key-rotation-status", again, wire.KeyRequest{KeyID: key}, &reply); err != nil {
		return Rotation{}, err
	}
	last, err := readTime(reply.LastRotationTime)
	if err != nil {
		return Rotation{}, fmt.Errorf("reading the last rotation's time: %w", err)
	}
	return Rotation{Enabled: reply.KeyRotationEnabled, Days: reply.RotationInterval, Last: last, Count: reply.NumberOfRotations}, nil
}

// RotateKey adds a version to a key now.
func (c *Client) RotateKey(ctx context.Context, key string) error {
	return c.call(ctx, "rotate-on-demand", once, wire.KeyRequest{KeyID: key}, new(wire.EmptyReply))
}

// Version is one version of a key.
type Version struct {
	Number   int       `json:"number"`
	Created  time.Time `json:"created"`
	Primary  bool      `json:"primary"`            // encrypts
	LastUsed time.Time `json:"last_used,omitzero"` // some minutes behind; zero: not that anybody knew
}

// ListVersions returns the versions of a key, newest first.
func (c *Client) ListVersions(ctx context.Context, key string) ([]Version, error) {
	versions := []Version{}
	request := wire.ListVersionsRequest{KeyID: key}
	for {
		var page wire.ListVersionsReply
		if err := c.call(ctx, "list-key-versions", again, request, &page); err != nil {
			return nil, err
		}
		for _, v := range page.Versions {
			created, err1 := readTime(v.CreationDate)
			used, err2 := readTime(v.LastUsedDate)
			if err1 != nil || err2 != nil {
				return nil, fmt.Errorf("reading the times of version %d: %q, %q", v.Version, v.CreationDate, v.LastUsedDate)
			}
			versions = append(versions, Version{Number: v.Version, Created: created, Primary: v.Primary, LastUsed: used})
		}
		next, err := strconv.ParseInt(page.NextMarker, 10, 64)
		if err != nil || request.Marker == wire.Int(next) {
			return versions, nil
		}
		request.Marker = wire.Int(next)
	}
}
