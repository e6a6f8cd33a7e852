package client_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/wrapping"
)

func connect() (*client.Client, error) {
	pool, err := client.ReadCA("ca.pem")
	if err != nil {
		return nil, err
	}
	return client.New(client.Config{
		Endpoints: []string{"https://kms-1:8440", "https://kms-2:8440", "https://kms-3:8440"}, CA: pool,
		AccessKey: os.Getenv("ACCESS_KEY"), SecretKey: os.Getenv("SECRET_KEY"), ProjectID: os.Getenv("PROJECT"),
	})
}

// A file is signed by its digest, which is made where the file is.
func ExampleClient_Sign() {
	ctx := context.Background()
	c, err := connect()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	file, err := os.ReadFile("app.tar")
	if err != nil {
		panic(err)
	}
	digest := sha256.Sum256(file)
	signature, err := c.Sign(ctx, "alias/releases", digest[:], client.SignOptions{Algorithm: "ECDSA_SHA_256"})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%x\n", signature)
}

// A server whose private key never leaves the cluster's modules.
func ExampleClient_Signer() {
	ctx := context.Background()
	c, err := connect()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	signer, err := c.Signer(ctx, "alias/www", 0)
	if err != nil {
		panic(err)
	}
	// A request for a certificate, which the CA answers …
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"www.example.com"}}, signer)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%x\n", request)
	// … and the server that has got it.
	certificate, err := os.ReadFile("www.der")
	if err != nil {
		panic(err)
	}
	listener, err := tls.Listen("tcp", ":443", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: signer}},
	})
	if err != nil {
		panic(err)
	}
	defer listener.Close()
}

// Material of one's own, good for a year.
func ExampleClient_ImportSecret() {
	ctx := context.Background()
	c, err := connect()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	material, err := os.ReadFile("material")
	if err != nil {
		panic(err)
	}
	defer clear(material)
	key, err := c.CreateKey(ctx, client.NewKey{Name: "payroll", Origin: "external"})
	if err != nil {
		panic(err)
	}
	if err := c.ImportSecret(ctx, key, material, client.ImportOptions{Expires: time.Now().AddDate(1, 0, 0)}); err != nil {
		panic(err)
	}
}

// A private key is wrapped where it is; only parameters and what is wrapped
// travel.
func ExampleClient_ImportMaterial() {
	ctx := context.Background()
	c, err := connect()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	parameters, err := c.ImportParameters(ctx, "alias/signing", wrapping.OAEPSHA256)
	if err != nil {
		panic(err)
	}

	file, err := os.ReadFile("private.pem")
	if err != nil {
		panic(err)
	}
	defer clear(file)
	private, err := wrapping.ReadPrivateKey(file)
	if err != nil {
		panic(err)
	}
	defer clear(private)
	wrapped, err := wrapping.PrivateKey(parameters.Algorithm, parameters.PublicKey, private)
	if err != nil {
		panic(err)
	}

	if err := c.ImportMaterial(ctx, parameters, wrapped, time.Time{}); err != nil {
		panic(err)
	}
}

// Data moves from one key to another, and nobody sees it.
func ExampleClient_ReEncryptData() {
	ctx := context.Background()
	c, err := connect()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	about := map[string]string{"order": "17"}
	ciphertext, err := c.EncryptData(ctx, "alias/orders-2025", []byte("text"), about)
	if err != nil {
		panic(err)
	}
	moved, err := c.ReEncryptData(ctx, ciphertext, client.Under{Context: about}, client.Under{Key: "alias/orders-2026", Context: about})
	if err != nil {
		panic(err)
	}
	fmt.Println(moved.KeyID, len(moved.Ciphertext))
}
