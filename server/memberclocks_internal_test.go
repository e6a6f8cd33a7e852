package server

import "testing"

// Whichever node is asked says how far each member's clock is off.
func TestStatusShowsClocks(t *testing.T) {
	c := newTrio(t)
	for _, s := range c.nodes {
		await(t, "the clocks of all members at "+s.cfg.NodeID, func() bool {
			members := s.status().Members
			for _, m := range members {
				if m.ClockAheadMillis == nil {
					return false
				}
				if ahead := *m.ClockAheadMillis; ahead < -5000 || ahead > 5000 {
					t.Fatalf("the clock of %s, which is this one's, is off by %d ms", m.ID, ahead)
				}
			}
			return len(members) == len(c.nodes)
		})
	}
}
