package client_test

import (
	"bytes"
	"testing"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
)

// What a client hashes is what the service signs of the message itself.
func TestSM2SigningHash(t *testing.T) {
	_, public, err := keypair.Generate(hsm.SpecSM2)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("long"), 100_000)} {
		sum, err := client.SM2SigningHash(public)
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(message)
		want, err := keypair.Digest(hsm.SpecSM2, public, hsm.SchemeSM2, message)
		if err != nil {
			t.Fatal(err)
		}
		if got := sum.Sum(nil); !bytes.Equal(got, want) {
			t.Errorf("of %d bytes: %x, want %x", len(message), got, want)
		}
	}
	_, other, err := keypair.Generate(hsm.SpecECP256)
	if err != nil {
		t.Fatal(err)
	}
	for name, public := range map[string][]byte{"another algorithm's": other, "none": []byte("no key")} {
		if _, err := client.SM2SigningHash(public); err == nil {
			t.Errorf("%s public key is taken for one of SM2", name)
		}
	}
}
