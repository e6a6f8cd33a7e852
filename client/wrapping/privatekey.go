package wrapping

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ReadPrivateKey returns the private key of a file as DER PKCS #8. The file is
// PEM of PKCS #8, of PKCS #1 (RSA PRIVATE KEY) or of SEC 1 (EC PRIVATE KEY, of a
// NIST curve), or is DER of PKCS #8, which is not looked into. A key that is
// encrypted under a passphrase is an error. The caller wipes the result.
func ReadPrivateKey(file []byte) ([]byte, error) {
	if !bytes.Contains(file, []byte("-----BEGIN ")) {
		if len(file) == 0 || file[0] != 0x30 { // a sequence, as PKCS #8 is
			return nil, errors.New("reading the private key: it is neither PEM nor DER")
		}
		return bytes.Clone(file), nil
	}
	for rest := file; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("reading the private key: no PEM block of the file is one")
		}
		switch block.Type {
		case "PRIVATE KEY":
			return block.Bytes, nil
		case "RSA PRIVATE KEY":
			return convert(block, func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) })
		case "EC PRIVATE KEY":
			return convert(block, func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) })
		case "ENCRYPTED PRIVATE KEY":
			return nil, errEncrypted
		}
		clear(block.Bytes) // EC PARAMETERS, a certificate …
	}
}

var errEncrypted = errors.New("reading the private key: it is encrypted under a passphrase; openssl pkcs8 -in FILE takes that off")

// convert brings an older form of private keys into PKCS #8.
func convert(block *pem.Block, parse func(der []byte) (any, error)) ([]byte, error) {
	defer clear(block.Bytes)
	if block.Headers["DEK-Info"] != "" {
		return nil, errEncrypted
	}
	key, err := parse(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the private key (openssl pkcs8 -topk8 -nocrypt may help): %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("reading the private key: %w", err)
	}
	return der, nil
}
