package iam_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/fsm/policy"
	"github.com/raftkms/raftkms/server/iam"
)

// authority is a CA that the test has made.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, NotBefore: signedAt.Add(-time.Hour), NotAfter: signedAt.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return authority{parse(t, template, template, key, key), key}
}

func parse(t testing.TB, template, parent *x509.Certificate, subject, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, subject.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// client is a client's certificate by the CA, changed before it is signed.
func (a authority) client(t testing.TB, change func(c *x509.Certificate)) []*x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "admin"}, NotBefore: signedAt.Add(-time.Minute), NotAfter: signedAt.Add(time.Minute),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, DNSNames: []string{"billing.test"},
	}
	change(template)
	return []*x509.Certificate{parse(t, template, a.certificate, newKey(t), a.key)}
}

func same(*x509.Certificate) {}

func TestCertificatesStandForUsers(t *testing.T) {
	a := newAuthority(t)
	m := fsmtest.Bootstrapped(t)
	add := fsmtest.AddCA("ca")
	add.Certificate, add.ByName = a.certificate.Raw, true
	m.Must(add)
	for _, name := range []string{"dns:billing.test", "uri:spiffe://test/billing", "email:billing@test"} {
		m.Must(command.BindIdentity{ProviderID: "ca", Name: name, UserID: fsmtest.UserID})
	}
	door := iam.NewDoor(newFoundedVerifier(t), nil)
	ask := func(chain []*x509.Certificate) (iam.Principal, error) {
		return door.Identify(t.Context(), m.State(), &iam.Request{Method: []byte("GET"), Path: []byte("/"), Peer: chain})
	}
	f := func(name string, ok bool, chain []*x509.Certificate) {
		t.Helper()
		for range 2 { // the second time out of what is kept
			p, err := ask(chain)
			if ok && (err != nil || p.UserID != fsmtest.UserID || p.Via != command.ViaProvider || p.CredentialID != "ca" || p.Expires == 0) {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
			if !ok {
				wantReason(t, err, "certificate is nobody's")
			}
		}
	}
	good := a.client(t, same)
	f("dns", true, good)
	f("uri", true, a.client(t, func(c *x509.Certificate) {
		c.DNSNames, c.URIs = nil, []*url.URL{{Scheme: "spiffe", Host: "test", Path: "/billing"}}
	}))
	f("email", true, a.client(t, func(c *x509.Certificate) { c.DNSNames, c.EmailAddresses = nil, []string{"billing@test"} }))
	f("by name", true, a.client(t, func(c *x509.Certificate) { c.DNSNames = []string{fsmtest.UserName} }))
	f("the common name alone", false, a.client(t, func(c *x509.Certificate) { c.DNSNames = nil }))
	f("a name of nobody", false, a.client(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} }))
	f("another CA", false, newAuthority(t).client(t, same))
	f("run out", false, a.client(t, func(c *x509.Certificate) { c.NotAfter = signedAt.Add(-time.Second) }))
	f("not yet", false, a.client(t, func(c *x509.Certificate) { c.NotBefore = signedAt.Add(time.Second) }))
	f("a server's", false, a.client(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	f("too many", false, append(good, good[0], good[0], good[0], good[0]))

	m.Must(command.RemoveProvider{ID: "ca"})
	f("of a CA that is gone", false, good)
	m.Must(add)
	f("whose binding went with the CA", false, good)
	if len(iam.ClientCAs(m.State())) != 1 {
		t.Error("the listener does not learn of the CA")
	}
}

// What was proved of a certificate is good no longer than the CA's own
// certificate, nor than what is between them, whatever its own says.
func TestACertificateEndsWithItsCA(t *testing.T) {
	a := newAuthority(t) // ends in an hour
	between := authority{key: newKey(t)}
	between.certificate = parse(t, &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "between"}, NotBefore: signedAt.Add(-time.Hour), NotAfter: signedAt.Add(time.Minute),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.certificate, between.key, a.key)
	m := fsmtest.Bootstrapped(t)
	add := fsmtest.AddCA("ca")
	add.Certificate, add.ByName = a.certificate.Raw, true
	m.Must(add)
	now := signedAt
	secrets := iam.NewSecrets(openSealed)
	defer secrets.Close()
	door := iam.NewDoor(iam.NewVerifier(secrets, func() time.Time { return now }), nil)
	long := func(c *x509.Certificate) {
		c.DNSNames, c.NotAfter = []string{fsmtest.UserName}, signedAt.Add(24*time.Hour)
	}
	f := func(name string, chain []*x509.Certificate, ends time.Time) {
		t.Helper()
		for _, at := range []time.Time{signedAt, ends, ends.Add(time.Second)} {
			now = at
			p, err := door.Identify(t.Context(), m.State(), &iam.Request{Method: []byte("GET"), Path: []byte("/"), Peer: chain})
			switch {
			case at.After(ends):
				wantReason(t, err, "certificate is nobody's")
			case at.Equal(signedAt) && (err != nil || p.Expires != ends.UnixMilli()):
				t.Errorf("%s: %+v, %v; want an end at %v", name, p, err, ends)
			}
		}
	}
	f("the CA's end", a.client(t, long), signedAt.Add(time.Hour))
	f("the end of what is between", append(between.client(t, long), between.certificate), signedAt.Add(time.Minute))
	f("its own end", a.client(t, func(c *x509.Certificate) { c.DNSNames = []string{fsmtest.UserName} }), signedAt.Add(time.Minute))
}

// token is a JWT by a key.
func token(t testing.TB, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestBearerTokensStandForUsers(t *testing.T) {
	key := newKey(t)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	m := fsmtest.Bootstrapped(t)
	add := fsmtest.AddIssuer("issuer")
	add.KeySet = set
	m.Must(add)
	m.Must(command.BindIdentity{ProviderID: "issuer", Name: "system:serviceaccount:a:b", UserID: fsmtest.UserID})
	door := iam.NewDoor(newFoundedVerifier(t), nil)
	f := func(name, reason, text string) {
		t.Helper()
		r := &iam.Request{Method: []byte("GET"), Path: []byte("/"), Headers: []iam.Header{{Name: []byte("Authorization"), Value: []byte("Bearer " + text)}}}
		p, err := door.Identify(t.Context(), m.State(), r)
		if reason != "" {
			wantReason(t, err, reason)
			return
		}
		if err != nil || p.UserID != fsmtest.UserID || p.CredentialID != "issuer" || p.Expires != signedAt.Add(time.Hour).UnixMilli() {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	claims := func(change ...any) map[string]any {
		c := map[string]any{"iss": add.Issuer, "aud": add.Audience, "sub": fsmtest.UserName, "exp": signedAt.Add(time.Hour).Unix(), "iat": signedAt.Unix()}
		for i := 0; i < len(change); i += 2 {
			c[change[i].(string)] = change[i+1]
		}
		return c
	}
	const nobodys = "bearer token is nobody's"
	good := token(t, key, claims())
	f("by name", "", good)
	f("by a binding", "", token(t, key, claims("sub", "system:serviceaccount:a:b")))
	f("one of two audiences", "", token(t, key, claims("aud", []string{"other", add.Audience})))
	f("nobody", nobodys, token(t, key, claims("sub", "nobody")))
	f("no user", nobodys, token(t, key, claims("sub", nil)))
	f("a user that is a number", nobodys, token(t, key, claims("sub", 7)))
	f("another key", nobodys, token(t, newKey(t), claims()))
	f("wrong issuer", nobodys, token(t, key, claims("iss", "https://other.test")))
	f("wrong audience", nobodys, token(t, key, claims("aud", "other")))
	f("expired", nobodys, token(t, key, claims("exp", signedAt.Add(-time.Second).Unix())))
	f("of the future", nobodys, token(t, key, claims("nbf", signedAt.Add(2*time.Minute).Unix())))
	f("truncated", nobodys, good[:len(good)-2])
	f("no token", nobodys, "abc")
	f("huge", nobodys, strings.Repeat("A", 9000)+".e30.A")
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	payload := strings.Split(good, ".")[1]
	f("algorithm none", nobodys, part(`{"alg":"none"}`)+"."+payload+".")
	f("a shared secret", nobodys, part(`{"alg":"HS256","kid":"1"}`)+"."+payload+"."+part("mac"))
	f("no JSON", nobodys, part(`{"alg":"ES256"}`)+"."+part("nonsense")+".AAAA")

	m.Must(command.RemoveProvider{ID: "issuer"})
	f("of an issuer that is gone", nobodys, good)
}

// Groups that a token names are the user's while the token lasts: of the
// provider's account, and by the claim that was named when it was added.
func TestBearerTokensNameGroups(t *testing.T) {
	key := newKey(t)
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	m := fsmtest.Bootstrapped(t)
	m.Must(fsmtest.CreateUser("ada"))
	m.Must(fsmtest.CreateGroup("readers"))
	m.Must(fsmtest.CreateGroup("admins"))
	m.Must(command.AttachPolicy{Binding: command.Binding{GroupID: fsmtest.ID("readers"), Policy: policy.RoleKMSReadOnly}})
	m.Must(fsmtest.CreatePolicy("deny", fsmtest.Deny("kms:cmk:list")))
	m.Must(command.AttachPolicy{Binding: command.Binding{GroupID: fsmtest.ID("admins"), Policy: fsmtest.ID("deny"), ProjectID: fsmtest.ProjectID}})
	m.Must(fsmtest.CreateAccount("other"))
	with, without := fsmtest.AddIssuer("with"), fsmtest.AddIssuer("without")
	with.KeySet, with.GroupsClaim, without.KeySet = set, "groups", set
	m.Must(with)
	m.Must(without)
	door := iam.NewDoor(newFoundedVerifier(t), nil)
	f := func(name string, issuer command.AddProvider, groups any, mayGet, mayList bool) {
		t.Helper()
		text := token(t, key, map[string]any{"iss": issuer.Issuer, "aud": issuer.Audience, "sub": "ada", "exp": signedAt.Add(time.Hour).Unix(), "iat": signedAt.Unix(), "groups": groups})
		r := &iam.Request{Method: []byte("GET"), Path: []byte("/"), Headers: []iam.Header{{Name: []byte("Authorization"), Value: []byte("Bearer " + text)}}}
		p, err := door.Identify(t.Context(), m.State(), r)
		if err != nil || p.UserID != fsmtest.ID("ada") {
			t.Fatalf("%s: %+v, %v", name, p, err)
		}
		caller := command.Caller{Kind: command.CallerUser, UserID: p.UserID, Via: p.Via, CredentialID: p.CredentialID, Expires: p.Expires, Groups: p.Groups}
		for action, want := range map[string]bool{policy.ActionGetKey: mayGet, policy.ActionListKeys: mayList} {
			refusal := fsm.Authorize(m.State(), caller, fsm.Request{Action: action, ProjectID: fsmtest.ProjectID, Now: signedAt.UnixMilli()})
			if (refusal == nil) != want {
				t.Errorf("%s: %s: %v", name, action, refusal)
			}
		}
		caller.Via, caller.CredentialID = command.ViaAccessKey, fsmtest.AccessKey("ada") // whose groups are those of the state
		if refusal := fsm.Authorize(m.State(), caller, fsm.Request{Action: policy.ActionGetKey, ProjectID: fsmtest.ProjectID}); refusal == nil {
			t.Errorf("%s: an access key has the groups of a token", name)
		}
	}
	f("none", with, nil, false, false)
	f("a list", with, []string{"readers", "of the issuer's own", "readers"}, true, true)
	f("one name", with, "readers", true, true)
	f("one that denies", with, []string{"admins", "readers"}, true, false)
	f("ids are no names", with, fsmtest.ID("readers"), false, false)
	f("as many as are read", with, append(slices.Repeat([]string{"nobody"}, 254), "readers", "admins"), true, false)
	f("an issuer without the claim", without, []string{"readers"}, false, false)
	// What might hide a group that denies is not passed over.
	var many []string
	for i := range 33 {
		many = append(many, fmt.Sprintf("g%d", i))
		m.Must(fsmtest.CreateGroup(many[i]))
	}
	for name, groups := range map[string]any{
		"more than are read": append(slices.Repeat([]string{"nobody"}, 256), "admins"), "more groups than a user may be in": many,
		"no names": []any{7, "admins"}, "an object": map[string]any{"admins": true}, "a number": 7,
	} {
		text := token(t, key, map[string]any{"iss": with.Issuer, "aud": with.Audience, "sub": "ada", "exp": signedAt.Add(time.Hour).Unix(), "groups": groups})
		r := &iam.Request{Method: []byte("GET"), Path: []byte("/"), Headers: []iam.Header{{Name: []byte("Authorization"), Value: []byte("Bearer " + text)}}}
		if _, err := door.Identify(t.Context(), m.State(), r); err == nil {
			t.Errorf("%s: let in", name)
		} else {
			wantReason(t, err, "bearer token is nobody's")
		}
	}
	m.Must(command.DeleteGroup{ID: fsmtest.ID("readers")})
	f("a group that is gone", with, []string{"readers"}, false, false)
}

func TestParseKeySet(t *testing.T) {
	private, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: newKey(t), KeyID: "1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []string{"", "{}", `{"keys":[]}`, "nonsense", string(private), `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`} {
		if _, err := iam.ParseKeySet([]byte(document)); err == nil {
			t.Errorf("%.40q is a set of public keys", document)
		}
	}
}
