package iam

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/time/rate"

	"github.com/raftkms/raftkms/fsm/state"
)

const (
	maxBearer     = 8 << 10          // bytes of a bearer token
	maxIssuerBody = 1 << 20          // bytes of what an issuer answers
	issuerTimeout = 5 * time.Second  // one question to an issuer
	issuerPause   = 10 * time.Second // after an issuer that did not answer
	issuerFresh   = 15 * time.Minute // what an issuer said of its keys is asked again after that
	issuerUsable  = 24 * time.Hour   // and is worth nothing after that, where it does not answer
	nbfLeeway     = time.Minute
	maxGroupNames = 256 // of a token
	maxGroups     = 32  // of them that are groups here, as many as a user may be in
	fetchRate     = 0.2 // questions a second to issuers
	fetchBurst    = 8
)

// algorithms are those by which a bearer token may be signed: none with a
// shared secret, and never "none".
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA}

// issuers keeps a verifier an issuer.
type issuers struct {
	clock func() time.Time
	http  *http.Client

	mu   sync.Mutex
	kept map[string]*issuer // by the provider's name
}

// issuer is a verifier, made from one record.
type issuer struct {
	record *state.Provider
	http   *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	asked    time.Time // when the issuer's word was last had
	asking   bool      // somebody asks again, while others go by what there is
	retry    time.Time // not asked again before
}

func newIssuers(clock func() time.Time) *issuers {
	return &issuers{
		clock: clock, kept: make(map[string]*issuer),
		http: newIssuerClient(http.DefaultTransport),
	}
}

func newIssuerClient(over http.RoundTripper) *http.Client {
	return &http.Client{Timeout: issuerTimeout, Transport: &bounded{over, rate.NewLimiter(fetchRate, fetchBurst)}, CheckRedirect: refuseRedirect}
}

// clientFor asks an issuer whose own certificate is of a CA that the system
// does not know.
func clientFor(ca []byte) (*http.Client, error) {
	authority, err := x509.ParseCertificate(ca)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of the issuer's CA: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport.DisableKeepAlives = true // it is asked once in a long while, and then nobody closes it
	return newIssuerClient(transport), nil
}

func refuseRedirect(*http.Request, []*http.Request) error {
	return errors.New("an issuer's redirect is not followed")
}

// bounded cuts off an answer that is too long, and does not let whoever makes
// up tokens, of keys that nobody knows, have an issuer asked all the time.
type bounded struct {
	http.RoundTripper
	pace *rate.Limiter
}

// RoundTrip implements [http.RoundTripper].
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !b.pace.Allow() {
		return nil, errors.New("the issuer is asked too often")
	}
	response, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, maxIssuerBody), response.Body}
	}
	return response, err
}

// Bearer returns the user of an issuer's bearer token (a JWT).
func (p *Providers) Bearer(ctx context.Context, root *state.Root, text []byte) (Principal, error) {
	claimed, ok := claimedIssuer(text)
	if !ok {
		return Principal{}, refuse(reasonBearer)
	}
	for _, provider := range root.Providers() {
		if provider.Kind != state.ProviderOIDC || provider.Issuer != claimed {
			continue
		}
		verifier, err := p.issuers.verifier(ctx, provider)
		if err != nil {
			return Principal{}, err
		}
		token, err := verifier.Verify(ctx, string(text))
		if err != nil {
			continue // an issuer may be there once for each audience
		}
		claims := map[string]json.RawMessage{}
		if token.Claims(&claims) != nil {
			return Principal{}, refuse(reasonBearer)
		}
		name, ok := userName(claims, provider.UserClaim, p.clock())
		if !ok {
			return Principal{}, refuse(reasonBearer)
		}
		who, err := p.vouched(root, provider, userOf(root, provider, name, name), token.Expiry.UnixMilli(), reasonBearer)
		if err == nil && provider.GroupsClaim != "" {
			if who.Groups, ok = groupsOf(root, provider, claims[provider.GroupsClaim]); !ok {
				return Principal{}, refuse(reasonBearer)
			}
		}
		return who, err
	}
	return Principal{}, refuse(reasonBearer)
}

// claimedIssuer reads who is said to have issued a token, to know whom to ask.
func claimedIssuer(text []byte) (string, bool) {
	if len(text) > maxBearer || bytes.Count(text, []byte(".")) != 2 {
		return "", false
	}
	_, rest, _ := bytes.Cut(text, []byte("."))
	payload, _, _ := bytes.Cut(rest, []byte("."))
	raw, err := base64.RawURLEncoding.DecodeString(string(payload))
	if err != nil {
		return "", false
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(raw, &claims) != nil || claims.Issuer == "" {
		return "", false
	}
	return claims.Issuer, true
}

// userName is the text of the user claim, if the token counts already.
func userName(claims map[string]json.RawMessage, claim string, now time.Time) (string, bool) {
	if raw, ok := claims["nbf"]; ok {
		var notBefore float64
		if json.Unmarshal(raw, &notBefore) != nil || notBefore > float64(now.Add(nbfLeeway).Unix()) {
			return "", false
		}
	}
	var name string
	if json.Unmarshal(claims[claim], &name) != nil || name == "" {
		return "", false
	}
	return name, true
}

// groupsOf returns the ids of the groups of the provider's account that a claim
// names, one name or a list of them, one id behind the other in their order.
// What is no group's name is passed over: an issuer has groups that mean nothing
// here. A claim that cannot be read, or that names more than are looked at, is
// not ok: a group that denies might be among what would be passed over.
func groupsOf(root *state.Root, provider *state.Provider, claim json.RawMessage) (ids string, ok bool) {
	var names []string
	if len(claim) > 0 && json.Unmarshal(claim, &names) != nil {
		var one string
		if json.Unmarshal(claim, &one) != nil {
			return "", false
		}
		names = []string{one}
	}
	if len(names) > maxGroupNames {
		return "", false
	}
	var found []string
	for _, name := range names {
		if group, ok := root.GroupByName(provider.DomainID, name); ok {
			found = append(found, group.ID)
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return strings.Join(found, ""), len(found) <= maxGroups
}

// verifier returns what checks the tokens of an issuer. An issuer whose keys
// are not in the state is asked for them, once for all who wait.
func (s *issuers) verifier(ctx context.Context, provider *state.Provider) (*oidc.IDTokenVerifier, error) {
	s.mu.Lock()
	one := s.kept[provider.ID]
	if one == nil || one.record != provider {
		one = &issuer{record: provider, http: s.http}
		if len(provider.Certificate) > 0 {
			own, err := clientFor(provider.Certificate)
			if err != nil {
				s.mu.Unlock()
				return nil, err
			}
			one.http = own
		}
		s.kept[provider.ID] = one
	}
	s.mu.Unlock()

	return one.current(ctx, s.clock)
}

// current returns the verifier. What an issuer has withdrawn is believed no
// longer than issuerFresh, but for an issuer that does not answer, whose last word
// counts for issuerUsable.
func (i *issuer) current(ctx context.Context, clock func() time.Time) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now, config := clock(), &oidc.Config{ClientID: i.record.Audience, SupportedSigningAlgs: algorithms, Now: clock}
	if len(i.record.KeySet) > 0 {
		if i.verifier == nil {
			keys, err := ParseKeySet(i.record.KeySet)
			if err != nil {
				return nil, err
			}
			i.verifier = oidc.NewVerifier(i.record.Issuer, &oidc.StaticKeySet{PublicKeys: keys}, config)
		}
		return i.verifier, nil
	}
	if i.verifier != nil && now.Sub(i.asked) >= issuerUsable {
		i.verifier = nil
	}
	known := i.verifier
	switch {
	case known != nil && (now.Sub(i.asked) < issuerFresh || i.asking || now.Before(i.retry)):
		return known, nil
	case known == nil && now.Before(i.retry):
		return nil, fmt.Errorf("the OIDC issuer %s did not answer: %w", i.record.ID, context.DeadlineExceeded)
	}
	if known != nil { // others need not wait
		i.asking = true
		i.mu.Unlock()
	}
	// The issuer's keys are fetched again, when they change, under the same
	// client but not under this request's context.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), i.http), i.record.Issuer)
	if known != nil {
		i.mu.Lock()
		i.asking = false
	}
	switch {
	case err == nil:
		i.verifier, i.asked = found.Verifier(config), now
		return i.verifier, nil
	case known != nil:
		i.retry = clock().Add(issuerPause)
		return known, nil
	default:
		i.retry = clock().Add(issuerPause)
		return nil, fmt.Errorf("asking the OIDC issuer %s for its keys: %w", i.record.ID, errors.Join(err, context.DeadlineExceeded))
	}
}

// ParseKeySet reads a JWKS document of public keys for signatures.
func ParseKeySet(document []byte) ([]crypto.PublicKey, error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, fmt.Errorf("reading a JWKS document: %w", err)
	}
	var keys []crypto.PublicKey
	for _, k := range set.Keys {
		if !k.Valid() || !k.IsPublic() {
			return nil, errors.New("reading a JWKS document: it holds a key that is no public key")
		}
		keys = append(keys, k.Key)
	}
	if len(keys) == 0 {
		return nil, errors.New("reading a JWKS document: it holds no key")
	}
	return keys, nil
}
