package history_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/bench/history"
)

const maxAge = 5 * time.Second

// allowing is the story of a cluster in the mode available, with a disabling that
// was acknowledged at 30.
func allowing() *story {
	s := made().do(20, 30, history.Disable)
	s.MaxAge = maxAge
	return s
}

func aged(age int) history.Call {
	return history.Call{Op: history.MakeKey, Node: "n2", Age: time.Duration(age) * time.Millisecond}
}

// A use from a state that says how old it is counts from when that was new; whatever
// else may be told late is told late by no more.
func TestAnOldStateMayAnswer(t *testing.T) {
	breaks(t, allowing().call(3000, 3010, aged(2980)))
	breaks(t, allowing().call(3000, 3010, aged(2970)))
	breaks(t, allowing().call(5020, 5030, aged(5000)))
	breaks(t, allowing().call(3000, 3010, aged(2980)).refuse(3020, 3030, history.MakeKey, history.CodeKeyDisabled))
	breaks(t, allowing().refuse(3000, 3010, history.MakeKey, history.CodeKeyDisabled).call(3020, 3030, aged(3000)))

	// And what breaks a promise: the state is older than was said, or nothing was said.
	both := []error{history.ErrUsedWhileDisabled, history.ErrNotLinearizable}
	breaks(t, allowing().call(3000, 3010, aged(0)), both...)
	breaks(t, allowing().call(3000, 3010, aged(2960)), both...)
	breaks(t, allowing().call(5040, 5050, aged(5000)), both...)
	// It is older than may be; or what is answered may not be old.
	breaks(t, allowing().call(5020, 5030, aged(5001)), history.ErrTooOld)
	lease := allowing().call(3000, 3010, aged(2980))
	lease.MaxAge = 0
	breaks(t, lease, history.ErrTooOld)
	looked := history.Call{Op: history.Describe, State: history.Enabled, Age: 2980 * time.Millisecond}
	breaks(t, allowing().call(3000, 3010, looked), history.ErrTooOld, history.ErrNotLinearizable)
	// A no is of the newest state, whatever it says.
	no := aged(2980)
	no.Outcome, no.Code = history.Refused, history.CodeKeyDisabled
	breaks(t, allowing().do(40, 50, history.Enable).call(3000, 3010, no), history.ErrNotLinearizable)
	// A state is the older of two, but no mixture: it was never enabled in its time.
	breaks(t, allowing().do(4000, 4010, history.Enable).call(3990, 3995, aged(3000)), both...)
	// Writes and looks are what they always were.
	breaks(t, allowing().see(40, 50, history.Enabled), history.ErrNotLinearizable)
	breaks(t, allowing().list("n1", seen(history.Enabled)), history.ErrLost, history.ErrNotLinearizable)
}

func TestAnOldStateMayAnswerWhoHadAGrant(t *testing.T) {
	use := func(age time.Duration) *story {
		s := new(story).leave(20, 30, history.Grant, history.OK, "").leave(60, 70, history.Revoke, history.OK, "").leave(3000, 3010, history.MakeKey, history.OK, "")
		s.MaxAge, s.Granted[2].Age = maxAge, age
		return s
	}
	breaks(t, use(2935*time.Millisecond))
	breaks(t, use(2900*time.Millisecond), history.ErrUsedAfterRevocation, history.ErrNotLinearizable)
	breaks(t, use(maxAge+1), history.ErrTooOld)
}

func TestAnOldStateMayAnswerWhoHadARight(t *testing.T) {
	use := func(age time.Duration) *story {
		r := new(rights).revoke(20, 30, history.OK).use(40, 50, "n1", history.Refused).use(3000, 3010, "n2", history.OK)
		r.MaxAge, r.Entries[2].Age = maxAge, age
		return &story{r.History}
	}
	breaks(t, use(2975*time.Millisecond))
	breaks(t, use(2960*time.Millisecond), history.ErrUsedWhileRevoked)
	breaks(t, use(maxAge+1), history.ErrTooOld)
}

func TestAgesAreCountedAndKept(t *testing.T) {
	s := allowing().call(3000, 3010, aged(2980)).call(3000, 3010, aged(10))
	s.Calls[3].Node = "" // our client, which does not tell
	s.Entries = []history.Entry{{Node: "n1", Outcome: history.OK, Age: 3 * time.Second}}
	if count, oldest := s.Aged(); count != 2 || oldest != 3*time.Second {
		t.Errorf("%d uses, from states of up to %s", count, oldest)
	}
	var file bytes.Buffer
	if err := s.Write(&file); err != nil {
		t.Fatal(err)
	}
	loaded, err := history.Read(&file)
	if diff := cmp.Diff(&s.History, loaded); err != nil || diff != "" {
		t.Errorf("%v, -written+read\n%s", err, diff)
	}
	r := history.NewRecorder()
	if r.Allow(maxAge); r.History().MaxAge != maxAge {
		t.Error("a recorder forgets how old a state may be")
	}
}

// As many old answers as one name has, beside changes all the time, are judged before
// the search for their order is given up.
func TestManyOldAnswersAreJudged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	s := made()
	s.MaxAge = maxAge
	enabled := []int{10} // when it became so
	for at := 20; at < 20_000; at += 400 {
		s.do(at, at+10, history.Disable).do(at+200, at+210, history.Enable)
		enabled = append(enabled, at+210)
		for range 3 {
			was := enabled[max(0, len(enabled)-1-random.IntN(10))]
			if begin := at + 220 + random.IntN(100); begin-was > 0 && begin-was <= 4900 {
				s.call(begin, begin+10, aged(begin-was))
			}
		}
	}
	if count, _ := s.Aged(); count < 100 {
		t.Fatalf("only %d old answers", count)
	}
	breaks(t, s)
	breaks(t, s.call(20_100, 20_110, history.Call{Op: history.Describe, State: history.Disabled}), history.ErrNotLinearizable)
}
