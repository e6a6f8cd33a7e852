package iam_test

import (
	"testing"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/iam"
)

// Whatever a request says of itself, nobody is taken for somebody by it.
func FuzzIdentify(f *testing.F) {
	m := fsmtest.Bootstrapped(f)
	m.Must(fsmtest.AddCA("ca"))
	issuer := fsmtest.AddIssuer("issuer")
	issuer.KeySet = []byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`)
	m.Must(issuer)
	door := iam.NewDoor(newFoundedVerifier(f), nil)
	f.Add("Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0In0.")
	f.Add("Authorization", "SDK-HMAC-SHA256 Access="+fsmtest.AccessKeyID+", SignedHeaders=x-sdk-date, Signature=00")
	f.Add("X-Auth-Token", "AQAAAAE")
	f.Fuzz(func(t *testing.T, name, value string) {
		r := &iam.Request{Method: []byte("POST"), Path: []byte("/"), Headers: []iam.Header{
			{Name: []byte(name), Value: []byte(value)}, {Name: []byte("X-Sdk-Date"), Value: []byte("20261122T053400Z")},
		}}
		if p, err := door.Identify(t.Context(), m.State(), r); !iam.IsRefusal(err) || p != (iam.Principal{}) {
			t.Errorf("%s: %q is taken for %+v, %v", name, value, p, err)
		}
	})
}
