package pkcs11

import (
	"crypto"
	"slices"
	"strings"

	"github.com/raftkms/raftkms/hsm"
)

// capabilities is the table for people, and what decides which specs HSM level
// keys can have.
func (m *Module) capabilities() (rows []hsm.Capability) {
	add := func(spec hsm.Spec, use hsm.Use, how string) {
		rows = append(rows, hsm.Capability{Spec: spec, Use: use, How: how})
	}
	for _, spec := range hsm.Specs() {
		switch spec.Family() {
		case hsm.FamilyAES:
			if m.blocksOffered {
				add(spec, hsm.UseEncrypt, "CKM_AES_ECB in the device derives one-time keys; AES-GCM under these in the process")
			}
		case hsm.FamilyHMAC:
			if _, is := m.can.hmac[spec]; is {
				add(spec, hsm.UseMAC, "in the device")
			}
		case hsm.FamilyRSA:
			if how, is := m.can.signsRSA(); is && m.can.rsa[spec] {
				add(spec, hsm.UseSign, how)
			}
			if how, is := m.can.decryptsRSA(); is && m.can.rsa[spec] {
				add(spec, hsm.UseEncrypt, how)
			}
		case hsm.FamilyEC, hsm.FamilyEd25519:
			if c, is := m.can.curves[spec]; is {
				add(spec, hsm.UseSign, "in the device")
				if c.agrees {
					add(spec, hsm.UseAgree, "CKM_ECDH1_DERIVE in the device")
				}
			}
		}
	}
	return rows
}

func (a *abilities) signsRSA() (how string, is bool) {
	native := a.pss[crypto.SHA256] && a.pss[crypto.SHA384] && a.pss[crypto.SHA512]
	switch {
	case !a.pkcs1 || !native && !a.raw:
		return "", false
	case native:
		return "CKM_RSA_PKCS and CKM_RSA_PKCS_PSS in the device", true
	default:
		return "CKM_RSA_PKCS in the device; PSS padded in the process, CKM_RSA_X_509 in the device", true
	}
}

// decryptsRSA also asks for labels: a data key under an RSA key has one, and is
// handed out before anybody finds out that the device cannot open it.
func (a *abilities) decryptsRSA() (how string, is bool) {
	var inProcess []string
	for _, way := range []oaepWay{{crypto.SHA256, false}, {crypto.SHA256, true}, {crypto.SHA1, false}} {
		if name := way.hash.String(); !a.oaep[way] && !slices.Contains(inProcess, name) {
			inProcess = append(inProcess, name)
		}
	}
	switch {
	case len(inProcess) == 0:
		return "CKM_RSA_PKCS_OAEP in the device", true
	case a.raw:
		return "CKM_RSA_X_509 in the device; OAEP with " + strings.Join(inProcess, ", ") + " unpadded in the process", true
	default:
		return "", false
	}
}
