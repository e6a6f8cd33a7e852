package campaign

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/bench/nemesis"
)

// Report is what happened in a campaign.
type Report struct {
	Scenario Scenario
	Seed     uint64
	Elapsed  time.Duration // of the load and everything after it

	Calls map[history.Op]map[history.Outcome]int
	// Successes are the calls that were answered with ok while the nemesis was
	// at work.
	Successes int
	Faults    map[string]int // injected, by kind
	// Revoked are the rights that were seen to be there, taken away and seen to
	// be gone, by kind.
	Revoked map[history.Right]int
	// Granted are the uses of a key by a grant, Ungranted those that were
	// refused for want of one.
	Granted, Ungranted int
	// Recoveries are the times from the healing of a fault to the first write that
	// was acknowledged and had begun after it, where that was before the next fault.
	Recoveries []time.Duration
	Terms      int           // that were seen: each is an election
	Compared   int           // indexes at which states of several nodes were compared
	Traced     int           // answers whose traces were looked for
	Installs   int           // snapshots that nodes got from others
	Led        int           // programs that have led
	SentOn     int           // calls that a node had no state for, and a peer answered
	Erasures   int           // of a node's files
	Aged       int           // uses that a node answered from an old state
	Oldest     time.Duration // of these
	Lost       int64         // packets, where the scenario has some
	Unknown    int64         // connections between nodes that could not be cut, since nobody knew whose they were

	Violations []*history.Violation
	Problems   []error // everything else that makes a campaign fail
}

// fill counts what a history holds.
func (r *Report) fill(h *history.History) {
	r.Calls = make(map[history.Op]map[history.Outcome]int)
	for i := range h.Calls {
		c := &h.Calls[i]
		if r.Calls[c.Op] == nil {
			r.Calls[c.Op] = make(map[history.Outcome]int)
		}
		r.Calls[c.Op][c.Outcome]++
		if c.Outcome == history.OK && !c.Final {
			r.Successes++
		}
	}
	r.Revoked = make(map[history.Right]int)
	for _, right := range history.Rights() {
		r.Revoked[right] = h.Revoked(right)
	}
	for i := range h.Granted {
		c := &h.Granted[i]
		op := c.Op
		if op.Uses() {
			op = "use by a grant"
		}
		if r.Calls[op] == nil {
			r.Calls[op] = make(map[history.Outcome]int)
		}
		r.Calls[op][c.Outcome]++
		switch {
		case c.Op.Uses() && c.Outcome == history.OK:
			r.Granted++
		case c.Op.Uses() && c.Outcome == history.Refused:
			r.Ungranted++
		}
	}
	r.Faults = make(map[string]int)
	for _, f := range h.Faults {
		r.Faults[f.Kind]++
	}
	r.Recoveries = h.Recoveries()
	terms := make(map[uint64]bool)
	for _, s := range h.Statuses {
		terms[s.Term] = true
	}
	r.Terms = len(terms)
	r.Compared, r.Traced, r.Installs = h.Compared(), h.Traced(), len(h.Installs)
	r.Aged, r.Oldest = h.Aged()
}

// tooLittle returns an error when nothing follows from nothing being found.
func (r *Report) tooLittle() error {
	behind := slices.ContainsFunc(r.Scenario.Kinds, func(k nemesis.Kind) bool {
		return k == nemesis.LeaveBehind || k == nemesis.ReplaceOne || k == nemesis.UnplugBehind
	})
	if behind && r.Installs == 0 {
		return fmt.Errorf("%w: no node took a snapshot from another", ErrTooLittle)
	}
	mixed := slices.ContainsFunc(r.Scenario.Kinds, func(k nemesis.Kind) bool { return slices.Contains(nemesis.ProgramKinds(), k) })
	if mixed && r.Led < 2 {
		return fmt.Errorf("%w: one program has led all the time", ErrTooLittle)
	}
	// A node that is killed later forgets how often it was helped.
	stranded := !slices.ContainsFunc(r.Scenario.Kinds, func(k nemesis.Kind) bool { return k != nemesis.StrandOne })
	if stranded && r.SentOn == 0 {
		return fmt.Errorf("%w: no peer has answered for a stranded node", ErrTooLittle)
	}
	if r.Scenario.Erasing && r.Erasures == 0 {
		return fmt.Errorf("%w: no node has erased", ErrTooLittle)
	}
	if r.Scenario.MaxAge > 0 && r.Aged == 0 {
		return fmt.Errorf("%w: no use of a key was answered from an old state", ErrTooLittle)
	}
	if r.Scenario.Packets && r.Lost == 0 {
		return fmt.Errorf("%w: no packet was lost", ErrTooLittle)
	}
	missing := 0
	for _, kind := range r.Scenario.Kinds {
		if r.Faults[string(kind)] == 0 {
			missing++
		}
	}
	if err := r.tooFew(); err != nil {
		return err
	}
	if missing == 0 && len(r.Faults) > 0 && r.Compared > 0 && r.Granted > 0 && r.Ungranted > 0 {
		return nil
	}
	return fmt.Errorf("%w: %d of %d kinds of faults are missing, states were compared at %d indexes, %d uses by grants succeeded and %d were refused",
		ErrTooLittle, missing, len(r.Scenario.Kinds), r.Compared, r.Granted, r.Ungranted)
}

// tooFew returns an error when too few calls have succeeded, keys been rotated or
// rights been taken away: of all that more comes with time.
func (r *Report) tooFew() error {
	for _, right := range history.Rights() {
		if r.Revoked[right] < r.Scenario.Revocations {
			return fmt.Errorf("%w: of the kind %s %d revocations were seen through, of %d", ErrTooLittle, right, r.Revoked[right], r.Scenario.Revocations)
		}
	}
	if r.Calls[history.Rotate][history.OK] == 0 {
		return fmt.Errorf("%w: no key was rotated", ErrTooLittle)
	}
	if r.Successes < r.Scenario.Successes {
		return fmt.Errorf("%w: %d of %d calls succeeded", ErrTooLittle, r.Successes, r.Scenario.Successes)
	}
	return nil
}

// Err is why the campaign failed, or nil.
func (r *Report) Err() error {
	all := slices.Clone(r.Problems)
	for _, v := range r.Violations {
		all = append(all, v)
	}
	return errors.Join(all...)
}

// maxShown is how many violations a report spells out.
const maxShown = 20

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "campaign %s, seed %d: %d nodes, %d workers, %s\n", r.Scenario.Name, r.Seed, r.Scenario.Nodes, r.Scenario.Workers, r.Elapsed.Round(time.Millisecond))
	fmt.Fprintf(&b, "%-16s %7s %8s %9s %8s\n", "calls", history.OK, history.Refused, history.NotDone, history.Unknown)
	for _, op := range slices.Sorted(maps.Keys(r.Calls)) {
		by := r.Calls[op]
		fmt.Fprintf(&b, "%-16s %7d %8d %9d %8d\n", op, by[history.OK], by[history.Refused], by[history.NotDone], by[history.Unknown])
	}
	if r.Scenario.Revokers > 0 {
		b.WriteString("revoked:")
		for _, right := range history.Rights() {
			fmt.Fprintf(&b, " %s %d", right, r.Revoked[right])
		}
		b.WriteString("\n")
	}
	b.WriteString("faults:")
	for _, kind := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(&b, " %s %d", kind, r.Faults[kind])
	}
	if n := len(r.Recoveries); n > 0 {
		fmt.Fprintf(&b, "\nfirst write after each of %d healings: median %s, longest %s", n,
			r.Recoveries[n/2].Round(time.Millisecond), r.Recoveries[n-1].Round(time.Millisecond))
	}
	fmt.Fprintf(&b, "\n%d terms seen; states compared at %d indexes; the traces of %d answers looked for; %d snapshots installed; %d connections of unknown origin\n", r.Terms, r.Compared, r.Traced, r.Installs, r.Unknown)
	if r.SentOn > 0 {
		fmt.Fprintf(&b, "%d calls of stranded nodes were answered by peers\n", r.SentOn)
	}
	if r.Scenario.Erasing {
		fmt.Fprintf(&b, "nodes have erased %d times\n", r.Erasures)
	}
	if r.Scenario.MaxAge > 0 {
		fmt.Fprintf(&b, "%d uses were answered from states up to %s old, of %s that may be\n", r.Aged, r.Oldest, r.Scenario.MaxAge)
	}
	if r.Scenario.Packets {
		fmt.Fprintf(&b, "%d packets were lost\n", r.Lost)
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(&b, "PROBLEM: %v\n", problem)
	}
	for i, v := range r.Violations {
		if i == maxShown {
			fmt.Fprintf(&b, "and %d more\n", len(r.Violations)-i)
			break
		}
		fmt.Fprintf(&b, "VIOLATION of %v\n", v)
	}
	return b.String()
}
