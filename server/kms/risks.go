package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/wire"
)

const (
	// maxCallers is how many of those who have used a key lately are named.
	maxCallers = 6
	// callersWithin bounds the search for them on each node, and callersPatience
	// that for all: a deletion does not wait for a node that is gone.
	callersWithin   = time.Second
	callersPatience = 2 * time.Second
)

// callers are those who have used a key, the newest use of each.
type callers struct {
	traces  []wire.Trace
	more    bool     // there may be others
	missing []string // nodes that could not be asked
}

// recentCallers looks through the traces of all nodes for who has used a key,
// or was refused to. It costs nothing until somebody wants to know.
func (s *Service) recentCallers(ctx context.Context, key *state.Key) (found callers, err error) {
	if s.search == nil {
		return found, errors.New("nobody looks for traces here")
	}
	ctx, cancel := context.WithTimeout(ctx, callersPatience)
	defer cancel()
	var names []string
	for _, op := range usesOfKeys() {
		names = append(names, op.Name)
	}
	page, err := s.search(ctx, TraceQuery{AllProjects: true, Query: audit.Query{
		ResourceID: key.ID, Names: names, EachUser: true, Limit: 4 * maxCallers, Within: callersWithin,
	}})
	if err != nil {
		return found, err
	}
	found.missing, found.more = page.Missing, page.Marker != ""
	known := make(map[string]bool)
	for _, t := range page.Traces {
		switch {
		case t.User == nil || known[t.User.ID]: // on another node, too
		case len(found.traces) == maxCallers:
			found.more = true
		default:
			known[t.User.ID] = true
			found.traces = append(found.traces, t)
		}
	}
	return found, nil
}

// callerName is what a user is called to those who watch over a key: whoever is
// of another account, by the ids that a grant names.
func callerName(user *wire.TraceUser, domainID string) string {
	if user.Domain != nil && user.Domain.ID != domainID {
		return fmt.Sprintf("user %s of account %s", user.ID, user.Domain.ID)
	}
	if user.Name == "" {
		return "user " + user.ID
	}
	return fmt.Sprintf("%s (%s)", user.Name, user.ID)
}

// tellRisks traces what is lost when a key is deleted, for whoever watches the
// traces: when it was last used and by whom, which names stop to mean anything,
// and whether others use it by grants.
func (s *Service) tellRisks(ctx context.Context, key *state.Key) error {
	root := s.replica.Root()
	who, whoErr := s.recentCallers(ctx, key)
	if whoErr != nil {
		s.logger.Warn("looking for who has used a key that is to be deleted", "key", key.ID, "error", whoErr)
	}
	return s.Note(ctx, OpDeleteKeyRiskTips, nil, func(c *Call) {
		c.About(key)
		c.in.Project = key.ProjectID
		c.asked.Text("key_id", key.ID)
		c.answered.Text("deletion", isoTime(key.Deletion))
		last := LastUse(root, key)
		domainID := ""
		if project, ok := root.Project(key.ProjectID); ok {
			domainID = project.DomainID
		}
		var names, uses []string
		for i := range who.traces {
			t := &who.traces[i]
			if t.TraceRating == string(audit.RatingNormal) {
				last = max(last, t.Time)
			}
			name := callerName(t.User, domainID)
			names = append(names, name)
			uses = append(uses, fmt.Sprintf("%s: %s at %s, %s", name, t.TraceName, isoTime(t.Time), t.TraceRating))
		}
		if last != 0 {
			c.answered.Text("last_used", isoTime(last))
		}
		c.answered.Number("versions", int64(key.Versions))
		c.answered.Number("aliases", int64(key.Aliases))
		c.answered.Number("grants", int64(key.Grants))
		if len(uses) > 0 {
			c.answered.Texts("recent_callers", uses)
		}
		if who.more || whoErr != nil {
			c.answered.Flag("more_callers", true) // or there may be
		}
		if len(who.missing) > 0 {
			c.answered.Texts("missing_nodes", who.missing)
		}
		message := fmt.Sprintf("the key is deleted at %s; what it has encrypted is lost then", isoTime(key.Deletion))
		if root.Now()-last < (7 * 24 * time.Hour).Milliseconds() {
			message += "; it was used within the last seven days"
		}
		if key.Grants > 0 {
			message += fmt.Sprintf("; grants that let others use it: %d", key.Grants)
		}
		if len(names) > 0 {
			message += "; asked for by " + strings.Join(names, ", ")
		}
		c.Remark(audit.RatingWarning, message)
	})
}

// LastUse returns when any version of a key was last used, as far as the nodes
// have reported; 0: never.
func LastUse(root *state.Root, key *state.Key) int64 {
	last := int64(0)
	for number := key.Versions; number > 0; number-- {
		if use, used := root.Use(key.ID, number); used {
			last = max(last, use.Last)
		}
	}
	return last
}
