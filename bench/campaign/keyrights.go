package campaign

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/server/wire"
)

// Rights that end with a key, or with a grant on one.

// change makes a change on any node until it has worked, and once: of two grants
// that were made for one the second would outlive the revocation of the first.
func (m *maker) change(operation string, request, reply any) {
	m.kms(operation, request, reply, http.Header{wire.HeaderIdempotencyToken: {rand.Text()}})
}

// kms does an operation on any node until it has worked.
func (m *maker) kms(operation string, request, reply any, more http.Header) {
	body, err := json.Marshal(request)
	if m.err = errors.Join(m.err, err); m.err == nil {
		m.ask("POST", kmsPath(m.nodes[0], operation), string(body), reply, more)
	}
}

// asking revokes by an operation.
func asking(operation string, request any) func(ctx context.Context, d *direct) verdict {
	return func(ctx context.Context, d *direct) verdict {
		return d.send(ctx, "POST", kmsPath(d, operation), request, nil, d.sign)
	}
}

// key makes a key that will be scheduled for deletion, or one whose material is
// imported and will be deleted.
func (m *maker) key(s *subject) {
	request := wire.CreateKeyRequest{KeyAlias: s.name}
	if s.right == history.Material {
		request.Origin = "external"
	}
	var made wire.CreateKeyReply
	m.change("create-key", request, &made)
	s.key = made.KeyInfo.KeyID
	if s.right == history.Key {
		s.revoke = asking("schedule-key-deletion", map[string]string{"key_id": s.key, "pending_days": "7"})
		return
	}
	s.revoke = asking("delete-imported-key-material", map[string]string{"key_id": s.key})
	var parameters wire.ImportParametersReply
	m.kms("get-parameters-for-import", wire.ImportParametersRequest{KeyID: s.key, WrappingAlgorithm: "RSAES_OAEP_SHA_256"}, &parameters, nil)
	if m.err != nil {
		return
	}
	parsed, err := x509.ParsePKIXPublicKey(parameters.PublicKey)
	public, is := parsed.(*rsa.PublicKey)
	if err != nil || !is {
		m.err = errors.Join(errors.New("no RSA key to wrap with"), err)
		return
	}
	material := make([]byte, 32)
	if _, err := rand.Read(material); err != nil {
		m.err = err
		return
	}
	m.nodes[0].secrets.add("imported material", material)
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, material, nil)
	if m.err = err; err == nil {
		m.change("import-key-material", wire.ImportMaterialRequest{KeyID: s.key, ImportToken: parameters.ImportToken, EncryptedKeyMaterial: wrapped}, nil)
	}
}

// grant makes a grant on a key for a user who may do nothing else, and who will
// retire it.
func (m *maker) grant(s *subject) {
	var made wire.CreateKeyReply
	m.change("create-key", wire.CreateKeyRequest{KeyAlias: s.name}, &made)
	s.key = made.KeyInfo.KeyID
	var granted wire.CreateGrantReply
	m.change("create-grant", wire.CreateGrantRequest{
		KeyID: s.key, GranteePrincipal: s.userID, Operations: []string{"create-datakey-without-plaintext"}, RetiringPrincipal: s.userID,
	}, &granted)
	s.revoke = func(ctx context.Context, d *direct) verdict {
		return d.send(ctx, "POST", kmsPath(d, "retire-grant"), wire.EndGrantRequest{KeyID: s.key, GrantID: granted.GrantID}, nil, s.prove)
	}
}
