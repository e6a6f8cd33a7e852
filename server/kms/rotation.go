package kms

import (
	"context"
	"strconv"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// EnableRotation has a key rotated every so many days.
func (s *Service) EnableRotation(ctx context.Context, c *Call, ref string, days uint32) error {
	c.asked.Number("rotation_interval", int64(days))
	_, err := s.changeKey(ctx, c, command.TypeEnableRotation, ref, func(key *state.Key) (command.Body, error) {
		return command.EnableRotation{ProjectID: key.ProjectID, KeyID: key.ID, Days: days}, nil
	}, func(*state.Key) {}, strconv.Itoa(int(days)))
	return err
}

// SetRotationInterval changes the days; a new period begins.
func (s *Service) SetRotationInterval(ctx context.Context, c *Call, ref string, days uint32) error {
	c.asked.Number("rotation_interval", int64(days))
	_, err := s.changeKey(ctx, c, command.TypeSetRotationInterval, ref, func(key *state.Key) (command.Body, error) {
		return command.SetRotationInterval{ProjectID: key.ProjectID, KeyID: key.ID, Days: days}, nil
	}, func(*state.Key) {}, strconv.Itoa(int(days)))
	return err
}

// DisableRotation ends the rotation of a key. Its versions stay.
func (s *Service) DisableRotation(ctx context.Context, c *Call, ref string) error {
	_, err := s.changeKey(ctx, c, command.TypeDisableRotation, ref, func(key *state.Key) (command.Body, error) {
		return command.DisableRotation{ProjectID: key.ProjectID, KeyID: key.ID}, nil
	}, func(*state.Key) {})
	return err
}

// RotationStatus returns a key, whose record tells of its rotation.
func (s *Service) RotationStatus(_ context.Context, c *Call, ref string) (*state.Key, error) {
	c.asked.Text("key_id", ref)
	return c.findAuthorised(ref)
}

// rotateTries bounds how often an on-demand rotation is tried when another
// one came in between.
const rotateTries = 5

// RotateKey adds a version to a key now and returns its number. It becomes the
// primary one, except with an asymmetric key, whose callers name the version. The
// answer to a repeated request does not say it: 0.
func (s *Service) RotateKey(ctx context.Context, c *Call, ref string) (uint32, error) {
	c.asked.Text("key_id", ref)
	if _, known, err := c.repeated(command.TypeRotateKey); known || err != nil {
		return 0, err
	}
	key, err := c.findAuthorised(ref)
	if err != nil {
		return 0, err
	}
	for try := 0; ; try++ {
		version, err := s.nextVersion(ctx, key)
		if err != nil {
			return 0, err
		}
		_, err = s.propose(ctx, c, command.RotateKey{ProjectID: key.ProjectID, KeyID: key.ID, Version: version}, key.ID)
		if err == nil {
			c.answered.Number("version", int64(version.Number))
			return version.Number, nil
		}
		now, exists := s.replica.Root().Key(key.ID)
		if KindOf(err) != KindStale || try >= rotateTries || !exists {
			return 0, err
		}
		key = now // a version was added in between; its number is bound to the material, so there is new material
	}
}

// nextVersion has the module make the next version of a key. What can never be
// rotated is for apply to refuse: then the module is not bothered. A key that is
// Disabled may be Enabled by the time that the command is applied.
func (s *Service) nextVersion(ctx context.Context, key *state.Key) (command.NewVersion, error) {
	number := key.Versions + 1
	if key.Origin != OriginKMS || key.Default {
		return command.NewVersion{Number: number}, nil
	}
	about, err := bindingOf(key, &state.Version{KeyID: key.ID, Number: number})
	if err != nil {
		return command.NewVersion{}, err
	}
	return s.makeVersion(ctx, about)
}

// ListVersions returns the versions of a key, newest first.
func (s *Service) ListVersions(_ context.Context, c *Call, req ListVersionsRequest) (VersionPage, error) {
	c.asked.Text("key_id", req.Key)
	key, err := c.findAuthorised(req.Key)
	if err != nil {
		return VersionPage{}, err
	}
	page := VersionPage{Key: key, Total: int(key.Versions)}
	number := key.Versions
	if req.Before != 0 {
		number = min(number, req.Before-1)
	}
	for ; number > 0 && len(page.Versions) < req.Limit; number-- {
		version, ok := c.Root.Version(key.ID, number)
		if !ok {
			continue // imported material that was deleted
		}
		described := DescribedVersion{Number: number, Created: version.Created, Primary: number == key.PrimaryVersion}
		if use, used := c.Root.Use(key.ID, number); used {
			described.LastUsed = use.Last
		}
		page.Versions = append(page.Versions, described)
	}
	if number > 0 {
		page.Next = number + 1
	}
	return page, nil
}
