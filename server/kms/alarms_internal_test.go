package kms

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// A burst is told of once, however long it lasts, and another one again; what
// trickles in is none.
func TestBurstsAreToldOfOnce(t *testing.T) {
	a := newAlarms(5)
	now := time.Unix(1_700_000_000, 0)
	f := func(want int, n int, step time.Duration) {
		t.Helper()
		alarms := 0
		for range n {
			now = now.Add(step)
			in, alarm := a.refused(SubjectUser, "u", "KMS.0306", "listKeys", now)
			if alarm {
				alarms++
				if in.count != 5 || in.codes["KMS.0306"] != 5 || in.operations["listKeys"] != 5 {
					t.Errorf("told of as %+v", in)
				}
			}
		}
		if alarms != want {
			t.Errorf("%d refusals every %s: %d alarms, want %d", n, step, alarms, want)
		}
	}
	f(0, 100, 20*time.Second) // three a minute
	now = now.Add(time.Hour)
	f(0, 4, time.Second)
	f(1, 1000, time.Second) // it lasts
	now = now.Add(burstWindow)
	f(0, 1, time.Second) // a window with one
	now = now.Add(burstWindow)
	f(1, 10, time.Second)
	if _, alarm := a.refused(SubjectAddress, "u", "", "", now); alarm {
		t.Error("an address is taken for a user")
	}
	// A clock that goes back begins a window, and stops nothing.
	now = now.Add(-24 * time.Hour)
	f(1, 10, time.Second)
	never := newAlarms(-1)
	for range 1000 {
		if _, alarm := never.refused(SubjectUser, "u", "", "", now); alarm {
			t.Fatal("told of although nobody wants to know")
		}
	}
}

// What could not be written is told of again.
func TestAnAlarmThatWasNotWritten(t *testing.T) {
	a := newAlarms(2)
	now := time.Unix(1_700_000_000, 0)
	refuse := func() bool {
		_, alarm := a.refused(SubjectKey, "k", "", "", now)
		return alarm
	}
	if refuse() || !refuse() {
		t.Fatal("two refusals are not told of")
	}
	a.told(SubjectKey, "k", errors.New("full"))
	if !refuse() {
		t.Error("not told of again")
	}
	a.told(SubjectKey, "k", nil)
	if refuse() || a.raised[SubjectKey] != 1 {
		t.Errorf("%d counted", a.raised[SubjectKey])
	}
}

// However many there are, and whatever they do, memory is bounded.
func TestAlarmsAreBounded(t *testing.T) {
	a := newAlarms(0)
	now := time.Unix(1_700_000_000, 0)
	for i := range 3 * maxBursts {
		a.refused(SubjectAddress, fmt.Sprint(i), "", "", now)
	}
	if n := a.watched[SubjectAddress].Len(); n != maxBursts {
		t.Errorf("%d addresses are watched", n)
	}
	for i := range 100 {
		a.refused(SubjectUser, "u", fmt.Sprint("code ", i), fmt.Sprint("operation ", i), now)
	}
	if b, _ := a.watched[SubjectUser].Peek("u"); len(b.codes) != maxTold || len(b.operations) != maxTold || b.count != 100 {
		t.Errorf("%+v", b)
	}
}
