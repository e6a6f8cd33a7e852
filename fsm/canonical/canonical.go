// Package canonical is the one way in which the replicated state turns values
// into bytes and back: CBOR, core deterministic (RFC 8949 §4.2.1).
//
// It promises that a value has exactly one encoding and that nothing else is
// accepted: [Unmarshal] refuses unknown and repeated fields, indefinite
// lengths, tags, floats in another width, integers in a longer form, null for
// an empty string of bytes, and trailing bytes. So equal states have equal
// hashes on every node, and a node never silently drops a field that a newer
// one wrote. It imports nothing of ours.
package canonical

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// ErrNotCanonical is returned for bytes that decode to a value but are not its encoding.
var ErrNotCanonical = errors.New("not the canonical encoding")

// The modes hold no state and are never changed.
var (
	encoding = mustBuild(encodingOptions().EncMode())
	decoding = mustBuild(decodingOptions().DecMode())
)

func encodingOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.IndefLength = cbor.IndefLengthForbidden
	o.TagsMd = cbor.TagsForbidden
	o.NilContainers = cbor.NilContainerAsEmpty // nil and empty are one value, so they have one encoding
	return o
}

func decodingOptions() cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   8,
		MaxArrayElements:  4096,
		MaxMapPairs:       64,
	}
}

// mustBuild ends the process on options that contradict one another, which the
// first test of any package would show.
func mustBuild[M any](mode M, err error) M {
	if err != nil {
		panic(fmt.Sprintf("canonical: building a CBOR mode: %v", err))
	}
	return mode
}

// MustMarshal returns the one encoding of v: a struct of integers, booleans,
// strings, bytes, and slices and structs of those. Such a value always has
// one; any other is a mistake in the program and ends the process.
func MustMarshal(v any) []byte {
	data, err := encoding.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("canonical: encoding %T: %v", v, err))
	}
	return data
}

// Unmarshal decodes data, which must be the one encoding of a value, into v.
// Callers bound the size of data; it keeps no reference to it.
func Unmarshal(data []byte, v any) error {
	if err := decoding.Unmarshal(data, v); err != nil {
		return err
	}
	if again, err := encoding.Marshal(v); err != nil || !bytes.Equal(again, data) {
		return ErrNotCanonical
	}
	return nil
}
