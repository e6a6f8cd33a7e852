package kms

import (
	"context"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// CreateAlias gives a key one more name.
func (s *Service) CreateAlias(ctx context.Context, c *Call, ref, name string) (*state.Alias, error) {
	c.asked.Text("key_id", ref)
	c.asked.Text("alias", name)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return nil, err
	}
	return asAlias(s.propose(ctx, c, command.CreateAlias{ProjectID: key.ProjectID, KeyID: key.ID, Name: name}, key.ID, name))
}

// AssociateAlias points an alias at another key. When it returns, no node takes
// the alias for the key that it pointed at before.
func (s *Service) AssociateAlias(ctx context.Context, c *Call, name, ref string) (*state.Alias, error) {
	c.asked.Text("key_id", ref)
	c.asked.Text("alias", name)
	key, err := c.findAuthorised(ref)
	if err != nil {
		return nil, err
	}
	// Who may not do this to the key that the alias leaves must not take it away.
	if alias, ok := c.Root.Alias(c.in.Project, name); ok && alias.KeyID != key.ID {
		if _, err := c.findAuthorised(alias.KeyID); err != nil {
			return nil, err
		}
		c.key = key
	}
	return asAlias(s.propose(ctx, c, command.AssociateAlias{ProjectID: key.ProjectID, KeyID: key.ID, Name: name}, key.ID, name))
}

// DeleteAliases takes aliases from a key: all of those named, or none.
func (s *Service) DeleteAliases(ctx context.Context, c *Call, ref string, names []string) error {
	c.asked.Text("key_id", ref)
	c.asked.Number("aliases", int64(len(names)))
	if _, known, err := c.repeated(command.TypeDeleteAliases); known || err != nil {
		return err
	}
	key, err := c.findAuthorised(ref)
	if err != nil {
		return err
	}
	_, err = s.propose(ctx, c, command.DeleteAliases{ProjectID: key.ProjectID, KeyID: key.ID, Names: names}, append([]string{key.ID}, names...)...)
	return err
}

// ListAliases returns one page of the aliases of a key, or of the project, by name.
func (s *Service) ListAliases(_ context.Context, c *Call, req ListAliasesRequest) (AliasPage, error) {
	c.asked.Text("key_id", req.Key)
	var aliases []*state.Alias
	if req.Key == "" {
		if err := c.authorise(); err != nil {
			return AliasPage{}, err
		}
		aliases = c.Root.Aliases(c.in.Project, req.After, req.Limit+1)
	} else {
		key, err := c.findAuthorised(req.Key)
		if err != nil {
			return AliasPage{}, err
		}
		for _, alias := range c.Root.AliasesOf(key.ID) { // at most 50
			if state.PlainName(alias.Name) > req.After {
				aliases = append(aliases, alias)
			}
		}
	}
	page := AliasPage{Aliases: aliases}
	if len(aliases) > req.Limit {
		page.Aliases = aliases[:req.Limit]
		page.Next = state.PlainName(page.Aliases[req.Limit-1].Name)
	}
	return page, nil
}

func asAlias(result fsm.Result, err error) (*state.Alias, error) {
	if err != nil {
		return nil, err
	}
	a, err := result.Alias()
	if err != nil {
		return nil, err
	}
	return &state.Alias{ProjectID: a.ProjectID, Name: a.Name, KeyID: a.KeyID, Created: a.Created, Updated: a.Updated}, nil
}
