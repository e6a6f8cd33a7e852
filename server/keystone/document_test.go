package keystone

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDocument(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := parseDocument([]byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if (want == "") != (err == nil) || !strings.Contains(got, want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	one := func(statement string) string { return `{"Version":"1.1","Statement":[` + statement + `]}` }
	f(one(`{"Effect":"Allow","Action":["kms:*"]}`), "")
	f(one(`{"Effect":"Allow","Action":"kms:*","Resource":"*"}`), "")
	f(one(`{"Effect":"Deny","Action":["kms:*"],"Condition":{"Unheard":{"of:it":["x"]}}}`), "")
	f(one(`{"Effect":"allow","Action":["kms:*"]}`), "neither Allow nor Deny")
	f(one(`{"Effect":"Allow","Action":["kms:*"],"NotAction":["x"]}`), "Version and Statement")
	f(one(`{"Effect":"Deny","Effect":"Allow","Action":["kms:*"]}`), "twice")
	f(one(`{"Effect":"Deny","effect":"Allow","Action":["kms:*"]}`), "twice")
	f(one(`{"effect":"Allow","Action":["kms:*"]}`), "other letters")
	f(one(`{"Effect":"Allow"}`), "0 actions")
	// Found by fuzzing: an empty list stood for every resource.
	f(one(`{"Effect":"Allow","Action":["kms:*"],"Resource":[]}`), "empty list")
	f(one(`{"Effect":"Allow","Action":["kms:*"],"Condition":{"StringEquals":{}}}`), "compares nothing")
	f(one(`{"Effect":"Allow","Action":["kms:*"],"Condition":{"StringEquals":{"g:UserName":[]}}}`), "0 values")
	f(one(`{"Effect":"Allow","Action":["kms:*"],"Condition":{}}`), "")
	f(one(`{"Effect":"Allow","Action":["kms:*k*m*s*a*b*c*d"]}`), "at most 6")
	f(`{"Version":"9","Statement":[{"Effect":"Allow","Action":["kms:*"]}]}`, "version")
	f(`{"Version":"1.1","Statement":[]}`, "0 statements")
	f(strings.Repeat("[", 100), "nested")
	f("", "not a JSON document")
	f(one(`{"Effect":"Allow","Action":["`+strings.Repeat("a", 20_000)+`"]}`), "at most 12288 bytes")
}

// FuzzParseDocument: whatever is accepted is shown so that it is accepted
// again, as the same document.
func FuzzParseDocument(f *testing.F) {
	f.Add(`{"Version":"1.1","Statement":[{"Effect":"Deny","Action":["kms:*"],"Resource":["kms:*:*:KeyId:x"],"Condition":{"Bool":{"g:MFAPresent":["true"]}}}]}`)
	f.Add(`{"Version":"1.0","Statement":[{"Effect":"Allow","Action":"*"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDocument([]byte(text))
		if err != nil {
			return
		}
		shown, err := json.Marshal(showDocument(&d))
		if err != nil {
			t.Fatal(err)
		}
		if len(shown) > maxPolicyJSON {
			return
		}
		again, err := parseDocument(shown)
		if err != nil {
			t.Fatalf("%s: %v", shown, err)
		}
		if diff := cmp.Diff(d, again); diff != "" {
			t.Fatalf("(-sent +shown)\n%s", diff)
		}
	})
}
