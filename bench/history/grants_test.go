package history_test

import (
	"testing"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

// leave adds a call about grants on the key "k", whose grant is "g".
func (s *story) leave(begin, end int, op history.Op, outcome history.Outcome, code string) *story {
	c := history.Call{
		Name: "k", Node: "n1", Op: op, Outcome: outcome, Code: code,
		Begin: time.Duration(begin) * time.Millisecond, End: time.Duration(end) * time.Millisecond,
	}
	if !op.Uses() && !(op == history.Grant && outcome != history.OK) {
		c.Tag = "g"
	}
	s.Granted = append(s.Granted, c)
	return s
}

func TestGrantsInHistories(t *testing.T) {
	granted := func() *story {
		return new(story).leave(0, 10, history.MakeKey, history.Refused, history.CodeNotFound).leave(20, 30, history.Grant, history.OK, "")
	}
	const ok, refused, unknown = history.OK, history.Refused, history.Unknown
	breaks(t, granted().leave(40, 50, history.MakeKey, ok, "").leave(60, 70, history.Revoke, ok, "").
		leave(80, 90, history.MakeKey, refused, history.CodeForbidden).leave(95, 99, history.Revoke, refused, history.CodeNoGrant))
	// What overlaps may come before or after.
	breaks(t, granted().leave(60, 70, history.Revoke, ok, "").leave(69, 80, history.MakeKey, ok, "").leave(69, 80, history.MakeKey, refused, history.CodeNotFound))
	// A revocation of unknown outcome happens at once, late or never; so does a grant.
	breaks(t, granted().leave(60, 70, history.Revoke, unknown, "").leave(80, 90, history.MakeKey, ok, "").leave(100, 110, history.MakeKey, refused, history.CodeNotFound))
	breaks(t, granted().leave(60, 70, history.Revoke, unknown, "").leave(80, 90, history.Revoke, refused, history.CodeNoGrant))
	breaks(t, new(story).leave(0, 10, history.Grant, unknown, "").leave(20, 30, history.MakeKey, refused, history.CodeNotFound).leave(40, 50, history.MakeKey, ok, ""))
	breaks(t, new(story).leave(0, 10, history.Grant, history.NotDone, "").leave(20, 30, history.MakeKey, refused, history.CodeNotFound))

	// And what breaks a promise.
	both := []error{history.ErrUsedAfterRevocation, history.ErrNotLinearizable}
	breaks(t, granted().leave(60, 70, history.Revoke, ok, "").leave(80, 90, history.MakeKey, ok, ""), both...)
	breaks(t, new(story).leave(0, 10, history.MakeKey, ok, ""), both...)
	breaks(t, new(story).leave(0, 10, history.Grant, history.NotDone, "").leave(20, 30, history.MakeKey, ok, ""), both...)
	breaks(t, granted().leave(40, 50, history.MakeKey, refused, history.CodeNotFound), history.ErrNotLinearizable)
	breaks(t, granted().leave(60, 70, history.Revoke, refused, history.CodeNoGrant), history.ErrNotLinearizable)
	breaks(t, granted().leave(40, 50, history.MakeKey, refused, history.CodeKeyDisabled), history.ErrNotLinearizable)
	// Nobody is told the newer thing and then the older one, while a revocation is under way.
	breaks(t, granted().leave(60, 200, history.Revoke, ok, "").leave(70, 80, history.MakeKey, refused, history.CodeNotFound).leave(90, 100, history.MakeKey, ok, ""),
		history.ErrNotLinearizable)
}
