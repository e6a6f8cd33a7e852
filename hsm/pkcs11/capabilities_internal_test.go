package pkcs11

import (
	"crypto"
	"strings"
	"testing"
)

// A token that knows OAEP without labels only opens no data keys, so without raw
// RSA it is not said to decrypt.
func TestOAEPWithoutLabels(t *testing.T) {
	a := &abilities{oaep: map[oaepWay]bool{{crypto.SHA256, false}: true, {crypto.SHA1, false}: true}}
	if how, is := a.decryptsRSA(); is {
		t.Errorf("it decrypts with %q", how)
	}
	a.raw = true
	if how, is := a.decryptsRSA(); !is || !strings.Contains(how, "OAEP with SHA-256 unpadded in the process") {
		t.Errorf("with raw RSA: %q, %v", how, is)
	}
	a.raw = false
	a.oaep[oaepWay{crypto.SHA256, true}] = true
	if how, is := a.decryptsRSA(); !is || how != "CKM_RSA_PKCS_OAEP in the device" {
		t.Errorf("with labels: %q, %v", how, is)
	}
}
