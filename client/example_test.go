package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/wrapping"
)

// The examples run as tests, against a node of their own: connect founds a
// cluster and makes the keys that an example supposes.

// A client of a cluster, and a data key of one of its keys.
func Example() {
	ctx := context.Background()
	cluster, stop := startNode() // in place of yours, which is there already
	defer stop()
	c, err := client.New(client.Config{
		Endpoints: cluster.Endpoints, // https://kms-1:8440, https://kms-2:8440 …
		CA:        cluster.CA,        // of client.ReadCA("ca.pem")
		AccessKey: cluster.AccessKey, SecretKey: cluster.SecretKey, ProjectID: cluster.ProjectID,
	})
	if err != nil {
		panic(err)
	}
	defer c.Close()

	if _, err := c.CreateKey(ctx, client.NewKey{Name: "orders"}); err != nil {
		panic(err)
	}
	// What encrypts is the plaintext; what is kept beside the data the ciphertext.
	made, err := c.CreateDataKey(ctx, "alias/orders", client.DataKeyOptions{Context: map[string]string{"tenant": "7"}})
	if err != nil {
		panic(err)
	}
	defer clear(made.Plaintext)
	opened, err := c.DecryptDataKey(ctx, made.KeyID, made.Ciphertext, client.DataKeyOptions{Context: map[string]string{"tenant": "7"}})
	if err != nil {
		panic(err)
	}
	defer clear(opened)
	fmt.Println(len(opened), "bytes, the same:", string(opened) == string(made.Plaintext))
	// Output: 32 bytes, the same: true
}

// A file is signed by its digest, which is made where the file is, and whoever
// has the public key verifies without the service.
func ExampleClient_Sign() {
	ctx := context.Background()
	c, done := connect(client.NewKey{Name: "releases", Spec: "EC_P256", Usage: "SIGN_VERIFY"})
	defer done()

	file := []byte("what is released")
	digest := sha256.Sum256(file)
	signature, err := c.Sign(ctx, "alias/releases", digest[:], client.SignOptions{Algorithm: "ECDSA_SHA_256"})
	if err != nil {
		panic(err)
	}

	der, err := c.PublicKey(ctx, "alias/releases", 0)
	if err != nil {
		panic(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		panic(err)
	}
	fmt.Println("it holds:", ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest[:], signature))
	// Output: it holds: true
}

// A server whose private key never leaves the cluster's modules.
func ExampleClient_Signer() {
	ctx := context.Background()
	c, done := connect(client.NewKey{Name: "www", Spec: "EC_P256", Usage: "SIGN_VERIFY"})
	defer done()

	signer, err := c.Signer(ctx, "alias/www", 0)
	if err != nil {
		panic(err)
	}
	// A request for a certificate, which the CA answers …
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"www.example.com"}}, signer)
	if err != nil {
		panic(err)
	}
	certificate, roots := certify(request)
	// … and the server that has got it.
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: signer}},
	})
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	go greet(listener)

	conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "www.example.com"})
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	greeting, err := io.ReadAll(conn)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(greeting))
	// Output: hello from www.example.com
}

// Material of one's own, good for a year.
func ExampleClient_ImportSecret() {
	ctx := context.Background()
	c, done := connect()
	defer done()

	material := make([]byte, 32) // for an example; real material comes from where it is kept
	defer clear(material)
	rand.Read(material)
	key, err := c.CreateKey(ctx, client.NewKey{Name: "payroll", Origin: "external"})
	if err != nil {
		panic(err)
	}
	if err := c.ImportSecret(ctx, key, material, client.ImportOptions{Expires: time.Now().AddDate(1, 0, 0)}); err != nil {
		panic(err)
	}

	payroll, err := c.DescribeKey(ctx, key)
	if err != nil {
		panic(err)
	}
	fmt.Println(payroll.State, "until next year:", payroll.Expires.After(time.Now().AddDate(0, 11, 0)))
	// Output: Enabled until next year: true
}

// A private key is wrapped where it is; only parameters and what is wrapped
// travel.
func ExampleClient_ImportMaterial() {
	ctx := context.Background()
	c, done := connect(client.NewKey{Name: "signing", Spec: "EC_P256", Usage: "SIGN_VERIFY", Origin: "external"})
	defer done()

	parameters, err := c.ImportParameters(ctx, "alias/signing", wrapping.OAEPSHA256)
	if err != nil {
		panic(err)
	}

	file := privateKeyFile() // PEM, as os.ReadFile("private.pem") returns it
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
	digest := sha256.Sum256([]byte("text"))
	signature, err := c.Sign(ctx, "alias/signing", digest[:], client.SignOptions{Algorithm: "ECDSA_SHA_256"})
	if err != nil {
		panic(err)
	}
	fmt.Println("its owner's signature:", verifies(file, digest[:], signature))
	// Output: its owner's signature: true
}

// Data moves from one key to another, and nobody sees it.
func ExampleClient_ReEncryptData() {
	ctx := context.Background()
	c, done := connect(client.NewKey{Name: "orders-2025"}, client.NewKey{Name: "orders-2026"})
	defer done()

	about := map[string]string{"order": "17"}
	ciphertext, err := c.EncryptData(ctx, "alias/orders-2025", []byte("two apples"), about)
	if err != nil {
		panic(err)
	}
	moved, err := c.ReEncryptData(ctx, ciphertext, client.Under{Context: about}, client.Under{Key: "alias/orders-2026", Context: about})
	if err != nil {
		panic(err)
	}
	plaintext, key, err := c.DecryptData(ctx, moved.Ciphertext, about)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, under another key: %v\n", plaintext, key == moved.KeyID && key != moved.From)
	// Output: two apples, under another key: true
}
