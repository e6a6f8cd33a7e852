package kms

import (
	"context"
	"strconv"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/fsm/state"
)

// What is asked about tags and quotas.
var (
	OpListTags        = Operation{"listKeyTags", policy.ActionListTags, "cmk"}
	OpCreateTag       = Operation{"createKeyTag", policy.ActionCreateTag, "cmk"}
	OpDeleteTag       = Operation{"deleteKeyTag", policy.ActionDeleteTag, "cmk"}
	OpBatchTags       = Operation{"batchKeyTags", policy.ActionBatchTags, "cmk"}
	OpBatchCreateTags = Operation{"batchCreateKeyTags", policy.ActionBatchTags, "cmk"}
	OpBatchDeleteTags = Operation{"batchDeleteKeyTags", policy.ActionBatchTags, "cmk"}
	OpListProjectTags = Operation{"listProjectTags", policy.ActionListTags, "cmk"}
	OpFindTagged      = Operation{"listKmsByTags", policy.ActionListTagged, "cmk"}
	OpCountKeys       = Operation{"getUserInstances", policy.ActionGetInstance, "cmk"}
	OpGetQuotas       = Operation{"getUserQuotas", policy.ActionGetQuota, "cmk"}
	OpSetQuotas       = Operation{"updateUserQuotas", policy.ActionUpdateQuota, "cmk"}
)

// Rename gives the call the name in traces that only its request could tell.
// The permission that it needs stays.
func (c *Call) Rename(op Operation) { c.in.Operation.Name = op.Name }

// ListTags returns the tags of a key, by name.
func (s *Service) ListTags(_ context.Context, c *Call, ref string) ([]state.Tag, error) {
	c.asked.Text("key_id", ref)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return nil, err
	}
	return key.Tags, nil
}

// SetTags adds tags to a key, or gives those that it has another value. The
// dialect says how many a key may have where the project has no number of its own.
func (s *Service) SetTags(ctx context.Context, c *Call, ref string, tags []state.Tag, most int) error {
	c.asked.Text("key_id", ref)
	names := make([]string, len(tags))
	meaning := []string{ref}
	for i, t := range tags {
		names[i] = t.Key
		meaning = append(meaning, t.Key, t.Value)
	}
	c.asked.Texts("tags", names)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return err
	}
	body := command.SetTags{ProjectID: key.ProjectID, KeyID: key.ID, Tags: tags, Most: uint32(most)}
	if c.in.Operation.Action == policy.ActionBatchTags {
		_, err = s.propose(ctx, c, command.BatchSetTags(body), meaning...)
	} else {
		_, err = s.propose(ctx, c, body, meaning...)
	}
	return err
}

// RemoveTags takes tags from a key: those that it has, or, when all is set,
// every one of them or none.
func (s *Service) RemoveTags(ctx context.Context, c *Call, ref string, names []string, all bool) error {
	c.asked.Text("key_id", ref)
	c.asked.Texts("tags", names)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return err
	}
	body := command.RemoveTags{ProjectID: key.ProjectID, KeyID: key.ID, Keys: names, All: all}
	meaning := append([]string{ref}, names...)
	if c.in.Operation.Action == policy.ActionBatchTags {
		_, err = s.propose(ctx, c, command.BatchRemoveTags(body), meaning...)
	} else {
		_, err = s.propose(ctx, c, body, meaning...)
	}
	return err
}

// ProjectTags returns every tag of the project's keys with its values.
func (s *Service) ProjectTags(_ context.Context, c *Call) ([]state.TagValues, error) {
	if err := c.authorise(); err != nil {
		return nil, err
	}
	return c.Root.ProjectTags(c.in.Project), nil
}

// FindTaggedRequest asks for keys that have every one of some tags.
type FindTaggedRequest struct {
	Terms  []state.TagTerm
	Name   string // a part of the key's name; empty: any name
	Offset int
	Limit  int // 0: only how many there are
}

// FindTagged returns a page of the project's keys that meet the terms, newest
// first, and how many there are in all.
func (s *Service) FindTagged(_ context.Context, c *Call, req FindTaggedRequest) ([]*state.Key, int, error) {
	if err := c.authorise(); err != nil {
		return nil, 0, err
	}
	page, total := c.Root.KeysTagged(c.in.Project, req.Terms, req.Name, req.Offset, req.Limit)
	return page, total, nil
}

// CountKeys returns how many keys the project has, default master keys not counted.
func (s *Service) CountKeys(_ context.Context, c *Call) (int, error) {
	if err := c.authorise(); err != nil {
		return 0, err
	}
	return c.Root.KeyCount(c.in.Project), nil
}

// Usage is how much a project has and may have.
type Usage struct {
	Keys   int // that it has
	Grants int // of the key that has most
	Tags   int // of the key that has most
	// TotalGrants are those of all keys.
	TotalGrants int
	Quotas      fsm.Quotas
}

// Quotas returns what the project has and may have; tags is how many tags the
// dialect gives a key where the project has no number of its own.
func (s *Service) Quotas(_ context.Context, c *Call, tags int) (Usage, error) {
	if err := c.authorise(); err != nil {
		return Usage{}, err
	}
	return c.usage(c.Root, c.in.Project, tags), nil
}

func (c *Call) usage(root *state.Root, projectID string, tags int) Usage {
	project, _ := root.Project(projectID) // the call was identified in it
	return Usage{
		Keys: root.KeyCount(projectID), Grants: root.MostGrants(projectID), Tags: root.MostTags(projectID), TotalGrants: root.GrantCount(projectID),
		Quotas: fsm.QuotasOf(project, tags),
	}
}

// SetQuotas changes what a project may have, for an administrator of the
// system; nil: as it is. The project need not be the call's.
func (s *Service) SetQuotas(ctx context.Context, c *Call, body command.SetQuotas, tags int) (Usage, error) {
	if body.ProjectID == "" {
		body.ProjectID = c.in.Project
	}
	c.asked.Text("project_id", body.ProjectID)
	if err := c.authorise(); err != nil {
		return Usage{}, err
	}
	var meaning []string
	for _, q := range []struct {
		name  string
		value *uint32
	}{{"keys", body.Keys}, {"grants", body.Grants}, {"tags", body.Tags}, {"total_grants", body.TotalGrants}} {
		if q.value != nil {
			c.asked.Number(q.name, int64(*q.value))
			meaning = append(meaning, q.name, strconv.FormatUint(uint64(*q.value), 10))
		}
	}
	c.AboutResource(body.ProjectID, "")
	if _, err := s.propose(ctx, c, body, append(meaning, body.ProjectID)...); KindOf(err) == KindNotFound {
		return Usage{}, &Error{Kind: KindInvalid, Parameter: "target_project", Message: "there is no such project", Err: err}
	} else if err != nil {
		return Usage{}, err
	}
	return c.usage(s.replica.Root(), body.ProjectID, tags), nil
}
