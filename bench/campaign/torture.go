package campaign

import (
	"fmt"
	"slices"
	"strings"

	"github.com/raftkms/raftkms/bench/nemesis"
)

// Omission is what torture has to leave out on this machine.
type Omission struct {
	Scenarios []string
	Kinds     []nemesis.Kind // that no other scenario has
	Why       error
}

// String is the omission for people.
func (o Omission) String() string {
	kinds := make([]string, len(o.Kinds))
	for i, kind := range o.Kinds {
		kinds[i] = string(kind)
	}
	return fmt.Sprintf("without the scenarios %s (faults %s): %v", strings.Join(o.Scenarios, ", "), strings.Join(kinds, ", "), o.Why)
}

// need is what some scenarios take that not every machine has.
type need struct {
	trouble   func() error // why it is not there
	scenarios []string
	kinds     []nemesis.Kind
}

// needs are all needs of the scenarios of torture.
func needs() []need {
	return []need{
		{nemesis.DiskTrouble, []string{"disk"}, nemesis.DiskKinds()},
		{nemesis.VolumeTrouble, []string{"full", "hang", "power"}, slices.Concat(nemesis.RoomKinds(), nemesis.HangKinds(), nemesis.PowerKinds())},
		{nemesis.ClockTrouble, []string{"clocks"}, nemesis.ClockKinds()},
		{nemesis.PacketTrouble, []string{"packets", "apart"}, nemesis.PacketKinds()},
	}
}

// Torture returns the names of the scenarios that torture goes through, again
// and again, and what it leaves out; together they have every kind of fault.
func Torture() ([]string, []Omission) { return torture(needs()) }

func torture(needs []need) (names []string, leftOut []Omission) {
	names = []string{"long", "links", "operator", "versions", "hsm", "hsm-moves", "five", "strict", "available", "rights", "stranded", "overlap", "overlap-five"}
	for _, n := range needs {
		if why := n.trouble(); why != nil {
			leftOut = append(leftOut, Omission{n.scenarios, n.kinds, why})
			continue
		}
		names = append(names, n.scenarios...)
	}
	return names, leftOut
}
