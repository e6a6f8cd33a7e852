package huawei_test

import (
	"strings"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/hsm"
)

// operation is a row of the matrix: a request, and the rule of what it does to
// a key: the state afterwards, "same", or the code of the refusal.
type operation struct {
	verb, body string
	rule       func(k *matrixKey) string
}

// want is the rule, of a key that there is, or is no more.
func (o operation) want(k *matrixKey) string {
	if k.state == gone && !(strings.Contains(o.body, "SEALED-TEXT") && !k.sealed()) {
		return "KMS.0207"
	}
	return o.rule(k)
}

// The rules. Each says what the reference's §1.1 says, once for all kinds.

func reads(*matrixKey) string { return "same" }

// byState picks what is written for each state, and for default master keys.
func byState(inUse, idle, pending, empty, master string) func(k *matrixKey) string {
	return func(k *matrixKey) string {
		if k.trait.master {
			return master
		}
		return [...]string{inUse, idle, pending, empty}[k.state]
	}
}

// mustBeUsable is what a key's state says to its use; empty: nothing.
func mustBeUsable(k *matrixKey) string {
	if k.trait.expired && k.state == enabled {
		return "KMS.1301" // as one without material
	}
	return [...]string{"", "KMS.0209", "KMS.0210", "KMS.1301"}[k.state]
}

// uses asks for a usage; what others are told is by their kind.
func uses(usage string) func(k *matrixKey) string {
	return func(k *matrixKey) string {
		if refused := mustBeUsable(k); refused != "" {
			return refused
		}
		of := k.trait
		switch {
		case of.usage == usage:
			return "same"
		case of.usage == macs:
			return "KMS.0341"
		case !of.spec.Pair() && usage == signs:
			return "KMS.1115" // a symmetric key cannot sign
		case !of.spec.Pair():
			return "KMS.0331" // a symmetric key is not supported
		case usage == encrypts && of.spec.Family() != hsm.FamilyRSA:
			return "KMS.1114" // an EC key cannot encrypt
		case of.usage == encrypts:
			return "KMS.0334" // it is for encrypting
		default:
			return "KMS.0335"
		}
	}
}

// encryptsWith is about data and data keys, for which RSA has an algorithm of its own.
func encryptsWith(rsa string) func(k *matrixKey) string {
	return func(k *matrixKey) string {
		want := uses(encrypts)(k)
		if want == "same" && k.trait.spec.Pair() {
			return rsa
		}
		return want
	}
}

// sealed tells whether there is a ciphertext of the key that names it.
func (k *matrixKey) sealed() bool {
	return k.trait.usage == encrypts && !k.trait.spec.Pair() && !k.trait.lost
}

// opens is about ciphertexts that name their key, which then has a say; where
// there is none, what is sent is no ciphertext.
func opens(k *matrixKey) string {
	if !k.sealed() {
		return "KMS.2201"
	}
	if refused := mustBeUsable(k); refused != "" {
		return refused
	}
	return "same"
}

// rotates is about automatic rotation, of symmetric keys whose material is made here.
func rotates(done func(k *matrixKey) string) func(k *matrixKey) string {
	return func(k *matrixKey) string {
		switch of := k.trait; {
		case of.master:
			return "KMS.0211"
		case k.state == pendingDeletion:
			return "KMS.0210"
		case of.spec.Family() == hsm.FamilyRSA:
			return "KMS.0324"
		case of.spec.Pair() || of.usage == macs:
			return "KMS.0325"
		case of.external:
			return "KMS.0312"
		}
		return done(k)
	}
}

// brings is about material from elsewhere.
func brings(done func(k *matrixKey) string) func(k *matrixKey) string {
	return func(k *matrixKey) string {
		switch {
		case k.trait.master:
			return "KMS.0211"
		case !k.trait.external:
			return "KMS.0309"
		}
		return done(k)
	}
}

// matrixOperations are the rows. Those that leave the state alone come first,
// since another state means another key.
func matrixOperations() []operation {
	const (
		id      = `{"key_id":"KEY"}`
		sha256  = `"message":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`
		mac     = `{"key_id":"KEY","mac_algorithm":"HMAC_SHA_256","message":"AAAA","mac":"00"}`
		agree   = `{"key_id":"KEY","key_agreement_algorithm":"ECDH","public_key":"` + somePeer + `"}`
		again   = `{"destination_key_id":"KEY","cipher_text":"SEALED-TEXT"}`
		pairOf  = `{"key_id":"KEY","key_spec":"ECC_NIST_P256"}`
		pairRSA = `{"key_id":"KEY","key_spec":"RSA_2048"}`
	)
	signWith := func(verb string) operation {
		return operation{verb, `{"key_id":"KEY",` + sha256 + `,"signing_algorithm":"ECDSA_SHA_256","signature":"AAAA"}`, func(k *matrixKey) string {
			want := uses(signs)(k)
			if want == "same" && k.trait.spec.Family() == hsm.FamilyRSA {
				return "KMS.0332" // an algorithm of the other family
			}
			return want
		}}
	}
	sealsPrivate := func(k *matrixKey) string {
		want := uses(encrypts)(k)
		if want == "same" && k.trait.spec.Pair() {
			return "KMS.0325"
		}
		return want
	}
	editable := byState("same", "same", "KMS.0210", "KMS.1301", "KMS.0211")
	owned := byState("same", "same", "KMS.0210", "same", "KMS.0211")
	ends := func(k *matrixKey) string {
		if k.trait.master || k.trait.lost {
			return "KMS.2502"
		}
		return "same"
	}
	return []operation{
		{"describe-key", id, reads},
		{"get-key-rotation-status", id, reads},
		{"list-key-versions", id, reads},
		{"list-grants", id, reads},
		{"GET aliases?key_id=KEY", ``, reads},
		{"GET KEY/tags", ``, reads},

		{"create-datakey", id, encryptsWith("same")},
		{"create-datakey-without-plaintext", id, encryptsWith("same")},
		{"create-datakeys", `{"key_id":"KEY","count":2}`, encryptsWith("KMS.0325")},
		{"create-datakeys-without-plaintext", `{"key_id":"KEY","count":2}`, encryptsWith("KMS.0325")},
		{"encrypt-datakey", bodyOf("encrypt-datakey"), encryptsWith("same")},
		{"encrypt-data", bodyOf("encrypt-data"), encryptsWith("KMS.2106")},
		{"encrypt-data", strings.Replace(bodyOf("encrypt-data"), `"x"`, `"x","encryption_algorithm":"RSAES_OAEP_SHA_256"`, 1), func(k *matrixKey) string {
			want := uses(encrypts)(k)
			if want == "same" && !k.trait.spec.Pair() {
				return "KMS.2105"
			}
			return want
		}},
		{"decrypt-datakey", bodyOf("decrypt-datakey"), func(k *matrixKey) string {
			if want := uses(encrypts)(k); k.trait.spec.Pair() && want != "same" {
				return want // before the bare block of a pair is looked at
			}
			return opens(k)
		}},
		{"decrypt-data", bodyOf("decrypt-data"), opens},
		{"re-encrypt", again, opens},
		{"create-ec-datakey-pair", pairOf, sealsPrivate},
		{"create-rsa-datakey-pair", pairRSA, sealsPrivate},
		signWith("sign"),
		signWith("verify"),
		{"get-publickey", id, func(k *matrixKey) string {
			if !k.trait.spec.Pair() {
				return "KMS.0331"
			}
			if refused := mustBeUsable(k); refused != "" {
				return refused
			}
			return "same"
		}},
		{"generate-mac", mac, uses(macs)},
		{"verify-mac", mac, uses(macs)},
		{"derive-shared-secret", agree, uses(agrees)},

		{"update-key-alias", bodyOf("update-key-alias"), editable},
		{"update-key-description", bodyOf("update-key-description"), editable},
		{"enable-key-deletion-protection", id, owned},
		{"disable-key-deletion-protection", id, owned},
		{"aliases", bodyOf("aliases"), owned},
		{"alias/associate", bodyOf("alias/associate"), owned},
		{"DELETE aliases", bodyOf("DELETE aliases"), func(k *matrixKey) string {
			if k.trait.master {
				return "KMS.0207" // it has none
			}
			return "same"
		}},
		{"KEY/tags", `{"tag":{"key":"team","value":"a"}}`, owned},
		{"KEY/tags/action", `{"action":"create","tags":[{"key":"team","value":"b"}]}`, owned},
		{"KEY/tags/action", `{"action":"delete","tags":[{"key":"team"}]}`, owned},
		{"DELETE KEY/tags/stage", ``, owned},
		{"create-grant", `{"key_id":"KEY","grantee_principal":"` + fsmtest.UserID + `","operations":["describe-key"]}`, byState("same", "KMS.0209", "KMS.0210", "KMS.1301", "KMS.0211")},
		{"revoke-grant", bodyOf("revoke-grant"), ends},
		{"retire-grant", `{"key_id":"KEY","grant_id":"GRANT-2"}`, ends},

		{"enable-key-rotation", id, rotates(func(k *matrixKey) string {
			if k.state == disabled {
				return "KMS.0209"
			}
			return "same"
		})},
		{"update-key-rotation-interval", bodyOf("update-key-rotation-interval"), rotates(func(k *matrixKey) string {
			if k.state == disabled {
				return "KMS.0209"
			}
			return "KMS.0313"
		})},
		{"disable-key-rotation", id, byState("KMS.0313", "KMS.0313", "KMS.0210", "KMS.0313", "KMS.0211")},
		{"rotate-on-demand", id, func(k *matrixKey) string {
			switch of := k.trait; {
			case of.master:
				return "KMS.0211"
			case k.state == pendingDeletion:
				return "KMS.0210"
			case of.external:
				return "KMS.0312"
			case of.usage == macs:
				return "KMS.0325"
			case k.state == disabled:
				return "KMS.0209"
			}
			return "same"
		}},

		{"enable-key", id, byState("KMS.1201", "2", "KMS.1201", "KMS.1201", "KMS.0211")},
		{"disable-key", id, byState("3", "KMS.1301", "KMS.1301", "KMS.1301", "KMS.0211")},
		{"cancel-key-deletion", id, func(k *matrixKey) string {
			switch {
			case k.trait.master:
				return "KMS.0211"
			case k.state != pendingDeletion:
				return "KMS.1501"
			case k.trait.lost:
				return "5"
			}
			return "3"
		}},
		{"schedule-key-deletion", bodyOf("schedule-key-deletion"), byState("4", "4", "KMS.1402", "4", "KMS.0211")},

		{"get-parameters-for-import", `{"key_id":"KEY","wrapping_algorithm":"RSAES_OAEP_SHA_256"}`, brings(byState("KMS.0310", "KMS.0310", "KMS.0210", "same", ""))},
		{"import-key-material", `{"key_id":"KEY","import_token":"AAAA","encrypted_key_material":"AAAA"}`, brings(func(k *matrixKey) string {
			if k.state == pendingImport && k.disabledBefore {
				return "3"
			}
			return byState("KMS.0310", "KMS.0310", "KMS.0210", "2", "")(k)
		})},
		{"delete-imported-key-material", id, brings(func(k *matrixKey) string {
			switch {
			case k.state == pendingDeletion:
				return "KMS.2701"
			case k.trait.spec.Pair():
				return "KMS.2702"
			case k.state == pendingImport:
				return "KMS.2701"
			}
			return "5"
		})},
	}
}
