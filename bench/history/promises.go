package history

import (
	"errors"
	"fmt"
	"strings"
)

// The promises, by what it means to break them. A [Violation] wraps one.
var (
	// ErrLost: an acknowledged write is not there at the end.
	ErrLost = errors.New("P1: an acknowledged write was lost")
	// ErrNotLinearizable: no order of the calls under one name explains all
	// answers.
	ErrNotLinearizable = errors.New("P2: the answers are not linearizable")
	// ErrTwice: a write took effect more than once.
	ErrTwice = errors.New("P3: a write took effect more than once")
	// ErrDoneAfterAll: what was said not to be done was seen.
	ErrDoneAfterAll = errors.New("P4: what was reported as not done was seen")
	// ErrUsedWhileDisabled: a key was used after its disabling was acknowledged.
	ErrUsedWhileDisabled = errors.New("P5: a key was used after its disabling was acknowledged")
	// ErrUsedAfterRevocation: a key was used by a grant whose end was
	// acknowledged before, or by none at all.
	ErrUsedAfterRevocation = errors.New("P5: a key was used by a grant after its revocation was acknowledged")
	// ErrUnreadable: what was encrypted could not be decrypted, or came out as
	// something else.
	ErrUnreadable = errors.New("P6: what was encrypted could not be decrypted")
	// ErrDiverged: two nodes held different states at one index.
	ErrDiverged = errors.New("P7: the nodes' states differ at the same index")
	// ErrWentBack: a term, a commit index or an applied index went back.
	ErrWentBack = errors.New("P8: a term or an index went back")
	// ErrTwoLeaders: two nodes led in one term.
	ErrTwoLeaders = errors.New("P8: a term had two leaders")
	// ErrLeaked: a secret was found in a file, a log or the metrics of a node, or
	// in a packet.
	ErrLeaked = errors.New("P9: a secret was found where none may be")
	// ErrNotTraced: a call that was answered has not exactly one trace, on the
	// node that answered it, from before its answer.
	ErrNotTraced = errors.New("P10: a call does not have exactly one trace before its answer")
	// ErrNotServing: the cluster did not serve again after a fault was healed.
	ErrNotServing = errors.New("P11: service did not return after a fault was healed")
	// ErrHung: a call to a node whose HSM was gone or slow was never answered.
	ErrHung = errors.New("P12: a call to a node without its HSM was not answered")
	// ErrInstalledAgain: a node that was behind got more than one snapshot.
	ErrInstalledAgain = errors.New("P13: a node that was behind got more than one snapshot")
	// ErrUndecided: the search for an order took too long. It is no proof of
	// anything, and a failure all the same: such a run has not been judged.
	ErrUndecided = errors.New("the answers could not be judged in time")
)

// Violation is one broken promise.
type Violation struct {
	Promise error   // one of the errors of this package
	Name    string  // of the key; empty where it is none's
	What    string  // a sentence for people
	Calls   []*Call // that show it, as far as there are such
}

// Error says what was broken, and how that is known.
func (v *Violation) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", v.Promise, v.What)
	for _, c := range v.Calls {
		b.WriteString("\n\t" + c.String())
	}
	return b.String()
}

// Unwrap returns the promise.
func (v *Violation) Unwrap() error { return v.Promise }

// Checker finds where a history breaks one promise.
type Checker struct {
	Promise error
	Find    func(*History) []*Violation
}

// Checkers are all of them.
func Checkers() []Checker {
	return []Checker{
		{ErrLost, lost},
		{ErrNotLinearizable, notLinearizable},
		{ErrTooOld, tooOld},
		{ErrTwice, twice},
		{ErrDoneAfterAll, doneAfterAll},
		{ErrUsedWhileDisabled, usedWhileDisabled},
		{ErrUsedAfterRevocation, usedAfterRevocation},
		{ErrUnreadable, unreadable},
		{ErrDiverged, diverged},
		{ErrWentBack, wentBack},
		{ErrTwoLeaders, twoLeaders},
		{ErrLeaked, leaked},
		{ErrNotTraced, notTraced},
		{ErrUsedWhileRevoked, usedWhileRevoked},
		{ErrNotServing, notServing},
		{ErrHung, hung},
		{ErrInstalledAgain, installedAgain},
		{ErrTooEarly, tooEarly},
		{ErrRefusedForTime, refusedAtTheRightTime},
	}
}

// Check has every checker judge the history.
func Check(h *History) []*Violation {
	var all []*Violation
	for _, c := range Checkers() {
		all = append(all, c.Find(h)...)
	}
	return all
}
