package campaign_test

import (
	"slices"
	"testing"

	"github.com/raftkms/raftkms/bench/campaign"
	"github.com/raftkms/raftkms/bench/nemesis"
)

// TestTortureHasEveryKind: whatever can be broken is, or is named as left out.
func TestTortureHasEveryKind(t *testing.T) {
	names, leftOut := campaign.Torture()
	var known []nemesis.Kind
	for _, o := range leftOut {
		t.Log(o)
		known = append(known, o.Kinds...)
		names = append(names, o.Scenarios...)
	}
	var played []nemesis.Kind
	for _, name := range names {
		s, there := campaign.Scenarios()[name]
		if !there || len(s.Kinds) == 0 {
			t.Errorf("there is no scenario %s, or it breaks nothing", name)
		}
		played = append(played, s.Kinds...)
	}
	for _, kind := range slices.Concat(
		nemesis.ProcessKinds(), nemesis.NetworkKinds(), nemesis.OverlapKinds(), nemesis.OperatorKinds(), nemesis.ProgramKinds(),
		nemesis.DeviceKinds(), nemesis.DeviceOperatorKinds(), nemesis.DiskKinds(), nemesis.RoomKinds(), nemesis.HangKinds(),
		nemesis.ClockKinds(), nemesis.PacketKinds(), nemesis.PowerKinds(),
	) {
		if !slices.Contains(played, kind) {
			t.Errorf("no scenario of torture has %s", kind)
		}
	}
	for _, kind := range known {
		if !slices.Contains(played, kind) {
			t.Errorf("%s is named as left out, and would not be played", kind)
		}
	}
}
