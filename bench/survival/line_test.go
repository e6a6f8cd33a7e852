package survival

import (
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var of []time.Duration
	for i := range 100 {
		of = append(of, time.Duration(100-i))
	}
	f := func(share float64, of []time.Duration, want time.Duration) {
		t.Helper()
		if got := quantile(of, share); got != want {
			t.Errorf("%v of %d: %d, not %d", share, len(of), got, want)
		}
	}
	f(0.5, of, 50)
	f(0.99, of, 99)
	f(1, of, 100)
	f(0, of, 1)
	f(0.99, of[:3], 100)
	f(0.5, of[:1], 100)
}

// A figure at its bound holds, one beyond it does not, and one without a bound
// is no promise.
func TestPrint(t *testing.T) {
	var out strings.Builder
	missed, err := Print(&out, []Line{
		at("ratio", "%.2f", 1.5, 1.5), at("time", "%s", 3*time.Second, 2*time.Second), none("refused", 1, 7), none("refused", 0, 7), beside("each", "1 s"),
		atLeast("rate", "%.1f", 0.8, 0.8), atLeast("rate", "%.1f", 0.7, 0.8),
	})
	if err != nil || missed != 3 {
		t.Errorf("%d missed, %v", missed, err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{"holds", "MISSED", "MISSED", "holds", "1 s", "holds", "MISSED"} {
		if got := strings.TrimSpace(lines[i]); !strings.HasSuffix(got, want) {
			t.Errorf("%q does not end in %q", got, want)
		}
	}
}

// A call counts for a time that it touches, not for one that it only borders on.
func TestLongest(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	calls := []call{{at(0), at(50)}, {at(50), at(60)}, {at(90), at(190)}, {at(200), at(900)}}
	if got := longest(calls, at(50), at(200)); got != 100*time.Millisecond {
		t.Errorf("the longest took %s", got)
	}
	if got := longest(calls, at(60), at(90)); got != 0 {
		t.Errorf("no call was made, but one took %s", got)
	}
}
