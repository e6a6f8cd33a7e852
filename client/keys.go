package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/raftkms/raftkms/server/wire"
)

// KeyState is the state of a key.
type KeyState int

// The states, numbered as on the wire.
const (
	Enabled         KeyState = 2
	Disabled        KeyState = 3
	PendingDeletion KeyState = 4
	PendingImport   KeyState = 5
)

// String returns the state's name.
func (s KeyState) String() string {
	switch s {
	case Enabled:
		return "Enabled"
	case Disabled:
		return "Disabled"
	case PendingDeletion:
		return "PendingDeletion"
	case PendingImport:
		return "PendingImport"
	default:
		return "State" + strconv.Itoa(int(s))
	}
}

// MarshalText makes JSON show the name.
func (s KeyState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// NewKey says which key to make.
type NewKey struct {
	Name        string // 1 to 255 of letters, digits, ':', '/', '_' and '-'; unique in the project
	Description string // at most 255 characters
	Spec        string // AES_256 (when empty), SM4, RSA_2048, EC_P256, ED25519, HMAC_256 …
	Usage       string // ENCRYPT_DECRYPT, SIGN_VERIFY, GENERATE_VERIFY_MAC or KEY_AGREEMENT; empty: what the spec is for
	Origin      string // kms (when empty) or external: the material is imported later
	Level       string // protection level: HSM or SOFTWARE; empty: what the cluster's modules are for
	Protected   bool   // whether its deletion is refused until [Client.ProtectKey] switches that off
}

// Key is a customer master key as the service describes it.
type Key struct {
	ID          string    `json:"id"` // UUID, never used again
	Name        string    `json:"name"`
	Description string    `json:"description"`
	State       KeyState  `json:"state"`
	Spec        string    `json:"spec"`
	Usage       string    `json:"usage"`
	Origin      string    `json:"origin"` // kms or external
	Created     time.Time `json:"created"`

	Deletion  time.Time `json:"deletion,omitzero"`         // when it is deleted; zero unless it is PendingDeletion
	Expires   time.Time `json:"material_expires,omitzero"` // when its imported material is deleted; zero: never
	Level     string    `json:"protection_level,omitempty"`
	Protected bool      `json:"deletion_protection,omitempty"`
	Rotated   bool      `json:"rotation_enabled,omitempty"`
	Default   bool      `json:"default_master_key,omitempty"`
}

// ListOptions select a page of keys.
type ListOptions struct {
	Limit  int      // at most 1000; 0: the service's choice
	Offset int      // keys to skip, newest first
	State  KeyState // 0: every state
	Spec   string   // empty: every spec
}

// KeyPage is one page of the project's keys, newest first.
type KeyPage struct {
	Keys  []Key
	Total int // in all pages
	Next  int // offset of the next page; 0 on the last one
}

// CreateKey makes a key and returns its id. However often it is asked for, the
// key is made once; see the package's words on retries.
func (c *Client) CreateKey(ctx context.Context, k NewKey) (string, error) {
	request := wire.CreateKeyRequest{
		KeyAlias: k.Name, KeyDescription: k.Description, KeySpec: k.Spec, KeyUsage: k.Usage,
		Origin: k.Origin, ProtectionLevel: k.Level, DeletionProtection: wire.FlexBool(k.Protected),
	}
	var reply wire.CreateKeyReply
	if err := c.call(ctx, "create-key", once, request, &reply); err != nil {
		return "", err
	}
	return reply.KeyInfo.KeyID, nil
}

// EnsureKey returns the id of the project's key with that name, and makes one
// with the default spec where there is none.
func (c *Client) EnsureKey(ctx context.Context, name string) (string, error) {
	key, err := c.DescribeKey(ctx, "alias/"+name)
	if errors.Is(err, ErrNotFound) {
		return c.CreateKey(ctx, NewKey{Name: name})
	}
	return key.ID, err
}

// DescribeKey returns a key by its id or alias/NAME.
func (c *Client) DescribeKey(ctx context.Context, key string) (Key, error) {
	var reply wire.DescribeKeyReply
	if err := c.call(ctx, "describe-key", again, wire.KeyRequest{KeyID: key}, &reply); err != nil {
		return Key{}, err
	}
	return readKey(reply.KeyInfo)
}

// ListKeys returns one page of the project's keys.
func (c *Client) ListKeys(ctx context.Context, o ListOptions) (KeyPage, error) {
	request := wire.ListKeysRequest{KeySpec: cmp.Or(o.Spec, "ALL")}
	if o.Limit != 0 {
		request.Limit = wire.Int(int64(o.Limit))
	}
	if o.Offset != 0 {
		request.Marker = wire.Int(int64(o.Offset))
	}
	if o.State != 0 {
		request.KeyState = wire.FlexString(strconv.Itoa(int(o.State)))
	}
	var reply wire.ListKeysReply
	if err := c.call(ctx, "list-keys", again, request, &reply); err != nil {
		return KeyPage{}, err
	}
	page := KeyPage{Total: reply.Total, Keys: make([]Key, len(reply.KeyDetails))}
	for i, detail := range reply.KeyDetails {
		key, err := readKey(detail)
		if err != nil {
			return KeyPage{}, err
		}
		page.Keys[i] = key
	}
	if reply.NextMarker != "" {
		next, err := strconv.Atoi(reply.NextMarker)
		if err != nil {
			return KeyPage{}, fmt.Errorf("list-keys: reading the next marker: %w", err)
		}
		page.Next = next
	}
	return page, nil
}

// EnableKey lets a disabled key be used again.
func (c *Client) EnableKey(ctx context.Context, key string) error {
	return c.call(ctx, "enable-key", once, wire.KeyRequest{KeyID: key}, new(wire.KeyStateReply))
}

// DisableKey forbids every use of a key. When it returns nil no node of the
// cluster uses the key any more.
func (c *Client) DisableKey(ctx context.Context, key string) error {
	return c.call(ctx, "disable-key", once, wire.KeyRequest{KeyID: key}, new(wire.KeyStateReply))
}

func readKey(d wire.KeyDetail) (Key, error) {
	state, err := strconv.Atoi(d.KeyState)
	if err != nil {
		return Key{}, fmt.Errorf("reading the key's state: %w", err)
	}
	created, err := strconv.ParseInt(d.CreationDate, 10, 64)
	if err != nil {
		return Key{}, fmt.Errorf("reading the key's creation date: %w", err)
	}
	key := Key{
		ID: d.KeyID, Name: d.KeyAlias, Description: d.KeyDescription, State: KeyState(state),
		Spec: d.KeySpec, Usage: d.KeyUsage, Origin: d.Origin, Created: time.UnixMilli(created).UTC(),
		Level: d.ProtectionLevel, Protected: d.DeletionProtection == "true",
		Rotated: d.KeyRotationEnabled == "true", Default: d.DefaultKeyFlag == "1",
	}
	if key.Deletion, err = readTime(d.ScheduledDeletionDate); err != nil {
		return Key{}, fmt.Errorf("reading the key's deletion date: %w", err)
	}
	if key.Expires, err = readTime(d.ExpirationTime); err != nil {
		return Key{}, fmt.Errorf("reading when the key's material expires: %w", err)
	}
	return key, nil
}

// readTime reads Unix milliseconds; what is not set is the zero time.
func readTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms).UTC(), err
}
