package command_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// What is not the one encoding of a command is refused, not repaired.
func TestDecodeIsStrict(t *testing.T) {
	good, err := command.Encode(full(t, fsmtest.EnableKey("a")))
	if err != nil {
		t.Fatal(err)
	}
	fields := func() map[int]any {
		var m map[int]any
		if err := cbor.Unmarshal(good, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	encode := func(v any) []byte {
		mode, err := cbor.CoreDetEncOptions().EncMode()
		if err != nil {
			t.Fatal(err)
		}
		data, err := mode.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if !bytes.Equal(encode(fields()), good) {
		t.Fatal("the test does not make the bytes it means to spoil")
	}
	with := func(key int, value any) []byte {
		m := fields()
		m[key] = value
		return encode(m)
	}
	without := func(key int) []byte {
		m := fields()
		delete(m, key)
		return encode(m)
	}

	f := func(name string, data []byte, want error) {
		t.Helper()
		if _, err := command.Decode(data); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	f("nothing", nil, command.ErrMalformed)
	f("a byte more", append(bytes.Clone(good), 0), command.ErrMalformed)
	f("a field nobody knows", with(7, 1), command.ErrMalformed)
	f("a field missing", without(5), command.ErrMalformed)
	f("null for bytes", with(6, nil), command.ErrMalformed)
	f("a text for bytes", with(6, "text"), command.ErrMalformed)
	f("a short hash", with(3, map[int]any{1: "p", 2: make([]byte, 31), 3: 1}), command.ErrMalformed)
	f("no proposal id", with(3, map[int]any{1: "", 2: make([]byte, 32), 3: 1}), command.ErrMalformed)
	f("a long proposal id", with(3, map[int]any{1: strings.Repeat("p", 129), 2: make([]byte, 32), 3: 1}), command.ErrMalformed)
	f("a first attempt before 1970", with(3, map[int]any{1: "p", 2: make([]byte, 32), 3: -1}), command.ErrMalformed)
	f("a time before 1970", with(5, -1), command.ErrMalformed)
	f("a float for a time", with(5, 1.5), command.ErrMalformed)
	f("a level below the type's", with(2, 0), command.ErrMalformed)
	f("a type nobody knows", with(1, 999), command.ErrUnknownType)
	f("a tag", append([]byte{0xc1}, good...), command.ErrMalformed)
	f("an indefinite length", append(append([]byte{0xbf}, good[1:]...), 0xff), command.ErrMalformed)
	f("a field twice", append(append([]byte{good[0] + 1}, good[1:]...), 0x01, 0x03), command.ErrMalformed)
	f("an integer in a longer form", bytes.Replace(good, []byte{0x01, 0x03, 0x02, 0x01}, []byte{0x01, 0x18, 0x03, 0x02, 0x01}, 1), command.ErrMalformed)
	f("text that is not UTF-8", bytes.Replace(good, []byte("192.0.2.1"), []byte("192.0.2.\xff"), 1), command.ErrMalformed)
	f("too large", with(6, make([]byte, command.MaxSize)), command.ErrMalformed)
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	cmd := full(t, fsmtest.EnableKey("a"))
	cmd.Body = make([]byte, command.MaxSize)
	if _, err := command.Encode(cmd); !errors.Is(err, command.ErrMalformed) {
		t.Fatalf("too large: %v", err)
	}
	cmd = full(t, fsmtest.EnableKey("a"))
	cmd.Caller.Source = strings.Repeat("1", 129)
	if _, err := command.Encode(cmd); !errors.Is(err, command.ErrMalformed) {
		t.Fatalf("a long source: %v", err)
	}
}

func TestNewTakesTheBodyOfItsType(t *testing.T) {
	if _, err := command.New(command.TypeEnableKey, fsmtest.DisableKey("a")); !errors.Is(err, command.ErrMalformed) {
		t.Fatalf("got %v", err)
	}
}

func TestDecodeBody(t *testing.T) {
	cmd := full(t, fsmtest.EnableKey("a"))
	body, err := command.DecodeBody[command.EnableKey](cmd)
	if err != nil || body != fsmtest.EnableKey("a") {
		t.Fatalf("got %+v, %v", body, err)
	}
	if _, err := command.DecodeBody[command.DisableKey](cmd); !errors.Is(err, command.ErrMalformed) {
		t.Fatalf("as another type: %v", err)
	}
	cmd.Body = append(cmd.Body, 0)
	if _, err := command.DecodeBody[command.EnableKey](cmd); !errors.Is(err, command.ErrMalformed) {
		t.Fatalf("with a byte more: %v", err)
	}
}

// The leader's stamp: the time always, the first attempt only once.
func TestStamp(t *testing.T) {
	cmd := full(t, fsmtest.EnableKey("a"))
	cmd.Time, cmd.Proposal.First = 0, 0
	stamp := func(c command.Command, now int64) command.Command {
		t.Helper()
		data, err := command.Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		data, err = command.Stamp(data, now)
		if err != nil {
			t.Fatal(err)
		}
		stamped, err := command.Decode(data)
		if err != nil {
			t.Fatal(err)
		}
		return stamped
	}
	first := stamp(cmd, 1000)
	if first.Time != 1000 || first.Proposal.First != 1000 {
		t.Fatalf("first attempt: %+v", first)
	}
	second := stamp(first, 5000)
	if second.Time != 5000 || second.Proposal.First != 1000 {
		t.Fatalf("second attempt: %+v", second)
	}
}

// Nothing that apply could not decode gets into the log by way of the leader.
func TestStampRefusesAPoisonPill(t *testing.T) {
	for _, body := range bodies() {
		cmd := full(t, body)
		cmd.Body = append(cmd.Body, 0)
		data, err := command.Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := command.Stamp(data, 1000); !errors.Is(err, command.ErrMalformed) {
			t.Fatalf("%v: got %v", body.Type(), err)
		}
	}
}

func TestTypes(t *testing.T) {
	names := map[string]bool{}
	for _, typ := range command.Types() {
		if typ.Level() != 1 || names[typ.String()] || strings.HasPrefix(typ.String(), "type-") {
			t.Errorf("%d: level %d, name %q", typ, typ.Level(), typ)
		}
		names[typ.String()] = true
	}
	unknown := command.Type(999)
	if unknown.Level() != 0 || unknown.String() != "type-999" || !unknown.Fenced() {
		t.Errorf("an unknown type: level %d, name %q, fenced %v", unknown.Level(), unknown, unknown.Fenced())
	}
}

func FuzzDecode(f *testing.F) {
	for _, body := range bodies() {
		cmd, err := command.New(body.Type(), body)
		if err != nil {
			f.Fatal(err)
		}
		cmd.Proposal.ID = "p"
		data, err := command.Encode(cmd)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := command.Decode(data)
		if err != nil {
			return
		}
		again, err := command.Encode(cmd)
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("accepted %x, which encodes as %x (%v)", data, again, err)
		}
		if stamped, err := command.Stamp(data, 1); err == nil {
			if _, err := command.Decode(stamped); err != nil {
				t.Fatalf("stamped what does not decode: %v", err)
			}
		}
	})
}
