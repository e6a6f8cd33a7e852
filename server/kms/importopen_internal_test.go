package kms

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/kwp"
)

// device opens with a private key, and writes down what it is asked for.
type device struct {
	hsm.Decrypter
	private []byte
	asked   []string
}

func (d *device) Decrypt(_ context.Context, how hsm.Padding, label, ciphertext []byte) ([]byte, error) {
	d.asked = append(d.asked, fmt.Sprintf("%s of %d", how, len(ciphertext)))
	return keypair.Decrypt(hsm.SpecRSA2048, d.private, how, label, ciphertext)
}

func (d *device) DecryptPKCS1(_ context.Context, dst, ciphertext []byte) error {
	d.asked = append(d.asked, fmt.Sprintf("%d bytes of %d", len(dst), len(ciphertext)))
	return keypair.DecryptPKCS1(hsm.SpecRSA2048, d.private, dst, ciphertext)
}

// opening is what a test opens material with.
type opening struct {
	*device
	t      testing.TB
	public *rsa.PublicKey
}

func newOpening(t testing.TB) *opening {
	t.Helper()
	private, public, err := keypair.Generate(hsm.SpecRSA2048)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return &opening{device: &device{private: private}, t: t, public: parsed.(*rsa.PublicKey)}
}

func (o *opening) pkcs1(plain []byte) []byte {
	o.t.Helper()
	//lint:ignore SA1019 RSAES_PKCS1_V1_5 is one of the three wrapping algorithms of the guides; ten failures end a token
	block, err := rsa.EncryptPKCS1v15(rand.Reader, o.public, plain)
	if err != nil {
		o.t.Fatal(err)
	}
	return block
}

func (o *opening) oaep(plain []byte, label string) []byte {
	o.t.Helper()
	block, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, o.public, plain, []byte(label))
	if err != nil {
		o.t.Fatal(err)
	}
	return block
}

// With PKCS #1 v1.5 nothing tells a block that opens from one that does not,
// unless all of it opens: the same error, and the same done for it.
func TestPKCS1IsNoOracle(t *testing.T) {
	o := newOpening(t)
	private, _, err := keypair.Generate(hsm.SpecECP256)
	if err != nil {
		t.Fatal(err)
	}
	under := func(key, private []byte) []byte {
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := kwp.Wrap(block, private)
		if err != nil {
			t.Fatal(err)
		}
		return wrapped
	}
	right, short := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 16)
	good := under(right, private)
	damaged := bytes.Clone(good)
	damaged[20] ^= 1
	words, work := "", ""
	f := func(name string, spec hsm.Spec, material, privateKey []byte) {
		t.Helper()
		o.asked = nil
		opened, err := openMaterial(t.Context(), o, wrapPKCS1, spec, ImportRequest{Material: material, PrivateKey: privateKey})
		if opened != nil || KindOf(err) != KindImportUnwrap {
			t.Errorf("%s: %v", name, err)
			return
		}
		if words == "" {
			words, work = err.Error(), fmt.Sprint(o.asked)
		}
		if err.Error() != words || fmt.Sprint(o.asked) != work {
			t.Errorf("%s: %q after %v, another one %q after %s", name, err, o.asked, words, work)
		}
	}
	pair := func(name string, material, privateKey []byte) {
		t.Helper()
		f(name, hsm.SpecECP256, material, privateKey)
	}
	pair("no block", make([]byte, 256), good)
	pair("random bytes", bytes.Repeat([]byte{7}, 256), good)
	pair("a block of another length", o.pkcs1(right[:24]), good)
	pair("a block of no bytes", o.pkcs1(nil), good)
	pair("another key of 32 bytes", o.pkcs1(bytes.Repeat([]byte{9}, 32)), good)
	pair("another key of 16 bytes", o.pkcs1(short), good)
	pair("the key, and a damaged private key", o.pkcs1(right), damaged)
	pair("the key, and another one's private key", o.pkcs1(right), under(short, private))
	pair("the key, and no private key inside", o.pkcs1(right), under(right, []byte("no PKCS#8 at all")))
	for _, key := range [][]byte{right, short} {
		o.asked = nil
		opened, err := openMaterial(t.Context(), o, wrapPKCS1, hsm.SpecECP256, ImportRequest{Material: o.pkcs1(key), PrivateKey: under(key, private)})
		if err != nil || !bytes.Equal(opened, private) || fmt.Sprint(o.asked) != work {
			t.Errorf("with a key of %d bytes: %v after %v", len(key), err, o.asked)
		}
	}

	words = ""
	f("symmetric, no block", hsm.SpecAES256, make([]byte, 256), nil)
	f("symmetric, a block of another length", hsm.SpecAES256, o.pkcs1(right[:24]), nil)
	f("symmetric, a block of 16 bytes", hsm.SpecAES256, o.pkcs1(short), nil)
	if opened, err := openMaterial(t.Context(), o, wrapPKCS1, hsm.SpecAES256, ImportRequest{Material: o.pkcs1(right)}); err != nil || !bytes.Equal(opened, right) {
		t.Errorf("the material: %v", err)
	}
}

// With OAEP whatever does not open is one error.
func TestOAEPThatDoesNotOpen(t *testing.T) {
	o := newOpening(t)
	words := ""
	f := func(name string, block []byte, want Kind) {
		t.Helper()
		_, err := openMaterial(t.Context(), o, wrapOAEPSHA256, hsm.SpecAES256, ImportRequest{Material: block})
		switch {
		case KindOf(err) != want:
			t.Errorf("%s: %v", name, err)
		case want == KindImportUnwrap && words == "":
			words = err.Error()
		case want == KindImportUnwrap && err.Error() != words:
			t.Errorf("%s: %q, another one %q", name, err, words)
		}
	}
	altered := o.oaep(make([]byte, 32), "")
	altered[100] ^= 1
	f("no block", make([]byte, 256), KindImportUnwrap)
	f("too short", make([]byte, 255), KindImportUnwrap)
	f("altered", altered, KindImportUnwrap)
	f("another label", o.oaep(make([]byte, 32), "label"), KindImportUnwrap)
	f("PKCS #1 v1.5", o.pkcs1(make([]byte, 32)), KindImportUnwrap)
	f("31 bytes", o.oaep(make([]byte, 31), ""), KindMaterialSize)
}

// BenchmarkUnwrapFailures prints how long each way not to open takes, by turns,
// beside what opens: with PKCS #1 v1.5 they must not be told apart.
func BenchmarkUnwrapFailures(b *testing.B) {
	o := newOpening(b)
	private, _, err := keypair.Generate(hsm.SpecECP256)
	if err != nil {
		b.Fatal(err)
	}
	right := bytes.Repeat([]byte{1}, 32)
	block, err := aes.NewCipher(right)
	if err != nil {
		b.Fatal(err)
	}
	wrapped, err := kwp.Wrap(block, private)
	if err != nil {
		b.Fatal(err)
	}
	damaged := bytes.Clone(wrapped)
	damaged[20] ^= 1
	ways := []struct {
		name      string
		algorithm byte
		spec      hsm.Spec
		request   ImportRequest
		took      []time.Duration
	}{
		{name: "pkcs1-opens", algorithm: wrapPKCS1, spec: hsm.SpecAES256, request: ImportRequest{Material: o.pkcs1(right)}},
		{name: "pkcs1-no-block", algorithm: wrapPKCS1, spec: hsm.SpecAES256, request: ImportRequest{Material: bytes.Repeat([]byte{7}, 256)}},
		{name: "pkcs1-another-length", algorithm: wrapPKCS1, spec: hsm.SpecAES256, request: ImportRequest{Material: o.pkcs1(right[:24])}},
		{name: "pkcs1-pair-no-block", algorithm: wrapPKCS1, spec: hsm.SpecECP256, request: ImportRequest{Material: bytes.Repeat([]byte{7}, 256), PrivateKey: wrapped}},
		{name: "pkcs1-pair-another-key", algorithm: wrapPKCS1, spec: hsm.SpecECP256, request: ImportRequest{Material: o.pkcs1(make([]byte, 32)), PrivateKey: wrapped}},
		{name: "pkcs1-pair-damaged", algorithm: wrapPKCS1, spec: hsm.SpecECP256, request: ImportRequest{Material: o.pkcs1(right), PrivateKey: damaged}},
		{name: "oaep-opens", algorithm: wrapOAEPSHA256, spec: hsm.SpecAES256, request: ImportRequest{Material: o.oaep(right, "")}},
		{name: "oaep-no-block", algorithm: wrapOAEPSHA256, spec: hsm.SpecAES256, request: ImportRequest{Material: bytes.Repeat([]byte{7}, 256)}},
		{name: "oaep-another-label", algorithm: wrapOAEPSHA256, spec: hsm.SpecAES256, request: ImportRequest{Material: o.oaep(right, "label")}},
	}
	for b.Loop() {
		for i := range ways {
			w := &ways[i]
			began := time.Now()
			material, err := openMaterial(b.Context(), o, w.algorithm, w.spec, w.request)
			w.took = append(w.took, time.Since(began))
			if opens := strings.HasSuffix(w.name, "opens"); (err == nil) != opens || (material != nil) != opens {
				b.Fatalf("%s: %v", w.name, err)
			}
		}
		o.asked = o.asked[:0]
	}
	for _, w := range ways {
		slices.Sort(w.took)
		b.ReportMetric(float64(w.took[len(w.took)/2].Nanoseconds())/1e3, w.name+"-µs")
	}
	b.ReportMetric(0, "ns/op")
}
