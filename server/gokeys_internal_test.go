package server

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
)

// Keys of the service do what keys of the standard library do: they sign
// certificates, decrypt, and agree on secrets.
func goStandardKeys(t *testing.T, k *client.Client, made func(spec, usage string) string) {
	for spec, algorithms := range map[string][]x509.SignatureAlgorithm{
		"EC_P256": {x509.ECDSAWithSHA256}, "EC_P384": {x509.ECDSAWithSHA384}, "EC_P521": {x509.ECDSAWithSHA512}, "ED25519": {x509.PureEd25519},
		"RSA_2048": {x509.SHA256WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS},
	} {
		signer, err := k.Signer(t.Context(), made(spec, ""), 0)
		must(t, err)
		for _, algorithm := range algorithms {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: spec}, NotAfter: time.Now().Add(time.Hour), SignatureAlgorithm: algorithm,
				IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
			}
			der, err := x509.CreateCertificate(nil, template, template, signer.Public(), signer) // which verifies what it has signed
			must(t, err)
			certificate, err := x509.ParseCertificate(der)
			must(t, err)
			if err := certificate.CheckSignatureFrom(certificate); err != nil || certificate.SignatureAlgorithm != algorithm {
				t.Errorf("%s with %v: %v", spec, certificate.SignatureAlgorithm, err)
			}
		}
	}

	decrypter, err := k.Decrypter(t.Context(), made("RSA_2048", "ENCRYPT_DECRYPT"), 1)
	must(t, err)
	ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, decrypter.Public().(*rsa.PublicKey), []byte{0xff}, nil)
	must(t, err)
	if plaintext, err := decrypter.Decrypt(nil, ciphertext, &rsa.OAEPOptions{Hash: crypto.SHA256}); err != nil || !bytes.Equal(plaintext, []byte{0xff}) {
		t.Errorf("opened %x, %v", plaintext, err)
	}

	for spec, curve := range map[string]ecdh.Curve{"EC_P256": ecdh.P256(), "EC_P521": ecdh.P521()} {
		own, err := k.KeyExchanger(t.Context(), made(spec, "KEY_AGREEMENT"), 0)
		must(t, err)
		peer, err := curve.GenerateKey(rand.Reader)
		must(t, err)
		theirs, err := peer.ECDH(own.PublicKey())
		must(t, err)
		if ours, err := own.ECDH(peer.PublicKey()); err != nil || !bytes.Equal(ours, theirs) || own.Curve() != curve {
			t.Errorf("%s: another secret: %v", spec, err)
		}
	}
	if _, err := k.KeyExchanger(t.Context(), made("RSA_2048", ""), 0); !errors.Is(err, client.ErrUsage) {
		t.Errorf("an RSA key agrees on secrets: %v", err)
	}

	// An alias that is pointed elsewhere does not change what a signer signs with.
	first, second := made("ED25519", ""), made("ED25519", "")
	must(t, k.CreateAlias(t.Context(), first, "moving"))
	signer, err := k.Signer(t.Context(), "alias/moving", 0)
	must(t, err)
	must(t, k.AssociateAlias(t.Context(), "moving", second))
	signature, err := signer.Sign(nil, []byte("message"), crypto.Hash(0))
	must(t, err)
	if valid, err := k.Verify(t.Context(), first, []byte("message"), signature, client.SignOptions{Algorithm: "ED25519", Raw: true}); err != nil || !valid {
		t.Errorf("signed with the first key: %v, %v", valid, err)
	}
}
