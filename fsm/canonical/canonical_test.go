package canonical_test

import (
	"encoding/hex"
	"testing"

	"github.com/raftkms/raftkms/fsm/canonical"
)

type value struct {
	Number int64   `cbor:"1,keyasint"`
	Text   string  `cbor:"2,keyasint"`
	Bytes  []byte  `cbor:"3,keyasint"`
	List   []value `cbor:"4,keyasint"`
	Hash   [2]byte `cbor:"5,keyasint"`
}

// nil and empty are one value and have one encoding.
func TestOneEncoding(t *testing.T) {
	const want = "a501000260034004800542" + "0000"
	for _, v := range []value{{}, {Bytes: []byte{}, List: []value{}}} {
		if got := hex.EncodeToString(canonical.MustMarshal(v)); got != want {
			t.Errorf("%#v: got %s", v, got)
		}
	}
}

func TestOnlyTheOneEncoding(t *testing.T) {
	f := func(data string, accepted bool) {
		t.Helper()
		raw, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		var v value
		if err := canonical.Unmarshal(raw, &v); (err == nil) != accepted {
			t.Errorf("%s: %v", data, err)
		}
	}
	f("a5010002600340048005420000", true)
	f("a501000260034004800542000000", false)       // a byte more
	f("a50100026003400480054200", false)           // cut short
	f("a5010002600340048005"+"430000"+"00", false) // three bytes for two
	f("a5010002600340048005"+"4100", false)        // one byte for two
	f("a401000260034004"+"80", false)              // a field missing
	f("a601000260034004800542000006"+"00", false)  // a field nobody knows
	f("a6010002600340048005420000"+"0500", false)  // a field twice
	f("a5020001"+"000340048005420000", false)      // out of order, and a number for a text
	f("a5026001000340048005420000", false)         // out of order
	f("a501180002600340048005420000", false)       // a number in a longer form
	f("a501f90000"+"02600340048005420000", false)  // a float
	f("a501000260"+"03f604800"+"5420000", false)   // null for bytes
	f("a501000260034004"+"9fff05420000", false)    // an indefinite length
	f("bf010002600340048005420000ff", false)       // an indefinite length
	f("a501c10002600340048005420000", false)       // a tag
	f("a5010002"+"61ff"+"0340048005420000", false) // text that is not UTF-8
	f("", false)
}
