package kms

import (
	"context"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm"
)

// defaultSuffix ends the names of the default master keys of services:
// SERVICE/default.
const defaultSuffix = "/default"

// defaultServices have a default master key where the configuration says nothing.
var defaultServices = []string{"obs", "evs", "ims", "sfs", "rds", "dds"}

// usableFor is [Call.usableFor] for what a default master key of a service does:
// that is made when it is used for the first time.
func (s *Service) usableFor(ctx context.Context, c *Call, ref, usage string) (*state.Key, error) {
	key, err := c.usableFor(ref, usage)
	if err == nil || KindOf(err) != KindNotFound {
		return key, err
	}
	service, ok := s.serviceOf(ref)
	if !ok {
		return nil, err
	}
	if err := s.makeDefaultKey(ctx, c, service); err != nil {
		return nil, err
	}
	c.Root = s.replica.Root()
	return c.usableFor(ref, usage)
}

// serviceOf returns the service whose default master key a reference names.
func (s *Service) serviceOf(ref string) (service string, ok bool) {
	name, isName := strings.CutPrefix(ref, aliasPrefix)
	service, isDefault := strings.CutSuffix(name, defaultSuffix)
	return service, isName && isDefault && slices.Contains(s.services, service)
}

// makeDefaultKey makes the default master key of a service in the call's
// project, unless another node was first; apply decides, and asks whether the
// caller may.
func (s *Service) makeDefaultKey(ctx context.Context, c *Call, service string) error {
	level, err := s.level(CreateKeyRequest{Spec: SpecAES256})
	if err != nil {
		return err
	}
	id := uuid.New()
	made, err := s.makeVersion(ctx, hsm.Binding{
		KeyID: id, Version: 1, Spec: hsm.SpecAES256, Usage: UsageEncryptDecrypt, Origin: OriginKMS, Level: level,
	})
	if err != nil {
		return err
	}
	_, err = s.propose(ctx, c, command.CreateDefaultKey{
		KeyID: id.String(), ProjectID: c.in.Project, Service: service, Level: uint8(level),
		RootGeneration: made.RootGeneration, Blob: made.Blob, MAC: made.MAC,
	}, service)
	return err
}
