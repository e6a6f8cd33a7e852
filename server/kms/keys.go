package kms

import (
	"context"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
)

// What a key can be in this version of raftkms.
const (
	SpecAES256     = "AES_256"
	OriginKMS      = "kms"
	OriginExternal = "external"
)

// aliasPrefix marks a key reference as a name.
const aliasPrefix = "alias/"

// CreateKey makes a key in the caller's project. Its material is made in this
// node's module and replicated wrapped.
func (s *Service) CreateKey(ctx context.Context, c *Call, req CreateKeyRequest) (*state.Key, error) {
	problem := checkNewKey(&req) // fills in, for the trace too
	c.asked.Text("key_alias", req.Name)
	c.asked.Symbol("key_spec", req.Spec)
	c.asked.Symbol("key_usage", req.Usage)
	c.asked.Text("origin", req.Origin)
	if was, known, err := c.repeatedKey(command.TypeCreateKey); known || err != nil {
		if err != nil {
			return nil, err
		}
		return s.madeKey(c, was.ID)
	}
	if err := c.authoriseOn(&state.Key{ProjectID: c.in.Project, Name: req.Name, Spec: req.Spec, Usage: req.Usage, Origin: req.Origin}); err != nil {
		return nil, err
	}
	if problem != nil {
		return nil, problem
	}
	level, err := s.level(req)
	if err != nil {
		return nil, err
	}
	c.asked.Text("protection_level", level.String())
	// Checked here only to fail before the module is bothered; apply decides.
	if _, taken := c.Root.KeyByName(c.in.Project, req.Name); taken {
		return nil, Refuse(KindNameTaken, "another key of the project is called %q", req.Name)
	}

	body, err := s.makeKey(ctx, c, req, level)
	if err != nil {
		return nil, err
	}
	result, err := s.propose(ctx, c, body, req.Name, req.Description, req.Spec, req.Usage, req.Origin, level.String(), strconv.FormatBool(req.Protected))
	if err != nil {
		return nil, err
	}
	made, err := result.Key() // not what this call has drawn: a repeat may have met the first one's answer
	if err != nil {
		return nil, &Error{Kind: KindInternal, Message: "reading which key was made", Err: err}
	}
	return s.madeKey(c, made.KeyID)
}

// madeKey returns a key that a call has made, and says so in its trace.
func (s *Service) madeKey(c *Call, id string) (*state.Key, error) {
	key, ok := s.replica.Root().Key(id)
	if !ok {
		return nil, Refuse(KindInternal, "the key that was made cannot be found")
	}
	c.key = key
	c.answered.Text("key_id", key.ID)
	if key.Origin == OriginExternal {
		s.pairs.expect() // parameters for the import are what is asked for next
	}
	return key, nil
}

// makeKey draws an id and has the module make and bind the first version of a
// key whose material is not imported.
func (s *Service) makeKey(ctx context.Context, c *Call, req CreateKeyRequest, level hsm.Level) (command.CreateKey, error) {
	id := uuid.New()
	body := command.CreateKey{
		KeyID:       id.String(),
		ProjectID:   c.in.Project,
		Name:        req.Name,
		Description: req.Description,
		Spec:        req.Spec,
		Usage:       req.Usage,
		Origin:      req.Origin,
		Level:       uint8(level),
		Protected:   req.Protected,
	}
	if req.Origin == OriginExternal {
		return body, nil
	}
	made, err := s.makeVersion(ctx, hsm.Binding{KeyID: id, Version: 1, Spec: hsm.Spec(req.Spec), Usage: req.Usage, Origin: req.Origin, Level: level})
	if err != nil {
		return command.CreateKey{}, err
	}
	body.RootGeneration, body.Blob, body.PublicKey, body.MAC = made.RootGeneration, made.Blob, made.PublicKey, made.MAC
	return body, nil
}

// makeVersion has the module make material and binds it to the version that
// the binding is about.
func (s *Service) makeVersion(ctx context.Context, about hsm.Binding) (command.NewVersion, error) {
	wrapped, err := s.generate(ctx, about.Level, about.Spec)
	if err != nil {
		return command.NewVersion{}, moduleError("making the key in the module", err)
	}
	about.Generation, about.Blob, about.PublicKey = wrapped.Generation, wrapped.Blob, wrapped.PublicKey
	mac, err := hsm.Bind(ctx, s.module, about)
	if err != nil {
		return command.NewVersion{}, moduleError("binding the key to its record", err)
	}
	return command.NewVersion{
		Number: about.Version, RootGeneration: uint32(wrapped.Generation), Blob: wrapped.Blob, PublicKey: wrapped.PublicKey, MAC: mac,
	}, nil
}

// DescribeKey returns a key's metadata.
func (s *Service) DescribeKey(_ context.Context, c *Call, ref string) (*state.Key, error) {
	c.asked.Text("key_id", ref)
	return c.findAuthorised(ref)
}

// EnableKey takes a key from Disabled to Enabled and returns it so.
func (s *Service) EnableKey(ctx context.Context, c *Call, ref string) (*state.Key, error) {
	c.asked.Text("key_id", ref)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return nil, err
	}
	return s.changeState(ctx, c, command.EnableKey{ProjectID: key.ProjectID, KeyID: key.ID}, key, state.Enabled)
}

// DisableKey takes a key from Enabled to Disabled and returns it so. Once it
// has returned, no node serves the key any more.
func (s *Service) DisableKey(ctx context.Context, c *Call, ref string) (*state.Key, error) {
	c.asked.Text("key_id", ref)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return nil, err
	}
	return s.changeState(ctx, c, command.DisableKey{ProjectID: key.ProjectID, KeyID: key.ID}, key, state.Disabled)
}

func (s *Service) changeState(ctx context.Context, c *Call, body command.Body, key *state.Key, to state.KeyState) (*state.Key, error) {
	if _, err := s.propose(ctx, c, body, key.ID); err != nil {
		return nil, err
	}
	// What this command did, not what others may have done since.
	changed := *key
	changed.State = to
	c.answered.Text("key_state", to.String())
	return &changed, nil
}

// ListKeys returns one page of the project's keys, newest first.
func (s *Service) ListKeys(_ context.Context, c *Call, req ListKeysRequest) (KeyPage, error) {
	c.asked.Number("limit", int64(req.Limit))
	c.asked.Number("offset", int64(req.Offset))
	if err := c.authorise(); err != nil {
		return KeyPage{}, err
	}
	var page KeyPage
	page.Keys, page.Total = c.Root.KeyPage(c.in.Project, state.KeyFilter{State: req.State, Spec: req.Spec}, req.Offset, req.Limit)
	if end := req.Offset + len(page.Keys); len(page.Keys) > 0 && end < page.Total {
		page.Next = end
	}
	return page, nil
}

// notFound says that there is no such key, and when there was one, that it was
// deleted and when: who holds its ciphertexts should learn that they are lost.
func (c *Call) notFound(ref string) error {
	if stone, ok := c.Root.Tombstone(ref); ok && stone.ProjectID == c.in.Project {
		return Refuse(KindNotFound, "the key was deleted at %s, and what it has encrypted cannot be decrypted any more", isoTime(stone.Deleted))
	}
	return Refuse(KindNotFound, "the key does not exist")
}

// isoTime is a replicated time for people.
func isoTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
