package fsm_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/canonical"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/state"
)

// Results are stored and sent: their bytes are what they were.
func TestResultGolden(t *testing.T) {
	f := func(r fsm.Result, golden string) {
		t.Helper()
		if got := hex.EncodeToString(r.Encode()); got != golden {
			t.Errorf("%+v\n-got  %s\n+want %s", r, got, golden)
		}
		data, err := hex.DecodeString(golden)
		if err != nil {
			t.Fatal(err)
		}
		decoded, err := fsm.DecodeResult(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, decoded); diff != "" {
			t.Errorf("decoded differently (-want +got):\n%s", diff)
		}
	}
	f(fsm.Result{Index: 7}, "a40107026003600440")
	f(fsm.Result{Index: 300, Body: []byte{1, 2}}, "a40119012c026003600442"+"0102")
	f(fsm.Result{Index: 8, Refusal: &fsm.Refusal{Code: fsm.CodeNotFound, Message: "no"}}, "a4010802696e6f742d666f756e6403626e6f0440")
	f(fsm.Result{Index: 9, Body: canonical.MustMarshal(fsm.KeyResult{KeyID: "k", DomainID: "d", Name: "n", State: state.Disabled, Created: 5})},
		"a4010902600360044ea501616b02616403616e04030505")
	f(fsm.Result{Index: 10, Body: canonical.MustMarshal(fsm.NodeResult{NodeID: "n", RootsApproved: 1})}, "a401"+"0a0260036004"+"46a201616e0201")
	f(fsm.Result{Index: 11, Body: canonical.MustMarshal(fsm.TokenResult{Expires: 5})}, "a401"+"0b0260036004"+"43a10105")
}

func TestDecodeResultIsStrict(t *testing.T) {
	f := func(data string) {
		t.Helper()
		raw, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := fsm.DecodeResult(raw); err == nil {
			t.Errorf("%s accepted as %+v", data, r)
		}
	}
	f("")
	f("a4010702600360044000")                // a byte more
	f("a3010702600360")                      // cut short
	f("a40107026003600441")                  // cut short in the body
	f("a401070260036178044" + "0")           // a message without a code
	f("a4010702617803600441" + "00")         // done and refused
	f("a501070260036004400501")              // a field more
	f("bf01070260036004" + "40ff")           // an indefinite length
	f("a401180702" + "6003600440")           // a number in a longer form
	f("a4010702600360" + "04f6")             // null
	f("a40107026003600160")                  // a field twice
	f("a4010702" + "61ff" + "0360" + "0440") // a code that is not UTF-8
}

// The typed bodies come out of real results, and a refusal comes out as the error.
func TestResultBodies(t *testing.T) {
	m := fsmtest.Bootstrapped(t)
	key, err := m.Must(fsmtest.CreateKey("a")).Key()
	want := fsm.KeyResult{KeyID: fsmtest.KeyID("a"), DomainID: fsmtest.DomainID, Name: "a", State: state.Enabled, Created: fsmtest.Start}
	if err != nil || key != want {
		t.Fatalf("got %+v, %v", key, err)
	}
	if _, err := m.Must(fsmtest.DisableKey("a")).Node(); err == nil {
		t.Fatal("a key was taken for a node")
	}
	_, err = m.Do(fsmtest.DisableKey("a")).Key()
	var refusal *fsm.Refusal
	if !errors.As(err, &refusal) || refusal.Code != fsm.CodeNotEnabled || refusal.Error() != "not-enabled: the key is disabled" {
		t.Fatalf("got %v", err)
	}
}

func FuzzDecodeResult(f *testing.F) {
	f.Add(fsm.Result{Index: 7, Body: []byte{1}}.Encode())
	f.Add(fsm.Result{Index: 8, Refusal: &fsm.Refusal{Code: fsm.CodeNotFound, Message: "no"}}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := fsm.DecodeResult(data); err == nil && string(r.Encode()) != string(data) {
			t.Fatalf("accepted %x, which encodes as %x", data, r.Encode())
		}
	})
}
