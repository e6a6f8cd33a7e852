package pkcs11_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"testing"

	p11 "github.com/miekg/pkcs11"
)

func attribute(kind uint, value any) *p11.Attribute { return p11.NewAttribute(kind, value) }

func one(kind uint) []*p11.Mechanism { return []*p11.Mechanism{p11.NewMechanism(kind, nil)} }

func oaepSHA1() []*p11.Mechanism {
	return []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS_OAEP,
		p11.NewOAEPParams(p11.CKM_SHA_1, p11.CKG_MGF1_SHA1, p11.CKZ_DATA_SPECIFIED, nil))}
}

// sessionKey begins the template of an AES key that is gone with its session.
func sessionKey() []*p11.Attribute {
	return []*p11.Attribute{
		attribute(p11.CKA_CLASS, p11.CKO_SECRET_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_AES),
		attribute(p11.CKA_TOKEN, false),
	}
}

func newModulus() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		panic(err)
	}
	return key.N.Bytes()
}

func marshal(t *testing.T, key *rsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	ok(t, err)
	return der
}

// publicKey is a key whose private half an intruder has.
func publicKey(t *testing.T) []*p11.Attribute {
	t.Helper()
	return []*p11.Attribute{
		attribute(p11.CKA_CLASS, p11.CKO_PUBLIC_KEY),
		attribute(p11.CKA_KEY_TYPE, p11.CKK_RSA),
		attribute(p11.CKA_TOKEN, false),
		attribute(p11.CKA_WRAP, true),
		attribute(p11.CKA_MODULUS, strangerKey()),
		attribute(p11.CKA_PUBLIC_EXPONENT, []byte{1, 0, 1}),
	}
}

// actionProhibited is CKR_ACTION_PROHIBITED.
const actionProhibited = 0x1B

// refuses checks that the device said no, and for the right reason.
func (i *intruder) refuses(what string, err error, codes ...uint) {
	i.t.Helper()
	code, is := errors.AsType[p11.Error](err)
	if !is || !slices.Contains(codes, uint(code)) {
		i.t.Errorf("%s: %v", what, err)
	}
}

func (i *intruder) keyOf(_ p11.ObjectHandle, err error) error { return err }

func (i *intruder) blobOf(_ []byte, err error) error { return err }

func (i *intruder) cannotRead(h p11.ObjectHandle) {
	i.t.Helper()
	_, err := i.GetAttributeValue(i.s, h, []*p11.Attribute{attribute(p11.CKA_VALUE, nil)})
	i.refuses("reading", err, p11.CKR_ATTRIBUTE_SENSITIVE)
}

// cannotWeaken tries to change the object and to make a copy that is weaker.
func (i *intruder) cannotWeaken(h p11.ObjectHandle) {
	i.t.Helper()
	for name, a := range map[string]*p11.Attribute{
		"CKA_SENSITIVE":         attribute(p11.CKA_SENSITIVE, false),
		"CKA_WRAP_WITH_TRUSTED": attribute(p11.CKA_WRAP_WITH_TRUSTED, false),
		"CKA_EXTRACTABLE":       attribute(p11.CKA_EXTRACTABLE, true),
		"CKA_DECRYPT":           attribute(p11.CKA_DECRYPT, true),
		"CKA_ENCRYPT":           attribute(p11.CKA_ENCRYPT, true),
		"CKA_TRUSTED":           attribute(p11.CKA_TRUSTED, true),
		"CKA_MODIFIABLE":        attribute(p11.CKA_MODIFIABLE, true),
		"CKA_COPYABLE":          attribute(p11.CKA_COPYABLE, true),
		"CKA_LABEL":             attribute(p11.CKA_LABEL, "another"),
	} {
		i.refuses("setting "+name, i.SetAttributeValue(i.s, h, []*p11.Attribute{a}), actionProhibited)
		i.refuses("copying with another "+name, i.keyOf(i.CopyObject(i.s, h, []*p11.Attribute{attribute(p11.CKA_TOKEN, false), a})), actionProhibited)
	}
}

func (i *intruder) find(template ...*p11.Attribute) []p11.ObjectHandle {
	i.t.Helper()
	ok(i.t, i.FindObjectsInit(i.s, template))
	found, _, err := i.FindObjects(i.s, 1000)
	ok(i.t, err)
	ok(i.t, i.FindObjectsFinal(i.s))
	return found
}

func (i *intruder) one(template ...*p11.Attribute) p11.ObjectHandle {
	i.t.Helper()
	found := i.find(template...)
	if len(found) != 1 {
		i.t.Fatalf("%d objects instead of one", len(found))
	}
	return found[0]
}

// objects counts all objects of the token and of the process.
func (i *intruder) objects() int {
	i.t.Helper()
	return len(i.find())
}
