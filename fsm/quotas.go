package fsm

import (
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// The bounds of quotas, and what holds where a project has no number of its own.
const (
	MaxKeyQuota   = 10_000_000
	MaxGrantQuota = 50_000 // of one key
	// MaxTotalGrantQuota bounds the grants of all keys of a project.
	MaxTotalGrantQuota = 10_000_000

	DefaultGrantQuota = 100
	// DefaultTotalGrantQuota is ten times what a project can have whose other
	// quotas nobody has changed.
	DefaultTotalGrantQuota = 100_000
)

// Quotas is how much a project may have.
type Quotas struct {
	Keys   int // at once, default master keys not counted
	Grants int // of one key
	Tags   int // of one key
	// TotalGrants are those of all keys.
	TotalGrants int
}

// QuotasOf returns the quotas of a project; tags is what the dialect gives a
// key where the project has no number of its own.
func QuotasOf(p *state.Project, tags int) Quotas {
	return Quotas{Keys: int(p.KeyQuota), Grants: grantQuota(p), Tags: tagQuota(p, uint32(tags)), TotalGrants: totalGrantQuota(p)}
}

func grantQuota(p *state.Project) int {
	if p.GrantQuota == nil {
		return DefaultGrantQuota
	}
	return int(*p.GrantQuota)
}

func totalGrantQuota(p *state.Project) int {
	if p.TotalGrantQuota == nil {
		return DefaultTotalGrantQuota
	}
	return int(*p.TotalGrantQuota)
}

func tagQuota(p *state.Project, otherwise uint32) int {
	if p.TagQuota != nil {
		return int(*p.TagQuota)
	}
	return int(min(otherwise, MaxTags))
}

// setQuotas sets the quotas of a project. It is fenced, although no use of a
// key asks for a quota: what a project may make is asked of it, too.
func setQuotas(c *call, b command.SetQuotas) (any, *Refusal) {
	old, ok := c.Project(b.ProjectID)
	switch {
	case !ok:
		return nil, refuse(CodeNotFound, "there is no such project")
	case b.Keys != nil && *b.Keys > MaxKeyQuota:
		return nil, refuse(CodeInvalid, "a project has at most %d keys", MaxKeyQuota)
	case b.Grants != nil && *b.Grants > MaxGrantQuota:
		return nil, refuse(CodeInvalid, "a key has at most %d grants", MaxGrantQuota)
	case b.TotalGrants != nil && *b.TotalGrants > MaxTotalGrantQuota:
		return nil, refuse(CodeInvalid, "the keys of a project have at most %d grants", MaxTotalGrantQuota)
	case b.Tags != nil && *b.Tags > MaxTags:
		return nil, refuse(CodeInvalid, "a key has at most %d tags", MaxTags)
	}
	project := *old
	if b.Keys != nil {
		project.KeyQuota = *b.Keys
	}
	if b.Grants != nil {
		project.GrantQuota = b.Grants
	}
	if b.Tags != nil {
		project.TagQuota = b.Tags
	}
	if b.TotalGrants != nil {
		project.TotalGrantQuota = b.TotalGrants
	}
	project.Fence = c.index
	c.PutProject(&project)
	return ProjectResult{ProjectID: project.ID}, nil
}
