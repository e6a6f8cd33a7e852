package campaign_test

import (
	"slices"
	"testing"

	"github.com/raftkms/raftkms/bench/campaign"
	"github.com/raftkms/raftkms/bench/nemesis"
)

// TestTortureHasEveryKind: whatever can be broken here is.
func TestTortureHasEveryKind(t *testing.T) {
	var played []nemesis.Kind
	for _, name := range campaign.Torture() {
		s, known := campaign.Scenarios()[name]
		if !known || len(s.Kinds) == 0 {
			t.Errorf("there is no scenario %s, or it breaks nothing", name)
		}
		played = append(played, s.Kinds...)
	}
	possible := slices.Concat(
		nemesis.ProcessKinds(), nemesis.NetworkKinds(), nemesis.OverlapKinds(), nemesis.OperatorKinds(), nemesis.ProgramKinds(),
		nemesis.DeviceKinds(), nemesis.DeviceOperatorKinds(),
	)
	if nemesis.DiskTrouble() == nil {
		possible = append(possible, nemesis.DiskKinds()...)
	}
	if nemesis.VolumeTrouble() == nil {
		possible = slices.Concat(possible, nemesis.RoomKinds(), nemesis.HangKinds())
	}
	if nemesis.ClockTrouble() == nil {
		possible = append(possible, nemesis.ClockKinds()...)
	}
	if nemesis.PacketTrouble() == nil {
		possible = append(possible, nemesis.PacketKinds()...)
	}
	for _, kind := range possible {
		if !slices.Contains(played, kind) {
			t.Errorf("no scenario of torture has %s", kind)
		}
	}
}
