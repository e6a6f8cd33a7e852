package keypair

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/emmansun/gmsm/sm2"
	"gitlab.com/yawning/secp256k1-voi/secec"
	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/raftkms/raftkms/hsm"
)

// The largest encodings that are looked at, in bytes: those of RSA with 4096
// bits, and some room for what encoders add.
const (
	MaxPrivate = 4096
	MaxPublic  = 1024
)

const leastExponent = 1<<16 + 1 // of RSA

// ErrPrivateKey: the bytes are not a private key of the spec.
var ErrPrivateKey = errors.New("not a private key of the right kind")

var (
	oidEC        = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	oidSECP256K1 = asn1.ObjectIdentifier{1, 3, 132, 0, 10}
	oidSM2       = asn1.ObjectIdentifier{1, 2, 156, 10197, 1, 301}
)

// curveOf returns the NIST curve of a spec.
func curveOf(spec hsm.Spec) elliptic.Curve {
	switch spec {
	case hsm.SpecECP256:
		return elliptic.P256()
	case hsm.SpecECP384:
		return elliptic.P384()
	case hsm.SpecECP521:
		return elliptic.P521()
	default:
		return nil
	}
}

// foreignCurve returns the name of a curve that crypto/x509 does not know.
func foreignCurve(spec hsm.Spec) asn1.ObjectIdentifier {
	switch spec {
	case hsm.SpecSECP256K1:
		return oidSECP256K1
	case hsm.SpecSM2:
		return oidSM2
	default:
		return nil
	}
}

// parsePublic returns *rsa.PublicKey, *ecdsa.PublicKey (SM2 too),
// ed25519.PublicKey or *secec.PublicKey.
func parsePublic(spec hsm.Spec, der []byte) (any, error) {
	if len(der) > MaxPublic {
		return nil, fmt.Errorf("%w: %d bytes", hsm.ErrPublicKey, len(der))
	}
	key, err := readPublic(spec, der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", hsm.ErrPublicKey, err)
	}
	// One key has one encoding, so records and fingerprints have one too.
	if again, err := marshalPublic(key); err != nil || !bytes.Equal(again, der) {
		return nil, fmt.Errorf("%w: it is not in DER", hsm.ErrPublicKey)
	}
	return key, nil
}

func readPublic(spec hsm.Spec, der []byte) (any, error) {
	if curve := foreignCurve(spec); curve != nil {
		point, err := readForeignPublic(der, curve)
		if err != nil {
			return nil, err
		}
		if spec == hsm.SpecSM2 {
			return sm2.NewPublicKey(point)
		}
		return secec.NewPublicKey(point)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("it cannot be parsed")
	}
	return key, checkKind(spec, key)
}

// checkKind makes sure that a public key is of the spec.
func checkKind(spec hsm.Spec, key any) error {
	fits := false
	switch k := key.(type) {
	case *rsa.PublicKey:
		fits = spec.Family() == hsm.FamilyRSA && k.N.BitLen() == spec.Bits() && k.E >= leastExponent && k.E%2 == 1
	case *ecdsa.PublicKey:
		fits = curveOf(spec) != nil && k.Curve == curveOf(spec)
	case ed25519.PublicKey:
		fits = spec == hsm.SpecEd25519
	}
	if !fits {
		return fmt.Errorf("it is no %s key", spec)
	}
	return nil
}

func marshalPublic(key any) ([]byte, error) {
	switch k := key.(type) {
	case *secec.PublicKey:
		return marshalForeignPublic(oidSECP256K1, k.Bytes())
	case *ecdsa.PublicKey:
		if sm2.IsSM2PublicKey(k) {
			point, err := sm2.PublicKeyToECDH(k)
			if err != nil {
				return nil, fmt.Errorf("encoding a point: %w", err)
			}
			return marshalForeignPublic(oidSM2, point.Bytes())
		}
	}
	return x509.MarshalPKIXPublicKey(key)
}

// parsePrivate returns *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey,
// *sm2.PrivateKey or *secec.PrivateKey. It says nothing of what is wrong.
func parsePrivate(spec hsm.Spec, der []byte) (any, error) {
	if len(der) > MaxPrivate {
		return nil, ErrPrivateKey
	}
	if curve := foreignCurve(spec); curve != nil {
		scalar, err := readForeignPrivate(der, curve)
		if err != nil {
			return nil, err
		}
		var key any
		if spec == hsm.SpecSM2 {
			key, err = sm2.NewPrivateKey(scalar)
		} else {
			key, err = secec.NewPrivateKey(scalar)
		}
		if err != nil {
			return nil, ErrPrivateKey
		}
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, ErrPrivateKey
	}
	public, err := publicOf(key)
	if err != nil || checkKind(spec, public) != nil {
		return nil, ErrPrivateKey
	}
	return key, nil
}

func publicOf(key any) (any, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return &k.PublicKey, nil
	case *ecdsa.PrivateKey:
		return &k.PublicKey, nil
	case *sm2.PrivateKey:
		return &k.PublicKey, nil
	case *secec.PrivateKey:
		return k.PublicKey(), nil
	case ed25519.PrivateKey:
		return k.Public(), nil
	default:
		return nil, ErrPrivateKey
	}
}

func marshalPrivate(key any) ([]byte, error) {
	switch k := key.(type) {
	case *sm2.PrivateKey:
		scalar := k.D.FillBytes(make([]byte, 32))
		defer clear(scalar)
		return marshalForeignPrivate(oidSM2, scalar)
	case *secec.PrivateKey:
		scalar := k.Bytes()
		defer clear(scalar)
		return marshalForeignPrivate(oidSECP256K1, scalar)
	default:
		return x509.MarshalPKCS8PrivateKey(key)
	}
}

// The encodings of RFC 5480 and RFC 5915 for curves that crypto/x509 does not know.

func marshalForeignPublic(curve asn1.ObjectIdentifier, point []byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addAlgorithm(b, curve)
		b.AddASN1BitString(point)
	})
	return b.Bytes()
}

func readForeignPublic(der []byte, curve asn1.ObjectIdentifier) (point []byte, err error) {
	input := cryptobyte.String(der)
	var body cryptobyte.String
	var bits asn1.BitString
	if !input.ReadASN1(&body, cryptobyteasn1.SEQUENCE) || !input.Empty() ||
		!readAlgorithm(&body, curve) || !body.ReadASN1BitString(&bits) || !body.Empty() || bits.BitLength%8 != 0 {
		return nil, errors.New("it cannot be parsed")
	}
	return bits.Bytes, nil
}

func marshalForeignPrivate(curve asn1.ObjectIdentifier, scalar []byte) ([]byte, error) {
	b := cryptobyte.NewFixedBuilder(make([]byte, 0, 128)) // grows nowhere: no copy is left behind
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		addAlgorithm(b, curve)
		b.AddASN1(cryptobyteasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
			b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(1)
				b.AddASN1OctetString(scalar)
			})
		})
	})
	return b.Bytes()
}

// readForeignPrivate takes what other encoders add: the curve and the public
// key inside, attributes at the end. None of it is believed: the public key is
// made of the scalar.
func readForeignPrivate(der []byte, curve asn1.ObjectIdentifier) (scalar []byte, err error) {
	input := cryptobyte.String(der)
	var body, octets, inner, secret cryptobyte.String
	var version int64
	ok := input.ReadASN1(&body, cryptobyteasn1.SEQUENCE) && input.Empty() &&
		body.ReadASN1Integer(&version) && (version == 0 || version == 1) && readAlgorithm(&body, curve) &&
		body.ReadASN1(&octets, cryptobyteasn1.OCTET_STRING) &&
		body.SkipOptionalASN1(cryptobyteasn1.Tag(0).ContextSpecific().Constructed()) &&
		body.SkipOptionalASN1(cryptobyteasn1.Tag(1).ContextSpecific()) && body.Empty() &&
		octets.ReadASN1(&inner, cryptobyteasn1.SEQUENCE) && octets.Empty() &&
		inner.ReadASN1Integer(&version) && version == 1 &&
		inner.ReadASN1(&secret, cryptobyteasn1.OCTET_STRING) &&
		inner.SkipOptionalASN1(cryptobyteasn1.Tag(0).ContextSpecific().Constructed()) &&
		inner.SkipOptionalASN1(cryptobyteasn1.Tag(1).ContextSpecific().Constructed()) && inner.Empty()
	if !ok || len(secret) != 32 {
		return nil, ErrPrivateKey
	}
	return secret, nil
}

func addAlgorithm(b *cryptobyte.Builder, curve asn1.ObjectIdentifier) {
	b.AddASN1(cryptobyteasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidEC)
		b.AddASN1ObjectIdentifier(curve)
	})
}

func readAlgorithm(s *cryptobyte.String, curve asn1.ObjectIdentifier) bool {
	var algorithm cryptobyte.String
	var kind, named asn1.ObjectIdentifier
	return s.ReadASN1(&algorithm, cryptobyteasn1.SEQUENCE) &&
		algorithm.ReadASN1ObjectIdentifier(&kind) && kind.Equal(oidEC) &&
		algorithm.ReadASN1ObjectIdentifier(&named) && named.Equal(curve) && algorithm.Empty()
}
