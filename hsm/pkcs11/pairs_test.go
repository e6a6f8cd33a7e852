package pkcs11_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/keypair"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// openWithout opens a module on a device that lacks mechanisms.
func openWithout(t *testing.T, lacking ...uint) *pkcs11.Module {
	t.Helper()
	cfg := newToken(t)
	f := &faulty{mechanisms: func(list []*p11.Mechanism) (rest []*p11.Mechanism) {
	next:
		for _, m := range list {
			for _, kind := range lacking {
				if m.Mechanism == kind {
					continue next
				}
			}
			rest = append(rest, m)
		}
		return rest
	}}
	undo, err := pkcs11.InterposeLibrary(cfg.Library, f.interpose)
	ok(t, err)
	t.Cleanup(func() { ok(t, undo()) })
	m := open(t, cfg)
	ok(t, m.CreateRoots(testContext(t), home, 1))
	return m
}

func howOf(d hsm.Description, spec hsm.Spec, use hsm.Use) string {
	for _, row := range d.Capabilities {
		if row.Spec == spec && row.Use == use {
			return row.How
		}
	}
	return ""
}

// Where the device does not pad, the process does, and the private key stays
// where it is.
func TestPaddingInTheProcess(t *testing.T) {
	ctx := testContext(t)
	m := openWithout(t, p11.CKM_RSA_PKCS_PSS, p11.CKM_RSA_PKCS_OAEP)
	d := m.Describe()
	for _, use := range []hsm.Use{hsm.UseSign, hsm.UseEncrypt} {
		if how := howOf(d, hsm.SpecRSA2048, use); !strings.Contains(how, "in the process") || !strings.Contains(how, "CKM_RSA_X_509 in the device") {
			t.Errorf("%s: %q", use, how)
		}
	}
	w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecRSA2048)
	ok(t, err)
	signer, err := m.Load(ctx, w)
	ok(t, err)
	digest := sha256.Sum256([]byte("message"))
	signature, err := signer.(hsm.Signer).Sign(ctx, hsm.SchemePSSSHA256, digest[:])
	ok(t, err)
	if valid, err := keypair.Verify(w.Spec, w.PublicKey, hsm.SchemePSSSHA256, digest[:], signature); err != nil || !valid {
		t.Errorf("a PSS signature padded here: valid %v, error %v", valid, err)
	}
	w.Use = hsm.UseEncrypt
	decrypter, err := m.Load(ctx, w)
	ok(t, err)
	for _, how := range []hsm.Padding{hsm.PaddingOAEPSHA256, hsm.PaddingOAEPSHA1} {
		ciphertext, err := keypair.Encrypt(w.Spec, w.PublicKey, how, []byte("label"), []byte("secret"))
		ok(t, err)
		if opened, err := decrypter.(hsm.Decrypter).Decrypt(ctx, how, []byte("label"), ciphertext); err != nil || string(opened) != "secret" {
			t.Errorf("%s: opens to %q, %v", how, opened, err)
		}
	}
}

// What a device cannot do has no row, is refused at HSM level, and is there at
// SOFTWARE level.
func TestSpecsThatTheDeviceLacks(t *testing.T) {
	ctx := testContext(t)
	m := openWithout(t, p11.CKM_RSA_X_509, p11.CKM_EC_KEY_PAIR_GEN, p11.CKM_SHA384_HMAC)
	d := m.Describe()
	if how := howOf(d, hsm.SpecRSA2048, hsm.UseEncrypt); how != "" {
		t.Errorf("without raw RSA and OAEP with SHA-256: decrypts by %q", how)
	}
	if how := howOf(d, hsm.SpecRSA2048, hsm.UseSign); how != "CKM_RSA_PKCS and CKM_RSA_PKCS_PSS in the device" {
		t.Errorf("signs by %q", how)
	}
	for _, spec := range []hsm.Spec{hsm.SpecECP256, hsm.SpecHMAC384} {
		if d.Carries(spec) {
			t.Errorf("carries %s", spec)
		}
		if _, err := m.Generate(ctx, hsm.LevelHSM, spec); !errors.Is(err, hsm.ErrUnsupported) || !strings.Contains(err.Error(), "SOFTWARE level") {
			t.Errorf("%s: %v", spec, err)
		}
	}
	w, err := m.Generate(ctx, hsm.LevelSoftware, hsm.SpecECP256)
	ok(t, err)
	k, err := m.Load(ctx, w)
	ok(t, err)
	digest := sha256.Sum256(nil)
	signature, err := k.(hsm.Signer).Sign(ctx, hsm.SchemeECDSASHA256, digest[:])
	ok(t, err)
	if valid, err := keypair.Verify(w.Spec, w.PublicKey, hsm.SchemeECDSASHA256, digest[:], signature); err != nil || !valid {
		t.Errorf("a signature at SOFTWARE level: valid %v, error %v", valid, err)
	}
}

// A loaded private key cannot be read, wrapped, or used for anything else.
func TestLoadedPairIsOfOneUse(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	for _, spec := range []hsm.Spec{hsm.SpecRSA2048, hsm.SpecECP256} {
		w, err := m.Generate(ctx, hsm.LevelHSM, spec)
		ok(t, err)
		for _, use := range spec.Uses() {
			w.Use = use
			k, err := m.Load(ctx, w)
			ok(t, err)
			h := pkcs11.LoadedHandle(k)
			ok(t, m.OnSession(ctx, func(api pkcs11.Cryptoki, s p11.SessionHandle) error {
				for _, secret := range []uint{p11.CKA_PRIVATE_EXPONENT, p11.CKA_PRIME_1, p11.CKA_VALUE} {
					if _, err := api.GetAttributeValue(s, h, []*p11.Attribute{p11.NewAttribute(secret, nil)}); err == nil {
						t.Errorf("%s for %s: attribute %x can be read", spec, use, secret)
					}
				}
				for name, init := range map[string]func() error{
					"sign":    func() error { return api.SignInit(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_PKCS, nil)}, h) },
					"decrypt": func() error { return api.DecryptInit(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_RSA_X_509, nil)}, h) },
				} {
					if spec != hsm.SpecRSA2048 || name == "sign" && use == hsm.UseSign || name == "decrypt" && use == hsm.UseEncrypt {
						continue
					}
					if err := init(); err == nil {
						t.Errorf("%s for %s can %s", spec, use, name)
					}
				}
				wrapping, err := api.GenerateKey(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_GEN, nil)}, []*p11.Attribute{
					p11.NewAttribute(p11.CKA_TOKEN, false), p11.NewAttribute(p11.CKA_VALUE_LEN, 32), p11.NewAttribute(p11.CKA_WRAP, true),
				})
				if err != nil {
					return err
				}
				if _, err := api.WrapKey(s, []*p11.Mechanism{p11.NewMechanism(p11.CKM_AES_KEY_WRAP_PAD, nil)}, wrapping, h); err == nil {
					t.Errorf("%s for %s can be wrapped under any key", spec, use)
				}
				return api.DestroyObject(s, wrapping)
			}))
			ok(t, k.Close())
		}
	}
}

// A loaded pair is there again after the device lost everything.
func TestPairsAfterALoss(t *testing.T) {
	ctx := testContext(t)
	m := rooted(t)
	w, err := m.Generate(ctx, hsm.LevelHSM, hsm.SpecECP256)
	ok(t, err)
	k, err := m.Load(ctx, w)
	ok(t, err)
	digest := sha256.Sum256(nil)
	f := &faulty{sign: times(1, p11.CKR_DEVICE_REMOVED)}
	m.Interpose(f.interpose)
	signature, err := k.(hsm.Signer).Sign(ctx, hsm.SchemeECDSASHA256, digest[:])
	ok(t, err)
	if valid, err := keypair.Verify(w.Spec, w.PublicKey, hsm.SchemeECDSASHA256, digest[:], signature); err != nil || !valid {
		t.Errorf("valid %v, error %v", valid, err)
	}
	if f.logins.Load() == 0 {
		t.Error("the device was not logged into again")
	}
}
