package wrapping_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"

	"github.com/raftkms/raftkms/client/wrapping"
)

// Material is wrapped on a machine without a network, under the public key that
// the service gave for the import.
func ExampleSecret() {
	service := must(rsa.GenerateKey(rand.Reader, 2048)) // in its module; here, to show what it gets
	public := must(x509.MarshalPKIXPublicKey(service.Public()))

	wrapped, err := wrapping.Secret(wrapping.OAEPSHA256, public, []byte("thirty-two bytes of key material"))
	if err != nil {
		panic(err)
	}

	material := must(rsa.DecryptOAEP(sha256.New(), nil, service, wrapped.Material, nil))
	fmt.Printf("%s\n", material)
	// Output: thirty-two bytes of key material
}
