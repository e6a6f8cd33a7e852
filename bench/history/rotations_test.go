package history_test

import (
	"testing"

	"github.com/raftkms/raftkms/bench/history"
)

// Every acknowledged rotation has made one version, and one of unknown outcome
// one or none; what was refused or not done has made none.
func TestRotationsAreCounted(t *testing.T) {
	story := func() *story {
		return made().do(20, 30, history.Rotate).do(40, 50, history.Rotate).ended(60, 70, history.Rotate, history.Unknown).
			ended(80, 90, history.Rotate, history.NotDone).do(100, 110, history.Disable).
			refuse(120, 130, history.Rotate, history.CodeKeyDisabled).do(140, 150, history.Enable)
	}
	f := func(versions int, want ...error) {
		t.Helper()
		k := seen(history.Enabled)
		k.Versions = versions
		breaks(t, story().list("n1", k), want...)
	}
	f(0) // nobody has looked
	f(2, history.ErrLost)
	f(3)
	f(4)
	f(5, history.ErrTwice)

	// A key that nobody has rotated has the version that it was made with.
	k := seen(history.Enabled)
	k.Versions = 2
	breaks(t, made().list("n1", k), history.ErrTwice)

	// One node that has lost what others have.
	short, whole := seen(history.Enabled), seen(history.Enabled)
	short.Versions, whole.Versions = 1, 2
	breaks(t, made().do(20, 30, history.Rotate).list("n1", whole).list("n2", short), history.ErrLost)
}

// A rotation tells of the key's state as a use does, and leaves it as it is.
func TestRotationsTellTheState(t *testing.T) {
	breaks(t, made().do(20, 30, history.Rotate).see(40, 50, history.Enabled).do(60, 70, history.Disable).ended(80, 90, history.Rotate, history.Unknown).
		see(92, 94, history.Disabled))
	breaks(t, made().do(20, 30, history.Disable).do(40, 50, history.Rotate), history.ErrNotLinearizable)
	breaks(t, made().refuse(20, 30, history.Rotate, history.CodeKeyDisabled), history.ErrNotLinearizable)
	breaks(t, made().refuse(20, 30, history.Rotate, "KMS.0308"), history.ErrNotLinearizable)
	breaks(t, made().do(20, 30, history.Disable).ended(40, 50, history.Rotate, history.Unknown).see(60, 70, history.Enabled), history.ErrNotLinearizable)
}
