package iam

import (
	"context"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/state"
)

// authorizations are the three layouts, for a scope where they have one.
func authorizations(access, region string, mac [32]byte) map[string]string {
	tail := ", SignedHeaders=x-sdk-date, Signature=" + hex.EncodeToString(mac[:])
	return map[string]string{
		"A": "SDK-HMAC-SHA256 Access=" + access + tail,
		"B": "SDK-HMAC-SHA256 Credential=" + access + "/20261122/" + region + "//sdk_request" + tail,
		"C": "V11-HMAC-SHA256 Credential=" + access + "/20261122/" + region + "/kms" + tail,
	}
}

func parsed(t testing.TB, layout, region string, mac [32]byte) *signature {
	t.Helper()
	sig, reason := parseAuthorization([]byte(authorizations("AK", region, mac)[layout]))
	if reason != "" {
		t.Fatal(reason)
	}
	return &sig
}

// A signature that does not match costs as many MACs whether there is such an
// access key, whether its secret is open already, and whether its holder signs
// by that scope; so nothing of it can be told from the work.
func TestANoCostsTheSame(t *testing.T) {
	secret, text := []byte("0123456789abcdefghijABCDEFGHIJ0123456789"), []byte("the text that was signed")
	opened := 0
	open := func(context.Context, *state.AccessKey) ([]byte, error) {
		opened++
		return append([]byte(nil), secret...), nil
	}
	for layout, want := range map[string]macs{"A": 1, "B": 6, "C": 4} {
		secrets := NewSecrets(open)
		defer closeSecrets(t, secrets)
		v, known := NewVerifier(secrets, time.Now), &state.AccessKey{ID: "AK"}
		f := func(name string, accessKey *state.AccessKey, region string, mac [32]byte, opens int) {
			t.Helper()
			var work macs
			before := opened
			matches, err := v.matches(t.Context(), accessKey, parsed(t, layout, region, mac), text, &work)
			if err != nil || matches {
				t.Errorf("%s, %s: %v, %v", layout, name, matches, err)
			}
			if work != want || opened-before != opens {
				t.Errorf("%s, %s: %d MACs and %d secrets opened, want %d and %d", layout, name, work, opened-before, want, opens)
			}
		}
		wrong := [32]byte{1}
		f("unknown", nil, "r", wrong, 0)
		f("known", known, "r", wrong, 1)
		f("known, and open", known, "r", wrong, 0)

		// What the holder signs with is kept, and takes one MAC from then on.
		var space [maxSigningKey]byte
		good := hmacSHA256(parsed(t, layout, "r", wrong).signingKey(&space, secret, new(macs)), text)
		for _, most := range []macs{want, 1} {
			var work macs
			if matches, err := v.matches(t.Context(), known, parsed(t, layout, "r", good), text, &work); !matches || err != nil || work > most {
				t.Errorf("%s: %v, %v after %d MACs", layout, matches, err, work)
			}
		}
		f("known, by the holder's scope", known, "r", wrong, 0)
		f("known, by another scope", known, "s", wrong, 0)
		f("unknown, by the holder's scope", nil, "r", wrong, 0)

		// What stands for a secret that there is not proves nothing.
		f("nothing for a kept key", known, "s", hmacSHA256(make([]byte, 32), text), 0)
		f("nothing for a kept key of nobody", nil, "s", hmacSHA256(make([]byte, 32), text), 0)
		nobodys := parsed(t, layout, "s", wrong).signingKey(&space, make([]byte, maxDummy), new(macs))
		f("the secret of nobody", nil, "s", hmacSHA256(nobodys, text), 0)
	}
}

// directoryOf knows one access key.
type directoryOf struct{ p *state.Principal }

func (d directoryOf) PrincipalByKey(id, _ string) *state.Principal {
	if id == d.p.AccessKey.ID {
		return d.p
	}
	return nil
}

// BenchmarkNo is a signature that does not match: by an access key that is
// there, and by one that is not. The two should not differ.
func BenchmarkNo(b *testing.B) {
	known := directoryOf{&state.Principal{AccessKey: &state.AccessKey{ID: "KNOWNKEY0000000000001", Enabled: true}}}
	secrets := NewSecrets(func(context.Context, *state.AccessKey) ([]byte, error) {
		return []byte("0123456789abcdefghijABCDEFGHIJ0123456789"), nil
	})
	defer secrets.Close()
	at := time.Date(2026, 11, 22, 5, 34, 0, 0, time.UTC)
	v := NewVerifier(secrets, func() time.Time { return at })
	for _, layout := range []string{"A", "B", "C"} {
		for _, who := range []string{"KNOWNKEY0000000000001", "NOBODYSKEY00000000001"} {
			b.Run(fmt.Sprintf("%s/%s", layout, who[:5]), func(b *testing.B) {
				r := &Request{Method: []byte("POST"), Path: []byte("/v1.0/p/kms/create-datakey"), Body: []byte("{}"), Headers: []Header{
					{Name: []byte("Authorization"), Value: []byte(authorizations(who, "r", [32]byte{1})[layout])}, {Name: []byte("X-Sdk-Date"), Value: []byte("20261122T053400Z")},
				}}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := v.Verify(b.Context(), known, r); !IsRefusal(err) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
