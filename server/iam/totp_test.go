package iam_test

import (
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/iam"
)

// The vectors of RFC 4226 appendix D (by counter) and RFC 6238 appendix B (by
// time, of whose eight digits the last six are ours).
func TestOneTimeCodes(t *testing.T) {
	secret := []byte("12345678901234567890")
	f := func(seconds int64, want string) {
		t.Helper()
		if got := iam.TOTPCode(secret, seconds*1000); got != want {
			t.Errorf("at %d: %s, want %s", seconds, got, want)
		}
		if step, ok := iam.TOTPStep(secret, want, seconds*1000, 0); seconds >= 30 && (!ok || step != seconds/30) {
			t.Errorf("at %d: %s is of step %d, %v", seconds, want, step, ok)
		}
	}
	for counter, code := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		f(int64(counter)*30, code)
	}
	f(59, "287082")          // 94287082
	f(1111111109, "081804")  // 07081804
	f(1111111111, "050471")  // 14050471
	f(1234567890, "005924")  // 89005924
	f(2000000000, "279037")  // 69279037
	f(20000000000, "353130") // 65353130
}

// A code is good a step before and after its own, and not after it was taken.
func TestWhenACodeIsGood(t *testing.T) {
	secret, now := iam.NewTOTPSecret(), time.Now().UnixMilli()
	step := now / 30_000
	f := func(name, code string, at, last int64, want bool) {
		t.Helper()
		if got, ok := iam.TOTPStep(secret, code, at, last); ok != want || ok && got != step {
			t.Errorf("%s: step %d, %v", name, got-step, ok)
		}
	}
	code := iam.TOTPCode(secret, now)
	f("now", code, now, 0, true)
	f("a step late", code, now+30_000, 0, true)
	f("a step early", code, now-30_000, 0, true)
	f("two late", code, now+60_000, 0, false)
	f("two early", code, now-60_000, 0, false)
	f("taken", code, now, step, false)
	f("a later one taken", code, now, step+1, false)
	f("after the one before", code, now, step-1, true)
	for _, bad := range []string{"", "12345", "1234567", code + "0", " " + code[1:], strings.Repeat("9", 100_000), "abcdef", "\xff\xff\xff\xff\xff\xff"} {
		f(bad[:min(len(bad), 10)], bad, now, 0, false)
	}
	if _, ok := iam.TOTPStep(nil, code, now, 0); ok {
		t.Error("no secret takes a code")
	}
	if got := iam.TOTPURI([]byte("12345678901234567890"), "account", "ada"); got != "otpauth://totp/raftkms:account/ada?issuer=raftkms&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" {
		t.Error(got)
	}
}

// What stands where a code belongs is a code of this secret and this time, or
// none.
func FuzzCode(f *testing.F) {
	secret := []byte("12345678901234567890")
	f.Add("287082", int64(59_000), int64(0))
	f.Add("", int64(0), int64(-1))
	f.Add("000000", int64(1<<62), int64(1<<62))
	f.Fuzz(func(t *testing.T, code string, now, last int64) {
		step, ok := iam.TOTPStep(secret, code, now, last)
		if !ok {
			return
		}
		if step <= last || step < 1 || step < now/30_000-1 || step > now/30_000+1 || iam.TOTPCode(secret, step*30_000) != code {
			t.Errorf("%q at %d after %d is of step %d", code, now, last, step)
		}
	})
}
