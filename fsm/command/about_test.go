package command_test

import (
	"reflect"
	"testing"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// A user's command that names a key says so, or apply would authorise it as
// one about no key.
func TestBodiesSayWhichKeyTheyAreAbout(t *testing.T) {
	for _, body := range bodies() {
		field := reflect.ValueOf(body).FieldByName("KeyID")
		if !field.IsValid() || fsmtest.CallerFor(body.Type()).Kind != command.CallerUser {
			continue
		}
		switch b := body.(type) {
		case command.AboutKey:
			if b.AboutKey() != field.String() {
				t.Errorf("%v is about key %q and says %q", body.Type(), field, b.AboutKey())
			}
		case command.AboutNewKey:
			if key := b.AboutNewKey(); key.ID != "" || key.ProjectID == "" || key.Spec == "" {
				t.Errorf("%v: %+v", body.Type(), key)
			}
		default:
			t.Errorf("%v names a key and does not say so in about.go", body.Type())
		}
	}
}
