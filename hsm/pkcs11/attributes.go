package pkcs11

import (
	"encoding/binary"
	"fmt"
	"strings"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// The templates of everything that this package makes. Every attribute that
// allows something is set, the refused ones too: left out they default to
// permissive. COPYABLE and MODIFIABLE come last, since a token that works
// through a template in order refuses what stands behind them.

type template = []*p11.Attribute

func attribute(kind uint, value any) *p11.Attribute {
	return p11.NewAttribute(kind, value)
}

// permission is an attribute that allows or forbids something.
type permission struct {
	kind    uint
	name    string
	allowed bool
}

// uses are what a secret key may be used for.
type uses struct {
	encrypt, wrap, unwrap, sign bool
}

func (u uses) permissions() []permission {
	return []permission{
		{p11.CKA_ENCRYPT, "CKA_ENCRYPT", u.encrypt},
		{p11.CKA_DECRYPT, "CKA_DECRYPT", false},
		{p11.CKA_SIGN, "CKA_SIGN", u.sign},
		{p11.CKA_VERIFY, "CKA_VERIFY", u.sign},
		{p11.CKA_WRAP, "CKA_WRAP", u.wrap},
		{p11.CKA_UNWRAP, "CKA_UNWRAP", u.unwrap},
		{p11.CKA_DERIVE, "CKA_DERIVE", false},
		{p11.CKA_TRUSTED, "CKA_TRUSTED", false},
	}
}

// lasting are the permissions that end every template.
func lasting() []permission {
	return []permission{
		{p11.CKA_COPYABLE, "CKA_COPYABLE", false},
		{p11.CKA_MODIFIABLE, "CKA_MODIFIABLE", false},
	}
}

func (t permission) attribute() *p11.Attribute {
	return attribute(t.kind, t.allowed)
}

func with(t template, permissions ...[]permission) template {
	for _, list := range permissions {
		for _, p := range list {
			t = append(t, p.attribute())
		}
	}
	return t
}

// rootKinds are the four keys of a root set in the order in which they are
// made. The record MAC key is made last and destroyed first: a set without it
// was never finished, or is being destroyed, and does not count as one.
var rootKinds = [...]rootKind{
	{hsm.RootHSM, "root-hsm", p11.CKK_AES, uses{wrap: true, unwrap: true}},
	{hsm.RootSoft, "root-soft", p11.CKK_AES, uses{wrap: true, unwrap: true}},
	{hsm.RootSeal, "root-seal", p11.CKK_AES, uses{encrypt: true}},
	// A generic secret, not CKK_SHA256_HMAC: SoftHSM makes no key of that type,
	// and CKM_SHA256_HMAC takes both.
	{hsm.RecordMAC, "record-mac", p11.CKK_GENERIC_SECRET, uses{sign: true}},
}

type rootKind struct {
	root hsm.Root
	name string
	kind uint
	uses uses
}

func (k rootKind) label(g hsm.RootGeneration) string {
	return fmt.Sprintf("raftkms %s %d", k.name, g)
}

// rootID is the CKA_ID of a root: the cluster, then the generation (big endian).
func rootID(c hsm.ClusterID, g hsm.RootGeneration) []byte {
	return binary.BigEndian.AppendUint32(c[:], uint32(g))
}

// parseRootName tells which root an object with that label and CKA_ID is.
func parseRootName(label string, id []byte) (k rootKind, c hsm.ClusterID, g hsm.RootGeneration, is bool) {
	if len(id) != len(c)+4 || !strings.HasPrefix(label, "raftkms ") {
		return k, c, g, false
	}
	copy(c[:], id)
	g = hsm.RootGeneration(binary.BigEndian.Uint32(id[len(c):]))
	for _, k := range rootKinds {
		if label == k.label(g) {
			return k, c, g, true
		}
	}
	return k, c, g, false
}

// guards are what keeps a root inside the device: readable by nobody, and to be
// wrapped only under a key that the security officer has marked as trusted.
func (k rootKind) guards() []permission {
	return []permission{
		{p11.CKA_PRIVATE, "CKA_PRIVATE", true},
		{p11.CKA_SENSITIVE, "CKA_SENSITIVE", true},
		{p11.CKA_EXTRACTABLE, "CKA_EXTRACTABLE", true},
		{p11.CKA_WRAP_WITH_TRUSTED, "CKA_WRAP_WITH_TRUSTED", true},
	}
}

// template is of a root that is generated or, with valueLength 0, unwrapped.
// inner is what root-hsm forces upon all that it unwraps.
func (k rootKind) template(c hsm.ClusterID, g hsm.RootGeneration, valueLength int, inner nested) template {
	t := template{
		attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		attribute(p11.CKA_KEY_TYPE, k.kind),
		attribute(p11.CKA_TOKEN, true),
		attribute(p11.CKA_LABEL, k.label(g)),
		attribute(p11.CKA_ID, rootID(c, g)),
	}
	if valueLength != 0 {
		t = append(t, attribute(p11.CKA_VALUE_LEN, valueLength))
	}
	t = with(t, k.guards(), k.uses.permissions())
	if k.root == hsm.RootHSM {
		t = append(t, attribute(p11.CKA_UNWRAP_TEMPLATE, inner.bytes))
	}
	return with(t, lasting())
}

// forcedOnMaterial is the CKA_UNWRAP_TEMPLATE of root-hsm: whatever it unwraps
// is unreadable, and leaves only under a trusted key (the next root).
func forcedOnMaterial() template {
	return template{
		attribute(p11.CKA_SENSITIVE, true),
		attribute(p11.CKA_WRAP_WITH_TRUSTED, true),
	}
}

// forcedOnRoots is the CKA_UNWRAP_TEMPLATE of the transport key: a bundle
// cannot be unwrapped into anything weaker.
func forcedOnRoots() template {
	return with(forcedOnMaterial(), lasting())
}

// newMaterial is of a key that is about to be wrapped (or tried out) and
// destroyed. Only a moment lies between; still, nobody can read it.
func newMaterial(u uses) template {
	t := template{
		attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, true),
		attribute(p11.CKA_VALUE_LEN, keySize),
		attribute(p11.CKA_SENSITIVE, true),
		attribute(p11.CKA_EXTRACTABLE, true),
		attribute(p11.CKA_WRAP_WITH_TRUSTED, false), // the root that wraps it is not marked
	}
	return with(t, u.permissions(), lasting())
}

// loadedMaterial is of an unwrapped key: for encryption alone inside the
// module, or, readable, for the moment until it is in locked memory.
func loadedMaterial(readable bool) template {
	return loaded(p11.CKK_AES, readable, uses{encrypt: !readable})
}

// loaded is of an unwrapped secret of a kind.
func loaded(kind uint, readable bool, u uses) template {
	t := template{
		attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		attribute(p11.CKA_KEY_TYPE, kind),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, true),
		attribute(p11.CKA_SENSITIVE, !readable),
		attribute(p11.CKA_EXTRACTABLE, readable),
		attribute(p11.CKA_WRAP_WITH_TRUSTED, true),
	}
	return with(t, u.permissions(), lasting())
}

// newSecret is of a symmetric key of the given size, or (size 0) of bytes that
// are created, that is about to be wrapped.
func newSecret(size int) template {
	t := template{
		attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_GENERIC_SECRET),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, true),
		attribute(p11.CKA_SENSITIVE, true),
		attribute(p11.CKA_EXTRACTABLE, true),
		attribute(p11.CKA_WRAP_WITH_TRUSTED, false),
	}
	if size != 0 {
		t = append(t, attribute(p11.CKA_VALUE_LEN, size))
	}
	return with(t, uses{}.permissions(), lasting())
}

// loadedSecret is of unwrapped bytes: a MAC key inside the module, or any
// material, readable, for the moment until it is in locked memory.
func loadedSecret(readable bool) template {
	return loaded(p11.CKK_GENERIC_SECRET, readable, uses{sign: !readable})
}

// privateUses are what a private key may be used for.
type privateUses struct {
	decrypt, sign, derive bool
}

func (u privateUses) permissions() []permission {
	return []permission{
		{p11.CKA_DECRYPT, "CKA_DECRYPT", u.decrypt},
		{p11.CKA_SIGN, "CKA_SIGN", u.sign},
		{p11.CKA_SIGN_RECOVER, "CKA_SIGN_RECOVER", false},
		{p11.CKA_UNWRAP, "CKA_UNWRAP", false},
		{p11.CKA_DERIVE, "CKA_DERIVE", u.derive},
	}
}

// newPublic is of the public half that comes with a pair. It is read and
// destroyed, so it is allowed nothing.
func newPublic(kind uint, parameters ...*p11.Attribute) template {
	t := template{
		attribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY),
		attribute(p11.CKA_KEY_TYPE, kind),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, false),
	}
	return with(append(t, parameters...), publicUses(false), lasting())
}

// newPrivate is of a private key that is about to be wrapped (or tried out) and
// destroyed.
func newPrivate(kind uint, u privateUses) template {
	return with(template{
		attribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY),
		attribute(p11.CKA_KEY_TYPE, kind),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, true),
		attribute(p11.CKA_SENSITIVE, true),
		attribute(p11.CKA_EXTRACTABLE, true),
		attribute(p11.CKA_WRAP_WITH_TRUSTED, false),
	}, u.permissions(), lasting())
}

// loadedPrivate is of an unwrapped private key, for one use.
func loadedPrivate(kind uint, u privateUses) template {
	return with(template{
		attribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY),
		attribute(p11.CKA_KEY_TYPE, kind),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, true),
		attribute(p11.CKA_SENSITIVE, true),
		attribute(p11.CKA_EXTRACTABLE, false),
		attribute(p11.CKA_WRAP_WITH_TRUSTED, true),
	}, u.permissions(), lasting())
}

// agreedSecret is what Diffie-Hellman gives: it is read at once and destroyed.
func agreedSecret(size int) template {
	return with(template{
		attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_GENERIC_SECRET),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, true),
		attribute(p11.CKA_VALUE_LEN, size),
		attribute(p11.CKA_SENSITIVE, false),
		attribute(p11.CKA_EXTRACTABLE, true),
	}, uses{}.permissions(), lasting())
}

const transportLabel = "raftkms transport"

// transportPublic and transportPrivate are the pair that roots are sent to. The
// public half is there to be read, and of no use inside this device.
func transportPublic() template {
	return with(template{
		attribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_RSA),
		attribute(p11.CKA_TOKEN, true),
		attribute(p11.CKA_PRIVATE, false),
		attribute(p11.CKA_LABEL, transportLabel),
		attribute(p11.CKA_MODULUS_BITS, transportBits),
		attribute(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
	}, publicUses(false), lasting())
}

func transportPrivate(inner nested) template {
	return with(template{
		attribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_RSA),
		attribute(p11.CKA_TOKEN, true),
		attribute(p11.CKA_PRIVATE, true),
		attribute(p11.CKA_LABEL, transportLabel),
		attribute(p11.CKA_SENSITIVE, true),
		attribute(p11.CKA_EXTRACTABLE, false),
		attribute(p11.CKA_WRAP_WITH_TRUSTED, true),
		attribute(p11.CKA_DECRYPT, false),
		attribute(p11.CKA_SIGN, false),
		attribute(p11.CKA_SIGN_RECOVER, false),
		attribute(p11.CKA_UNWRAP, true),
		attribute(p11.CKA_DERIVE, false),
		attribute(p11.CKA_UNWRAP_TEMPLATE, inner.bytes),
	}, lasting())
}

// trustedPublic is another module's transport key while roots are wrapped to
// it. It is a session object: should this process end in between, no trusted
// key stays behind in the token.
func trustedPublic(modulus, exponent []byte) template {
	return with(template{
		attribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_RSA),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, false), // the security officer makes no private objects
		attribute(p11.CKA_MODULUS, modulus),
		attribute(p11.CKA_PUBLIC_EXPONENT, exponent),
		attribute(p11.CKA_TRUSTED, true),
	}, publicUses(true), lasting())
}

// trustedSecret is a recovery key while roots are wrapped under it; like
// [trustedPublic] it is a session object of the security officer, who makes no
// private ones.
func trustedSecret() template {
	return recoverySecret(false, true, uses{wrap: true})
}

// bridgeKey is the key over which material goes to another root.
func bridgeKey() template {
	return append(template{attribute(p11.CKA_VALUE_LEN, keySize)}, recoverySecret(false, true, uses{wrap: true, unwrap: true})...)
}

// movingMaterial is of material on its way from one root to another: bytes that
// nobody reads, and that leave under the next root or, guarded, a trusted key.
func movingMaterial(guarded bool) template {
	return with(template{
		attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_GENERIC_SECRET),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, true),
		attribute(p11.CKA_SENSITIVE, true),
		attribute(p11.CKA_EXTRACTABLE, true),
		attribute(p11.CKA_WRAP_WITH_TRUSTED, guarded),
	}, uses{}.permissions(), lasting())
}

// unwrappingSecret is a recovery key while roots are restored.
func unwrappingSecret() template {
	return recoverySecret(true, false, uses{unwrap: true})
}

func recoverySecret(private, trusted bool, u uses) template {
	t := template{
		attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_PRIVATE, private),
		attribute(p11.CKA_SENSITIVE, true),
		attribute(p11.CKA_EXTRACTABLE, false),
	}
	for _, p := range u.permissions() {
		if p.kind == p11.CKA_TRUSTED {
			p.allowed = trusted
		}
		t = append(t, p.attribute())
	}
	return with(t, lasting())
}

func publicUses(wrap bool) []permission {
	return []permission{
		{p11.CKA_ENCRYPT, "CKA_ENCRYPT", false},
		{p11.CKA_VERIFY, "CKA_VERIFY", false},
		{p11.CKA_VERIFY_RECOVER, "CKA_VERIFY_RECOVER", false},
		{p11.CKA_WRAP, "CKA_WRAP", wrap},
		{p11.CKA_DERIVE, "CKA_DERIVE", false},
	}
}
