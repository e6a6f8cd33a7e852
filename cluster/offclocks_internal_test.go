package cluster

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What members' clocks show is compared with the time that they agree on, at the
// moment of asking; who has fallen silent is not judged.
func TestOffClocks(t *testing.T) {
	epoch := time.UnixMilli(1_700_000_000_000)
	var c clocks
	c.hear("b", epoch, 1*time.Second, epoch, 1*time.Second)
	c.hear("c", epoch.Add(time.Minute), 1*time.Second, epoch, 1*time.Second)
	c.hear("d", epoch.Add(-time.Hour), 1*time.Second, epoch, 1*time.Second)
	c.hear("silent", epoch.Add(time.Hour), 0, epoch, 0)
	got := c.off(epoch.Add(time.Second), []string{"b", "c", "silent", "new"}, time.Second, 2*time.Second)
	if len(got) != 2 || got["b"] != 0 || got["c"] != time.Minute {
		t.Errorf("off by %v", got)
	}
}

// Each member with a wrong clock is warned of once, again when it is wrong by
// another amount, and again after it was right.
func TestWrongClocksAreWarnedOfOnce(t *testing.T) {
	var logged bytes.Buffer
	n := &Node{cfg: Config{NodeID: "a"}, log: slog.New(slog.NewTextHandler(&logged, nil))}
	warned := make(map[string]time.Duration)
	f := func(ahead time.Duration, want string) {
		t.Helper()
		logged.Reset()
		n.warnOfClocks(map[string]time.Duration{"a": time.Hour, "b": ahead, "c": time.Millisecond}, warned)
		got := logged.String()
		if want == "" && got != "" || want != "" && (strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") ||
			!strings.Contains(got, "set it right") || !strings.Contains(got, "member=b ahead="+want)) {
			t.Errorf("b is off by %s: %q, want %q", ahead, got, want)
		}
	}
	f(0, "")
	f(maxSkew, "")
	f(time.Minute, "1m0s")
	f(time.Minute+time.Second, "")
	f(-time.Minute, "-1m0s")
	f(-time.Minute, "")
	f(-maxSkew+time.Millisecond, "")
	f(-maxSkew-time.Millisecond, "-5.001s")
	f(maxSkew/2, "")
	f(-time.Minute, "-1m0s")
}
