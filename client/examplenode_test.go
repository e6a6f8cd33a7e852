package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/hsm/soft"
	"github.com/raftkms/raftkms/server"
	"github.com/raftkms/raftkms/server/wire"
)

// connect stands for the client of a cluster that is there already: it makes a
// cluster of one node in this process, keys of those names, and a client of it.
// done ends all of it.
func connect(keys ...client.NewKey) (c *client.Client, done func()) {
	cfg, stop := startNode()
	c, err := client.New(cfg)
	if err != nil {
		panic(err)
	}
	for _, key := range keys {
		if _, err := c.CreateKey(context.Background(), key); err != nil {
			panic(err)
		}
	}
	return c, func() {
		c.Close()
		stop()
	}
}

// startNode runs a node with a cluster of its own, and returns how its
// administrator reaches it.
func startNode() (cfg client.Config, stop func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	ctx, end := context.WithCancel(context.Background())
	module, err := soft.Open(ctx, soft.Config{
		RootsFile: filepath.Join(dir, "roots"), PrivateKeyFile: filepath.Join(dir, "private"), UnlockKeyFile: filepath.Join(dir, "unlock"),
	})
	if err != nil {
		panic(err)
	}
	node := server.Config{
		NodeID: "n1", DataDir: filepath.Join(dir, "data"), AdminSocket: filepath.Join(dir, "s"), Version: "example", Module: module,
		APIListen: freeAddress(), ClusterListen: freeAddress(), GossipListen: freeAddress(),
	}
	s, err := server.Open(ctx, node)
	if err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	socket := admin.Open(node.AdminSocket)
	founded, err := socket.Init(ctx, wire.InitRequest{Region: "r-1", DomainName: "example", UserName: "admin"})
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(founded.CACertificate))
	cfg = client.Config{
		Endpoints: []string{"https://" + node.APIListen}, CA: pool,
		AccessKey: founded.AccessKey, SecretKey: founded.SecretKey, ProjectID: founded.ProjectID,
	}
	return cfg, func() {
		end()
		if err := errors.Join(<-ended, module.Close(), os.RemoveAll(dir)); err != nil {
			panic(err)
		}
	}
}

// freeAddress is an address of this machine that nobody listens at.
func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// certify is the CA of an example: it answers a request for a certificate.
func certify(request []byte) (certificate []byte, roots *x509.CertPool) {
	asked, err := x509.ParseCertificateRequest(request)
	if err != nil || asked.CheckSignature() != nil {
		panic("the request is not signed by its key")
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	ca := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, own.Public(), own)
	if err != nil {
		panic(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	leaf := &x509.Certificate{DNSNames: asked.DNSNames, NotAfter: ca.NotAfter}
	if certificate, err = x509.CreateCertificate(rand.Reader, leaf, ca, asked.PublicKey, own); err != nil {
		panic(err)
	}
	roots = x509.NewCertPool()
	roots.AddCert(ca)
	return certificate, roots
}

// greet says hello to one who connects.
func greet(listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	fmt.Fprint(conn, "hello from www.example.com")
}

// privateKeyFile is a file with a new private key, PEM of PKCS #8.
func privateKeyFile() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// verifies tells whether a signature is one of the key in such a file.
func verifies(file, digest, signature []byte) bool {
	block, _ := pem.Decode(file)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	return err == nil && ecdsa.VerifyASN1(&key.(*ecdsa.PrivateKey).PublicKey, digest, signature)
}
