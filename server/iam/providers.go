package iam

import (
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

const (
	maxChain     = 4  // certificates that a client may send
	maxNames     = 16 // names of a client's certificate that are looked at
	maxCertsKept = 4096
)

// Providers finds the users for whom somebody outside vouches: a client CA by
// a certificate, an OIDC issuer by a bearer token. Whom the cluster believes
// is asked of the state each time; what is kept counts only for the very
// record it was made from. It is safe for concurrent use.
type Providers struct {
	clock   func() time.Time
	proved  *lru.Cache[[sha256.Size]byte, proof] // by leaf
	issuers *issuers
}

// proof is whose CA a chain leads to, and until when all of it is good.
type proof struct {
	provider *state.Provider
	until    time.Time
}

// NewProviders returns a finder. Close it when no request is under way.
func NewProviders(clock func() time.Time) *Providers {
	proved, err := lru.New[[sha256.Size]byte, proof](maxCertsKept)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &Providers{clock: clock, proved: proved, issuers: newIssuers(clock)}
}

// Certificate returns the user of a client's certificate chain.
func (p *Providers) Certificate(root *state.Root, chain []*x509.Certificate) (Principal, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return Principal{}, refuse(reasonCertificate)
	}
	leaf := chain[0]
	signed := p.signer(root, chain)
	provider := signed.provider
	if provider == nil {
		return Principal{}, refuse(reasonCertificate)
	}
	var user *state.User
	for _, name := range names(leaf) {
		found := userOf(root, provider, name.kind+name.value, name.value)
		if found == nil {
			continue
		}
		if user != nil && user != found {
			return Principal{}, refuse(reasonCertificate) // it names two
		}
		user = found
	}
	return p.vouched(root, provider, user, signed.until.UnixMilli(), reasonCertificate)
}

// signer returns the client CA whose certificate the chain leads to, if any.
func (p *Providers) signer(root *state.Root, chain []*x509.Certificate) proof {
	leaf, now := chain[0], p.clock()
	hash := sha256.Sum256(leaf.Raw)
	if kept, ok := p.proved.Get(hash); ok && !now.After(kept.until) {
		if current, ok := root.Provider(kept.provider.ID); ok && current == kept.provider {
			return kept
		}
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	for _, provider := range root.Providers() {
		if provider.Kind != state.ProviderCA {
			continue
		}
		authority, err := x509.ParseCertificate(provider.Certificate)
		if err != nil {
			continue // it was parsed before it got into the state
		}
		roots := x509.NewCertPool()
		roots.AddCert(authority)
		found, err := leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err == nil {
			signed := proof{provider, lasting(found)}
			p.proved.Add(hash, signed)
			return signed
		}
	}
	return proof{}
}

// lasting is until when one of the chains is good: to the end of the certificate
// in it that ends first, be it the CA's.
func lasting(chains [][]*x509.Certificate) (until time.Time) {
	for _, chain := range chains {
		ends := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(ends) {
				ends = c.NotAfter
			}
		}
		if ends.After(until) {
			until = ends
		}
	}
	return until
}

type certName struct{ kind, value string }

// names are the subject's alternative names. The common name says nothing:
// anybody's CA would let anybody choose it.
func names(leaf *x509.Certificate) []certName {
	var all []certName
	for _, u := range leaf.URIs {
		all = append(all, certName{"uri:", u.String()})
	}
	for _, name := range leaf.DNSNames {
		all = append(all, certName{"dns:", name})
	}
	for _, name := range leaf.EmailAddresses {
		all = append(all, certName{"email:", name})
	}
	return all[:min(len(all), maxNames)]
}

// userOf returns which user of the provider's account a name is: by a binding
// or, where the provider goes by names, by the user's own.
func userOf(root *state.Root, provider *state.Provider, bound, name string) *state.User {
	if b, ok := root.Binding(provider.ID, bound); ok {
		user, _ := root.User(b.UserID)
		return user
	}
	if !provider.ByName {
		return nil
	}
	user, _ := root.UserByName(provider.DomainID, name)
	return user
}

// vouched is the principal whom a provider vouches for until an instant.
func (p *Providers) vouched(root *state.Root, provider *state.Provider, user *state.User, expires int64, reason string) (Principal, error) {
	if user == nil {
		return Principal{}, refuse(reason)
	}
	caller := command.Caller{
		Kind: command.CallerUser, UserID: user.ID, Via: command.ViaProvider, CredentialID: provider.ID, Expires: expires,
	}
	if _, _, refusal := fsm.Authenticate(root, caller, max(root.Now(), p.clock().UnixMilli())); refusal != nil {
		return Principal{}, refuse(reason)
	}
	return Principal{
		UserID: user.ID, UserName: user.Name, DomainID: user.DomainID, Via: command.ViaProvider, CredentialID: provider.ID, Expires: expires,
	}, nil
}

// ClientCAs are the certificates of the client CAs that the state believes, in
// DER; a listener asks for client certificates only where there is one.
func ClientCAs(root *state.Root) [][]byte {
	var all [][]byte
	for _, p := range root.Providers() {
		if p.Kind == state.ProviderCA {
			all = append(all, p.Certificate)
		}
	}
	return slices.Clip(all)
}
