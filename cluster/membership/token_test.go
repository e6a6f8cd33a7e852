package membership_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/cluster/membership"
)

func token() membership.Token {
	t := membership.Token{ClusterID: "blue", Addresses: []string{"10.0.0.1:8441", "kms.example:8441"}}
	for i := range t.CAPin {
		t.CAPin[i], t.Secret[i] = byte(i), byte(0xa0+i)
	}
	return t
}

// golden is token() as text. The form is stored and handed around: it does not
// change without another prefix.
const golden = "raftkms-join-1.BGJsdWUAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eH6ChoqOkpaanqKmqq6ytrq-wsbKztLW2t7i5uru8vb6_Ag0xMC4wLjAuMTo4NDQxEGttcy5leGFtcGxlOjg0NDGpv_RN"

func TestTokenText(t *testing.T) {
	text, err := token().Text()
	if err != nil {
		t.Fatal(err)
	}
	if text != golden {
		t.Fatalf("got  %s\nwant %s", text, golden)
	}
	parsed, err := membership.ParseToken(" " + text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(parsed, token()) {
		t.Fatal("parsed into another token")
	}
}

func TestTokenRefused(t *testing.T) {
	f := func(text string) {
		t.Helper()
		_, err := membership.ParseToken(text)
		if !errors.Is(err, membership.ErrToken) {
			t.Errorf("%.30q...: %v", text, err)
		}
	}
	f("")
	f("raftkms-join-1.")
	f(golden[:len(golden)-1])
	f(golden + "A")
	f(golden + "=")
	f("raftkms-join-2." + golden[15:])
	f(strings.Replace(golden, "AAQID", "AAQIE", 1))
	f(golden[:40] + "\n" + golden[40:])
	f(strings.Repeat("A", 5000))
	g := func(change func(*membership.Token)) {
		t.Helper()
		bad := token()
		change(&bad)
		if _, err := bad.Text(); !errors.Is(err, membership.ErrToken) {
			t.Errorf("a token was made: %v", err)
		}
	}
	g(func(t *membership.Token) { t.ClusterID = "Blue" })
	g(func(t *membership.Token) { t.Addresses = nil })
	g(func(t *membership.Token) { t.Addresses = make([]string, 17) })
	g(func(t *membership.Token) { t.Addresses = []string{"no port"} })
	g(func(t *membership.Token) { t.Addresses = []string{"host:0"} })
	g(func(t *membership.Token) { t.Addresses = []string{strings.Repeat("a", 300) + ":1"} })
}

// TestTokenNotPrinted: no way of printing shows the secret, nor the pin.
func TestTokenNotPrinted(t *testing.T) {
	tok := token()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, what := range []any{tok, &tok, []membership.Token{tok}, struct{ T membership.Token }{tok}} {
			printed := fmt.Sprintf(verb, what)
			for _, secret := range []string{"160", "0xa0", "a0a1", "oKGi", "\xa0\xa1"} {
				if strings.Contains(strings.ToLower(printed), strings.ToLower(secret)) {
					t.Errorf("%s of %T prints %q", verb, what, printed)
				}
			}
		}
	}
	if _, err := json.Marshal(tok); err == nil {
		t.Error("written as JSON")
	}
	c := membership.Config{ListenAddress: "a:1", Key: []byte("swordfish")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		printed := fmt.Sprintf(verb, c)
		if strings.Contains(printed, "swordfish") || strings.Contains(printed, "73776f") || strings.Contains(printed, "0x73") || strings.Contains(printed, "115") {
			t.Errorf("%s prints %q", verb, printed)
		}
	}
}

// FuzzToken: whatever is accepted is written back as it was.
func FuzzToken(f *testing.F) {
	f.Add(golden)
	f.Add("raftkms-join-1.AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := membership.ParseToken(text)
		if err != nil {
			if !errors.Is(err, membership.ErrToken) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again, err := tok.Text()
		if err != nil || again != strings.TrimSpace(text) {
			t.Fatal(cmp.Diff(again, strings.TrimSpace(text)))
		}
	})
}
