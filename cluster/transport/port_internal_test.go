package transport

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestRefusalsAfterTheClockWasSetBack: a refusal that was logged at a time that
// is yet to come keeps no other from being logged; one a second is, as ever.
func TestRefusalsAfterTheClockWasSetBack(t *testing.T) {
	var lines strings.Builder
	p := &Port{ctx: t.Context(), cfg: PortConfig{Logger: slog.New(slog.NewTextHandler(&lines, nil))}}
	p.lastRefusal.Store(time.Now().AddDate(1, 0, 0).UnixNano())
	for range 2 {
		p.refused("192.0.2.1:5", errors.New("who are you"))
	}
	if n := strings.Count(lines.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want one: %s", n, lines.String())
	}
}
