package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	f := func(pattern, text string, want bool) {
		t.Helper()
		if got := match(pattern, text); got != want {
			t.Errorf("%q on %q: got %v", pattern, text, got)
		}
	}
	f("kms:cmk:get", "kms:cmk:get", true)
	f("kms:cmk:get", "kms:cmk:getQuota", false)
	f("kms:cmk:getQuota", "kms:cmk:get", false)
	f("kms:*", "kms:cmk:get", true)
	f("kms:*", "kms:", true)
	f("kms:*", "kms", false)
	f("kms:cmk:get*", "kms:cmk:getQuota", true)
	f("kms:*:get", "kms:cmk:get", true)
	f("kms:*:get", "kms:cmk:getQuota", false)
	f("kms:*:*", "kms:cmk:get", true)
	f("*", "", true)
	f("**", "kms", true)
	f("", "", true)
	f("", "kms", false)
	f("*a*b", "xaxxaxb", true)
	f("*a*b", "xaxxbx", false)
	f(strings.Repeat("*a", 40)+"b", strings.Repeat("a", 4000), false) // takes no time to speak of
}

func TestMatchAction(t *testing.T) {
	f := func(pattern, action string, want bool) {
		t.Helper()
		if err := checkAction(pattern); err != nil {
			t.Fatal(err)
		}
		if got := matchAction(pattern, action); got != want {
			t.Errorf("%q on %q: got %v", pattern, action, got)
		}
	}
	f("kms:CMK:GetQuota", ActionGetQuota, true)
	f("kms:cmktag:LIST*", ActionListTagged, true)
	f("kms:*", ActionCreateUser, false)
	f("*", ActionCreateUser, true)
	f("*:*:list", ActionListUsers, true)
	f("km*", ActionGetKey, true)
}

func TestCheckAction(t *testing.T) {
	f := func(pattern string, want bool) {
		t.Helper()
		if err := checkAction(pattern); (err == nil) != want {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	f("*", true)
	f("kms:*", true)
	f("kms:*:*", true)
	f("kms:cmk:get", true)
	f("kms:cmk:g*t*", true)
	f("", false)
	f("kms", false)
	f(":cmk:get", false)
	f("KMS:cmk:get", false)
	f("kms:cmk:get:more", false)
	f("kms:cmk:get\n", false)
	f("kms:cmk:*g*e*t*a*b*c*", false)
	f(strings.Repeat("a", 300), false)
}

// Every action has the form that policies can name, and stands in the list once.
func TestActions(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Actions() {
		folded := strings.ToLower(a)
		if err := checkAction(a); err != nil || seen[folded] || strings.Count(a, ":") != 2 || strings.Contains(a, "*") {
			t.Errorf("%s: seen %v, %v", a, seen[folded], err)
		}
		seen[folded] = true
	}
}

// Encrypting and decrypting are named one by one, or both by one word: who may
// both may the whole, and who is denied one is denied it.
func TestHalvesOfActions(t *testing.T) {
	f := func(deny bool, actions []string, want ...string) {
		t.Helper()
		p, err := Compile(&Document{Version: VersionPolicy, Statements: []Statement{{Deny: deny, Actions: actions}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range []string{ActionCryptoDEK, ActionEncryptDEK, ActionDecryptDEK, ActionCryptoData, ActionEncryptData, ActionDecryptData} {
			verdict, _ := p.Judge(&Request{Action: action})
			if got := verdict != Silent; got != slices.Contains(want, action) {
				t.Errorf("deny %v of %v on %s: %v", deny, actions, action, verdict)
			}
		}
	}
	for _, deny := range []bool{false, true} {
		f(deny, []string{"kms:dek:crypto"}, ActionCryptoDEK, ActionEncryptDEK, ActionDecryptDEK)
		f(deny, []string{"kms:CMK:Crypto"}, ActionCryptoData, ActionEncryptData, ActionDecryptData)
		f(deny, []string{"kms:dek:decrypt", "kms:dek:encrypt"}, ActionCryptoDEK, ActionEncryptDEK, ActionDecryptDEK)
		f(deny, []string{"kms:dek:*"}, ActionCryptoDEK, ActionEncryptDEK, ActionDecryptDEK)
		f(deny, []string{"kms:cmk:get"})
	}
	f(false, []string{"kms:cmk:decrypt"}, ActionDecryptData)
	f(false, []string{"kms:*:encrypt"}, ActionEncryptDEK, ActionEncryptData)
	f(true, []string{"kms:cmk:decrypt"}, ActionDecryptData, ActionCryptoData)
	f(true, []string{"kms:*:Encrypt"}, ActionEncryptDEK, ActionEncryptData, ActionCryptoDEK, ActionCryptoData)
}
