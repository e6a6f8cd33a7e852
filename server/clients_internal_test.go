package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	sdk "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"
	golangsdk "github.com/opentelekomcloud/gophertelekomcloud"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/identity/v3/tokens"
	"github.com/opentelekomcloud/gophertelekomcloud/openstack/kms/v1/keys"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/wire"
)

// The clients that people have, unmodified, with every way of proving who they
// are, against nodes behind TLS.
func TestRealClients(t *testing.T) {
	c := newTrio(t)
	t.Run("gophertelekomcloud", c.gopher)
	t.Run("huaweicloud-sdk-go-v3", c.sdkV3)
	t.Run("client certificates", c.certificates)
	t.Run("OIDC", c.oidc)
	t.Run("an administrator who has lost everything", c.comeBack)
}

// transport trusts the cluster's own CA, and nothing else.
func (c *trio) transport(t *testing.T, certificates ...tls.Certificate) *http.Transport {
	t.Helper()
	ca, err := x509.ParseCertificate(c.nodes[0].machine.State().Cluster().CACertificates[0])
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certificates, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// gopher is what Terraform's provider for the Open Telekom Cloud is built on.
func (c *trio) gopher(t *testing.T) {
	authURL := c.nodes[1].cfg.APIURL + "/v3"
	f := func(name string, options golangsdk.AuthOptionsProvider) *golangsdk.ProviderClient {
		t.Helper()
		client, err := openstack.NewClient(options.GetIdentityEndpoint())
		must(t, err)
		client.HTTPClient = http.Client{Transport: c.transport(t)}
		if err := openstack.Authenticate(client, options); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		kms, err := openstack.NewKMSV1(client, golangsdk.EndpointOpts{Region: "r-1"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		made, err := keys.Create(kms, keys.CreateOpts{KeyAlias: "gopher-" + name}).ExtractKeyInfo()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		shown, err := keys.Get(kms, made.KeyID).ExtractKeyInfo()
		if err != nil || shown.KeyAlias != "gopher-"+name || shown.DomainID != client.DomainID && client.DomainID != "" {
			t.Errorf("%s: %+v, %v", name, shown, err)
		}
		data, err := keys.DataEncryptGet(kms, keys.DataEncryptOpts{KeyID: made.KeyID, DatakeyLength: "512"}).ExtractDataKey()
		if err != nil || len(data.PlainText) != 128 || data.CipherText == "" {
			t.Errorf("%s: %+v, %v", name, data, err)
		}
		if state, err := keys.DisableKey(kms, made.KeyID).ExtractKeyInfo(); err != nil || state.KeyState != "3" {
			t.Errorf("%s: %+v, %v", name, state, err)
		}
		return client
	}
	password := golangsdk.AuthOptions{
		IdentityEndpoint: authURL, Username: "u", Password: c.founded.Password, DomainName: "d", TenantID: c.founded.ProjectID, AllowReauth: true,
	}
	client := f("password", password)
	if client.Token() == "" || client.ProjectID != c.founded.ProjectID {
		t.Errorf("a client with the token %q for the project %q", client.Token(), client.ProjectID)
	}
	f("token", golangsdk.AuthOptions{IdentityEndpoint: authURL, TokenID: client.Token(), TenantID: c.founded.ProjectID})
	byName := password
	byName.TenantID, byName.TenantName = "", "r-1"
	f("project-name", byName)
	f("aksk", golangsdk.AKSKAuthOptions{
		IdentityEndpoint: authURL, AccessKey: c.founded.AccessKey, SecretKey: c.founded.SecretKey, ProjectName: "r-1", Domain: "d", Region: "r-1",
	})
	f("aksk-project-id", golangsdk.AKSKAuthOptions{
		IdentityEndpoint: authURL, AccessKey: c.founded.AccessKey, SecretKey: c.founded.SecretKey, ProjectId: c.founded.ProjectID, Region: "r-1",
	})

	// The provider makes a client for the account as well.
	domain := password
	domain.TenantID = ""
	again, err := openstack.NewClient(authURL)
	must(t, err)
	again.HTTPClient = http.Client{Transport: c.transport(t)}
	must(t, openstack.Authenticate(again, domain))
	identity, err := openstack.NewIdentityV3(again, golangsdk.EndpointOpts{Region: "r-1"})
	must(t, err)
	user, err := tokens.Get(identity, again.Token()).ExtractUser()
	if err != nil || user.Name != "u" || user.ID != again.UserID {
		t.Errorf("its own token is of %+v, %v", user, err)
	}

	// A token that ends is renewed by itself: 401 is what it waits for.
	kms, err := openstack.NewKMSV1(client, golangsdk.EndpointOpts{Region: "r-1"})
	must(t, err)
	old := client.Token()
	if result := tokens.Revoke(identity, old); result.Err != nil {
		t.Fatal(result.Err)
	}
	if err := keys.List(kms, keys.ListOpts{}).Err; err != nil || client.Token() == old {
		t.Errorf("after its token was revoked: %v", err)
	}
	wrong := password
	wrong.Password = "wrong"
	refused, err := openstack.NewClient(authURL)
	must(t, err)
	refused.HTTPClient = http.Client{Transport: c.transport(t)}
	if _, is := errors.AsType[golangsdk.ErrDefault401](openstack.Authenticate(refused, wrong)); !is {
		t.Error("a wrong password is not 401")
	}
}

// sdkV3 is the vendor's own.
func (c *trio) sdkV3(t *testing.T) {
	url := c.nodes[2].cfg.APIURL
	http := config.DefaultHttpConfig().WithHttpTransport(c.transport(t))
	// A region and no project: it looks the project up by the region's name.
	credentials, err := basic.NewCredentialsBuilder().WithAk(c.founded.AccessKey).WithSk(c.founded.SecretKey).WithIamEndpointOverride(url).SafeBuild()
	must(t, err)
	built, err := sdk.KmsClientBuilder().WithRegion(region.NewRegion("r-1", url)).WithCredential(credentials).WithHttpConfig(http).SafeBuild()
	must(t, err)
	kms := sdk.NewKmsClient(built)
	created, err := kms.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: "sdk-v3"}})
	if err != nil || *created.KeyInfo.DomainId == "" {
		t.Fatalf("with a region: %v, %v", created, err)
	}
	// The account's credentials find the account.
	account, err := global.NewCredentialsBuilder().WithAk(c.founded.AccessKey).WithSk(c.founded.SecretKey).WithIamEndpointOverride(url).SafeBuild()
	must(t, err)
	_, err = core.NewHcHttpClientBuilder().WithCredentialsType("global.Credentials").WithRegion(region.NewRegion("r-1", url)).
		WithCredential(account).WithHttpConfig(http).SafeBuild()
	if err != nil || account.DomainId != *created.KeyInfo.DomainId {
		t.Errorf("the account is %q, %v", account.DomainId, err)
	}
	if _, is := any(account).(auth.ICredential); !is {
		t.Error("no credential")
	}
}

// authority is a CA of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	must(t, err)
	a.certificate, err = x509.ParseCertificate(der)
	must(t, err)
	return a
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw}))
}

func (a *authority) issue(t *testing.T, change func(c *x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (c *trio) believe(t *testing.T, p wire.Provider) {
	t.Helper()
	p.Domain = "d"
	body, err := addProvider(c.nodes[0].machine.State(), p)
	must(t, err)
	must(t, c.nodes[0].changeProviders(t.Context(), constantly(body)))
}

// listWith lists keys on a node through a transport.
func (c *trio) listWith(t *testing.T, node int, transport http.RoundTripper, authorization string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", c.nodes[node].cfg.APIURL+"/v1.0/"+c.founded.ProjectID+"/kms/list-keys", strings.NewReader("{}"))
	must(t, err)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	response, err := transport.RoundTrip(r)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(text)
}

// certificates stand for users once their CA is believed, and no longer once it is not.
func (c *trio) certificates(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	named := func(name string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = []string{name} }
	}
	good := ours.issue(t, named("billing.test"))
	f := func(name string, node int, certificate tls.Certificate, want int) {
		t.Helper()
		if status, body := c.listWith(t, node, c.transport(t, certificate), ""); status != want {
			t.Errorf("%s on node %d: %d %s, want %d", name, node, status, body, want)
		}
	}
	f("before its CA is believed", 0, good, 401)
	c.believe(t, wire.Provider{ID: "ours", Kind: wire.ProviderClientCA, Certificate: ours.pem()})
	f("a name that is nobody's", 0, good, 401)
	bound, err := bindIdentity(c.nodes[0].machine.State(), wire.Binding{Provider: "ours", Name: "dns:billing.test", User: "u"})
	must(t, err)
	must(t, c.nodes[0].changeProviders(t.Context(), constantly(bound)))
	for node := range c.nodes {
		f("a good one", node, good, 200)
	}
	f("of another CA", 1, others.issue(t, named("billing.test")), 401)
	f("of another name", 1, ours.issue(t, named("other.test")), 401)
	f("over", 1, ours.issue(t, func(c *x509.Certificate) {
		c.DNSNames, c.NotAfter = []string{"billing.test"}, time.Now().Add(-time.Minute)
	}), 401)
	f("for servers alone", 1, ours.issue(t, func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage = []string{"billing.test"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}), 401)
	open := c.transport(t, good)
	if status, _ := c.listWith(t, 2, open, ""); status != 200 {
		t.Fatal("a good one is not taken")
	}
	must(t, c.nodes[1].changeProviders(t.Context(), constantly(command.RemoveProvider{ID: "ours"})))
	if status, body := c.listWith(t, 2, open, ""); status != 401 {
		t.Errorf("after its CA is believed no longer, on a connection from before: %d %s", status, body)
	}
}

// oidc has an issuer with a certificate and keys of its own, from which the
// nodes fetch them.
func (c *trio) oidc(t *testing.T) {
	ca := newAuthority(t, "issuer's")
	certificate := ca.issue(t, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	var fetched atomic.Int64
	var first, second = newSigningKey(t, "one"), newSigningKey(t, "two")
	var offered atomic.Pointer[jose.JSONWebKeySet]
	offered.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{first.Public()}})
	mux := http.NewServeMux()
	issuer := httptest.NewUnstartedServer(mux)
	issuer.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	issuer.StartTLS()
	defer issuer.Close()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": issuer.URL, "jwks_uri": issuer.URL + "/keys", "authorization_endpoint": issuer.URL + "/a", "token_endpoint": issuer.URL + "/t",
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_ = json.NewEncoder(w).Encode(offered.Load())
	})
	c.believe(t, wire.Provider{ID: "stranger", Kind: wire.ProviderOIDC, Issuer: issuer.URL + "/other", Audience: "raftkms", UserClaim: "sub", ByName: true})
	c.believe(t, wire.Provider{ID: "idp", Kind: wire.ProviderOIDC, Issuer: issuer.URL, Audience: "raftkms", UserClaim: "sub", ByName: true, Certificate: ca.pem()})

	claims := func(change func(c map[string]any)) map[string]any {
		all := map[string]any{"iss": issuer.URL, "aud": "raftkms", "sub": "u", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
		change(all)
		return all
	}
	same := func(map[string]any) {}
	f := func(name string, node int, token string, want int) {
		t.Helper()
		status, body := c.listWith(t, node, c.transport(t), "Bearer "+token)
		if status != want {
			t.Errorf("%s on node %d: %d %s, want %d", name, node, status, body, want)
		}
		if status == 401 && (!strings.Contains(body, "APIGW.0301") || strings.Contains(body, "nobody@") || strings.Contains(body, issuer.URL)) {
			t.Errorf("%s: refused with %s", name, body)
		}
	}
	for node := range c.nodes {
		f("a good one", node, first.sign(t, claims(same)), 200)
	}
	before := fetched.Load()
	for range 5 {
		f("a good one again", 0, first.sign(t, claims(same)), 200)
	}
	if fetched.Load() != before {
		t.Error("the issuer's keys are fetched for every token")
	}
	set := func(name string, value any) map[string]any {
		return claims(func(c map[string]any) { c[name] = value })
	}
	f("another audience", 0, first.sign(t, set("aud", "others")), 401)
	f("another issuer", 0, first.sign(t, set("iss", "https://127.0.0.1:1")), 401)
	f("over", 0, first.sign(t, set("exp", time.Now().Add(-time.Hour).Unix())), 401)
	f("not yet", 0, first.sign(t, set("nbf", time.Now().Add(time.Hour).Unix())), 401)
	f("a time that is none", 0, first.sign(t, set("nbf", "tomorrow")), 401)
	f("nobody's", 0, first.sign(t, set("sub", "nobody@example.test")), 401)
	f("without a user", 0, first.sign(t, set("sub", 7)), 401)
	f("without an end", 0, first.sign(t, claims(func(c map[string]any) { delete(c, "exp") })), 401)
	f("of a key that nobody knows", 0, second.sign(t, claims(same)), 401)
	f("unsigned", 0, unsigned(t, claims(same)), 401)
	f("signed with what is public", 0, first.signShared(t, claims(same)), 401)
	f("cut off", 0, first.sign(t, claims(same))[:60], 401)
	f("three dots", 0, "..", 401)
	f("large", 0, strings.Repeat("A", 8<<10)+".e30.AA", 401)

	// A group that a token names is its user's, who may nothing else.
	c.believe(t, wire.Provider{ID: "grouping", Kind: wire.ProviderOIDC, Issuer: issuer.URL, Audience: "groups", UserClaim: "sub", GroupsClaim: "groups", ByName: true, Certificate: ca.pem()})
	admin := c.loginFor(0, wholeAccount)
	made := func(path, body string) string {
		response, text := c.do(0, "POST", path, body, "X-Auth-Token", admin)
		var reply map[string]struct{ ID string }
		if must(t, json.Unmarshal([]byte(text), &reply)); response.StatusCode != 201 {
			t.Fatalf("%s: %d %s", path, response.StatusCode, text)
		}
		for _, one := range reply {
			return one.ID
		}
		return ""
	}
	made("/v3/users", `{"user":{"name":"reader"}}`)
	group := made("/v3/groups", `{"group":{"name":"readers"}}`)
	if response, text := c.do(0, "PUT", "/v3/projects/"+c.founded.ProjectID+"/groups/"+group+"/roles/KMS%20CMKReadOnlyAccess", "", "X-Auth-Token", admin); response.StatusCode != 204 {
		t.Fatalf("%d %s", response.StatusCode, text)
	}
	grouped := func(audience string, groups ...string) string {
		return first.sign(t, claims(func(c map[string]any) { c["sub"], c["aud"], c["groups"] = "reader", audience, groups }))
	}
	for node := range c.nodes {
		f("in a group", node, grouped("groups", "of the issuer's", "readers"), 200)
		f("in none", node, grouped("groups"), 403)
		f("in a group that is not asked about", node, grouped("raftkms", "readers"), 403)
	}

	// The issuer has another key: it is fetched when a token of it comes.
	offered.Store(&jose.JSONWebKeySet{Keys: []jose.JSONWebKey{second.Public()}})
	f("of the issuer's next key", 1, second.sign(t, claims(same)), 200)
	// Made-up keys do not have the issuer asked for each.
	before = fetched.Load()
	for i := range 40 {
		f("made up", 2, newSigningKey(t, "made-up-"+string(rune('a'+i))).sign(t, claims(same)), 401)
	}
	if n := fetched.Load() - before; n > 20 {
		t.Errorf("40 made-up keys had the issuer asked %d times", n)
	}
}

// signingKey is a key of an issuer.
type signingKey struct{ jose.JSONWebKey }

func newSigningKey(t *testing.T, id string) *signingKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return &signingKey{jose.JSONWebKey{Key: key, KeyID: id, Algorithm: "ES256", Use: "sig"}}
}

func (k *signingKey) sign(t *testing.T, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: k.JSONWebKey}, (&jose.SignerOptions{}).WithType("JWT"))
	must(t, err)
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	must(t, err)
	return text
}

// signShared signs with the public key as a shared secret: what a verifier does
// that believes the token about its algorithm.
func (k *signingKey) signShared(t *testing.T, claims map[string]any) string {
	t.Helper()
	public, err := k.Public().MarshalJSON()
	must(t, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: public, KeyID: k.KeyID}}, nil)
	must(t, err)
	text, err := jwt.Signed(signer).Claims(claims).Serialize()
	must(t, err)
	return text
}

// unsigned is a token whose algorithm is none.
func unsigned(t *testing.T, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	must(t, err)
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + encode(payload) + "."
}

// constantly is a change that does not depend on the state.
func constantly(body command.Body) func(*state.Root) (command.Body, error) {
	return func(*state.Root) (command.Body, error) { return body, nil }
}
