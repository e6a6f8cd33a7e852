package pkcs11_test

import (
	"bytes"
	"slices"
	"sync"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// intruder is another user of the same library in the same process, with the
// user's login and none of the module's manners: whoever has the PIN.
type intruder struct {
	*p11.Ctx
	t    *testing.T
	slot uint
	s    p11.SessionHandle
}

// intrude needs a module that is open and logged in: that login is its own.
func intrude(t *testing.T, m *pkcs11.Module) *intruder {
	t.Helper()
	library, err := pkcs11.FindSoftHSM()
	ok(t, err)
	i := &intruder{Ctx: p11.New(library), t: t, slot: m.Slot()}
	if i.Ctx == nil {
		t.Fatal("the library does not load")
	}
	i.s, err = i.OpenSession(i.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	ok(t, err)
	return i
}

// Everything that a root must not do or have done to it, and what SoftHSM says.
func TestRootsRefuse(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	i := intrude(t, m)
	root := make(map[hsm.Root]p11.ObjectHandle)
	for r := hsm.RootHSM; r <= hsm.RecordMAC; r++ {
		var err error
		root[r], err = m.RootHandle(ctx, r)
		ok(t, err)
	}
	for r, h := range root {
		i.cannotRead(h)
		i.cannotWeaken(h)
		i.refuses("decrypting", i.DecryptInit(i.s, one(p11.CKM_AES_ECB), h), p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
		if r != hsm.RootSeal {
			i.refuses("encrypting", i.EncryptInit(i.s, one(p11.CKM_AES_ECB), h), p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
		}
		if r != hsm.RecordMAC {
			i.refuses("signing", i.SignInit(i.s, one(p11.CKM_AES_CMAC), h), p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
			i.refuses("verifying", i.VerifyInit(i.s, one(p11.CKM_AES_CMAC), h), p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
		}

		// Nothing that the user can make wraps a root.
		fresh, err := i.GenerateKey(i.s, one(p11.CKM_AES_KEY_GEN), append(sessionKey(), attribute(p11.CKA_VALUE_LEN, 32), attribute(p11.CKA_WRAP, true)))
		ok(t, err)
		i.refuses("wrapping under a fresh AES key", i.blobOf(i.WrapKey(i.s, one(p11.CKM_AES_KEY_WRAP_PAD), fresh, h)), p11.CKR_KEY_NOT_WRAPPABLE)
		untrusted, err := i.CreateObject(i.s, publicKey(t))
		ok(t, err)
		i.refuses("wrapping under an untrusted RSA key", i.blobOf(i.WrapKey(i.s, oaepSHA1(), untrusted, h)), p11.CKR_KEY_NOT_WRAPPABLE)
		for w := hsm.RootHSM; w <= hsm.RootSoft; w++ {
			i.refuses("wrapping under a root", i.blobOf(i.WrapKey(i.s, one(p11.CKM_AES_KEY_WRAP_PAD), root[w], h)), p11.CKR_KEY_NOT_WRAPPABLE)
		}
		for _, w := range []hsm.Root{hsm.RootSeal, hsm.RecordMAC} {
			i.refuses("wrapping with a root that wraps nothing", i.blobOf(i.WrapKey(i.s, one(p11.CKM_AES_KEY_WRAP_PAD), root[w], fresh)),
				p11.CKR_KEY_FUNCTION_NOT_PERMITTED, p11.CKR_WRAPPING_KEY_TYPE_INCONSISTENT)
		}
	}
	// The user cannot make a trusted key of either kind.
	i.refuses("making a trusted RSA key", i.keyOf(i.CreateObject(i.s, append(publicKey(t), attribute(p11.CKA_TRUSTED, true)))), p11.CKR_ATTRIBUTE_READ_ONLY)
	i.refuses("making a trusted AES key", i.keyOf(i.GenerateKey(i.s, one(p11.CKM_AES_KEY_GEN),
		append(sessionKey(), attribute(p11.CKA_VALUE_LEN, 32), attribute(p11.CKA_TRUSTED, true)))), p11.CKR_ATTRIBUTE_READ_ONLY)
	ok(t, m.Check(ctx))
	if notes := m.Describe().Notes; len(notes) != 1 { // that it is not hardware
		t.Errorf("notes: %q", notes)
	}
}

// What a root is allowed, one by one, as the device has kept it.
func TestRootAttributes(t *testing.T) {
	m := rooted(t)
	i := intrude(t, m)
	names := map[uint]string{
		p11.CKA_TOKEN: "token", p11.CKA_PRIVATE: "private", p11.CKA_SENSITIVE: "sensitive", p11.CKA_ALWAYS_SENSITIVE: "always-sensitive",
		p11.CKA_EXTRACTABLE: "extractable", p11.CKA_WRAP_WITH_TRUSTED: "wrap-with-trusted", p11.CKA_LOCAL: "local",
		p11.CKA_ENCRYPT: "encrypt", p11.CKA_DECRYPT: "decrypt", p11.CKA_SIGN: "sign", p11.CKA_VERIFY: "verify", p11.CKA_WRAP: "wrap",
		p11.CKA_UNWRAP: "unwrap", p11.CKA_DERIVE: "derive", p11.CKA_TRUSTED: "trusted", p11.CKA_COPYABLE: "copyable", p11.CKA_MODIFIABLE: "modifiable",
	}
	for root, uses := range map[hsm.Root][]string{
		hsm.RootHSM:   {"wrap", "unwrap"},
		hsm.RootSoft:  {"wrap", "unwrap"},
		hsm.RootSeal:  {"encrypt"},
		hsm.RecordMAC: {"sign", "verify"},
	} {
		h, err := m.RootHandle(testContext(t), root)
		ok(t, err)
		want := append(uses, "token", "private", "sensitive", "always-sensitive", "extractable", "wrap-with-trusted", "local")
		var got []string
		for kind, name := range names {
			value, err := i.GetAttributeValue(i.s, h, []*p11.Attribute{attribute(kind, nil)})
			ok(t, err)
			if value[0].Value[0] != 0 {
				got = append(got, name)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("root %d: %q instead of %q", root, got, want)
		}
	}
}

// What root-hsm wrapped comes out only as what cannot be read or carried away.
func TestMaterialRefuses(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	k, err := hsm.LoadKey(ctx, m, w)
	ok(t, err)
	i := intrude(t, m)
	rootHSM, err := m.RootHandle(ctx, hsm.RootHSM)
	ok(t, err)
	rootSoft, err := m.RootHandle(ctx, hsm.RootSoft)
	ok(t, err)
	rootSeal, err := m.RootHandle(ctx, hsm.RootSeal)
	ok(t, err)
	kwp := one(p11.CKM_AES_KEY_WRAP_PAD)

	loaded := pkcs11.KeyHandle(k)
	i.cannotRead(loaded)
	i.cannotWeaken(loaded)
	i.refuses("decrypting with a loaded key", i.DecryptInit(i.s, one(p11.CKM_AES_ECB), loaded), p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	i.refuses("signing with a loaded key", i.SignInit(i.s, one(p11.CKM_AES_CMAC), loaded), p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	for _, root := range []p11.ObjectHandle{rootHSM, rootSoft} {
		i.refuses("wrapping a loaded key", i.blobOf(i.WrapKey(i.s, kwp, root, loaded)), p11.CKR_KEY_UNEXTRACTABLE)
	}
	for name, weak := range map[string]*p11.Attribute{
		"readable":               attribute(p11.CKA_SENSITIVE, false),
		"for untrusted wrapping": attribute(p11.CKA_WRAP_WITH_TRUSTED, false),
	} {
		for _, extractable := range []bool{false, true} {
			asked := append(sessionKey(), weak, attribute(p11.CKA_EXTRACTABLE, extractable))
			i.refuses("unwrapping as "+name, i.keyOf(i.UnwrapKey(i.s, kwp, rootHSM, w.Blob, asked)), p11.CKR_TEMPLATE_INCONSISTENT)
		}
	}
	i.refuses("unwrapping with root-seal", i.keyOf(i.UnwrapKey(i.s, kwp, rootSeal, w.Blob, sessionKey())),
		p11.CKR_KEY_FUNCTION_NOT_PERMITTED)

	// Extractable it may be, for the next root: but then only under a trusted key.
	again, err := i.UnwrapKey(i.s, kwp, rootHSM, w.Blob, append(sessionKey(),
		attribute(p11.CKA_SENSITIVE, true), attribute(p11.CKA_WRAP_WITH_TRUSTED, true), attribute(p11.CKA_EXTRACTABLE, true)))
	ok(t, err)
	i.cannotRead(again)
	i.refuses("wrapping what was unwrapped as extractable", i.blobOf(i.WrapKey(i.s, kwp, rootSoft, again)), p11.CKR_KEY_NOT_WRAPPABLE)
	i.refuses("allowing untrusted wrapping afterwards", i.SetAttributeValue(i.s, again, []*p11.Attribute{attribute(p11.CKA_WRAP_WITH_TRUSTED, false)}),
		p11.CKR_ATTRIBUTE_READ_ONLY)
}

// No key of a level ever lies in the token as an extractable or readable object.
func TestNothingIsLeftBehind(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	i := intrude(t, m)
	before := i.objects()
	for _, level := range []hsm.Level{hsm.LevelHSM, hsm.LevelSoftware} {
		w, err := m.Generate(ctx, level, hsm.SpecAES256)
		ok(t, err)
		if n := i.objects(); n != before {
			t.Errorf("%v: Generate left %d objects", level, n-before)
		}
		k, err := hsm.LoadKey(ctx, m, w)
		ok(t, err)
		ok(t, k.Close())
		if n := i.objects(); n != before {
			t.Errorf("%v: Load and Close left %d objects", level, n-before)
		}
		w.Blob = bytes.Clone(w.Blob)
		w.Blob[0] ^= 1
		if _, err := m.Load(ctx, w); err == nil {
			t.Errorf("%v: an altered blob was loaded", level)
		}
		if n := i.objects(); n != before {
			t.Errorf("%v: a refused Load left %d objects", level, n-before)
		}
	}
}

// The transport key unwraps and does nothing else, and what it unwraps is no
// weaker than a root.
func TestTransportRefuses(t *testing.T) {
	ctx := testContext(t)
	from, to := rooted(t), open(t, newToken(t))
	public, err := to.TransportKey(ctx)
	ok(t, err)
	bundle, err := from.ExportRoots(ctx, public, []byte(officerPIN))
	ok(t, err)
	i := intrude(t, to)
	private := i.one(attribute(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY))
	for _, kind := range []uint{p11.CKA_PRIVATE_EXPONENT, p11.CKA_PRIME_1} {
		_, err := i.GetAttributeValue(i.s, private, []*p11.Attribute{attribute(kind, nil)})
		i.refuses("reading the private key", err, p11.CKR_ATTRIBUTE_SENSITIVE)
	}
	i.refuses("decrypting", i.DecryptInit(i.s, oaepSHA1(), private), p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	i.refuses("signing", i.SignInit(i.s, one(p11.CKM_SHA256_RSA_PKCS), private), p11.CKR_KEY_FUNCTION_NOT_PERMITTED)
	i.cannotWeaken(private)
	for _, weak := range []*p11.Attribute{
		attribute(p11.CKA_SENSITIVE, false), attribute(p11.CKA_WRAP_WITH_TRUSTED, false),
		attribute(p11.CKA_COPYABLE, true), attribute(p11.CKA_MODIFIABLE, true),
	} {
		i.refuses("unwrapping a root as weaker", i.keyOf(i.UnwrapKey(i.s, oaepSHA1(), private, bundle.Wrapped[hsm.RootHSM], append(sessionKey(), weak))),
			p11.CKR_TEMPLATE_INCONSISTENT)
	}

	// Imported roots refuse what made ones refuse.
	ok(t, to.ImportRoots(ctx, bundle))
	for r := hsm.RootHSM; r <= hsm.RecordMAC; r++ {
		h, err := to.RootHandle(ctx, r)
		ok(t, err)
		i.cannotRead(h)
		i.cannotWeaken(h)
		fresh, err := i.GenerateKey(i.s, one(p11.CKM_AES_KEY_GEN), append(sessionKey(), attribute(p11.CKA_VALUE_LEN, 32), attribute(p11.CKA_WRAP, true)))
		ok(t, err)
		i.refuses("wrapping an imported root", i.blobOf(i.WrapKey(i.s, one(p11.CKM_AES_KEY_WRAP_PAD), fresh, h)), p11.CKR_KEY_NOT_WRAPPABLE)
	}
	w, err := to.Generate(ctx, hsm.LevelHSM, hsm.SpecAES256)
	ok(t, err)
	rootHSM, err := to.RootHandle(ctx, hsm.RootHSM)
	ok(t, err)
	i.refuses("unwrapping as readable under an imported root", i.keyOf(i.UnwrapKey(i.s, one(p11.CKM_AES_KEY_WRAP_PAD), rootHSM, w.Blob,
		append(sessionKey(), attribute(p11.CKA_SENSITIVE, false)))), p11.CKR_TEMPLATE_INCONSISTENT)
	if notes := to.Describe().Notes; len(notes) != 1 {
		t.Errorf("notes: %q", notes)
	}

	// The exporter has no trusted key left.
	j := intrude(t, from)
	if found := j.find(attribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY)); len(found) != 0 {
		t.Errorf("%d public keys are left at the exporter", len(found))
	}
}

var strangerKey = sync.OnceValue(newModulus)
