package server

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/wire"
)

// handleProviders has the admin socket say who outside is believed about users.
func (s *Server) handleProviders(mux *http.ServeMux) {
	mux.HandleFunc("GET "+wire.AdminPathProviders, func(w http.ResponseWriter, r *http.Request) {
		reply, err := s.listProviders(r.Context())
		writeAdmin(w, reply, err)
	})
	handleAdmin(mux, wire.AdminPathAddProvider, func(ctx context.Context, req wire.Provider) (struct{}, error) {
		return struct{}{}, s.changeProviders(ctx, func(root *state.Root) (command.Body, error) { return addProvider(root, req) })
	})
	handleAdmin(mux, wire.AdminPathRemoveProvider, func(ctx context.Context, req wire.Provider) (struct{}, error) {
		return struct{}{}, s.changeProviders(ctx, func(*state.Root) (command.Body, error) { return command.RemoveProvider{ID: req.ID}, nil })
	})
	handleAdmin(mux, wire.AdminPathBind, func(ctx context.Context, req wire.Binding) (struct{}, error) {
		return struct{}{}, s.changeProviders(ctx, func(root *state.Root) (command.Body, error) { return bindIdentity(root, req) })
	})
	handleAdmin(mux, wire.AdminPathUnbind, func(ctx context.Context, req wire.Binding) (struct{}, error) {
		return struct{}{}, s.changeProviders(ctx, func(*state.Root) (command.Body, error) {
			return command.UnbindIdentity{ProviderID: req.Provider, Name: req.Name}, nil
		})
	})
}

// changeProviders makes a change that is made of the state as it is now.
func (s *Server) changeProviders(ctx context.Context, body func(root *state.Root) (command.Body, error)) error {
	m := s.member.Load()
	if m == nil {
		return errNoCluster
	}
	return m.service.ChangeProviders(ctx, uuid.NewString(), body)
}

func addProvider(root *state.Root, req wire.Provider) (command.Body, error) {
	domain, ok := root.DomainByName(req.Domain)
	if !ok {
		return nil, fmt.Errorf("there is no account %q", req.Domain)
	}
	b := command.AddProvider{ID: req.ID, DomainID: domain.ID, ByName: req.ByName}
	switch req.Kind {
	case wire.ProviderClientCA:
		authority, err := parseCA(req.Certificate)
		if err != nil {
			return nil, err
		}
		b.Kind, b.Certificate = state.ProviderCA, authority
	case wire.ProviderOIDC:
		if u, err := url.Parse(req.Issuer); err != nil || u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("the issuer %q is not an https URL", req.Issuer)
		}
		if req.Certificate != "" {
			authority, err := parseCA(req.Certificate)
			if err != nil {
				return nil, err
			}
			b.Certificate = authority
		}
		if req.KeySet != "" {
			if _, err := iam.ParseKeySet([]byte(req.KeySet)); err != nil {
				return nil, err
			}
		}
		b.Kind, b.Issuer, b.Audience, b.UserClaim, b.GroupsClaim, b.KeySet = state.ProviderOIDC, req.Issuer, req.Audience, req.UserClaim, req.GroupsClaim, []byte(req.KeySet)
	default:
		return nil, fmt.Errorf("the kind %q is neither %s nor %s", req.Kind, wire.ProviderClientCA, wire.ProviderOIDC)
	}
	return b, nil
}

// parseCA reads one certificate of a CA in PEM.
func parseCA(text string) (der []byte, err error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		return nil, errors.New("the CA is not one certificate in PEM")
	}
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading the CA's certificate: %w", err)
	}
	if !authority.IsCA {
		return nil, errors.New("the certificate is not a CA's")
	}
	return block.Bytes, nil
}

func bindIdentity(root *state.Root, req wire.Binding) (command.Body, error) {
	p, ok := root.Provider(req.Provider)
	if !ok {
		return nil, fmt.Errorf("there is no client CA or OIDC issuer %q", req.Provider)
	}
	user, ok := root.UserByName(p.DomainID, req.User)
	if !ok {
		return nil, fmt.Errorf("the account has no user %q", req.User)
	}
	return command.BindIdentity{ProviderID: p.ID, Name: req.Name, UserID: user.ID}, nil
}

// listProviders says whom the cluster believes at this moment: a list on which
// a removed one still stands would be worse than none, and one without it while a
// node still lets its bearers in.
func (s *Server) listProviders(ctx context.Context) (*wire.ProvidersReply, error) {
	m := s.member.Load()
	if m == nil {
		return nil, errNoCluster
	}
	root, err := m.service.Settled(ctx)
	if err != nil {
		return nil, err
	}
	reply := &wire.ProvidersReply{Providers: []wire.Provider{}}
	for _, p := range root.Providers() {
		one := wire.Provider{
			ID: p.ID, Kind: wire.ProviderOIDC, ByName: p.ByName, Issuer: p.Issuer, Audience: p.Audience, UserClaim: p.UserClaim, GroupsClaim: p.GroupsClaim, KeySet: string(p.KeySet),
		}
		if p.Kind == state.ProviderCA {
			one.Kind = wire.ProviderClientCA
		}
		if len(p.Certificate) > 0 {
			one.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate}))
		}
		if domain, ok := root.Domain(p.DomainID); ok {
			one.Domain = domain.Name
		}
		for _, b := range root.Bindings(p.ID) {
			bound := wire.Binding{Provider: p.ID, Name: b.Name}
			if user, ok := root.User(b.UserID); ok {
				bound.User = user.Name
			}
			one.Bindings = append(one.Bindings, bound)
		}
		reply.Providers = append(reply.Providers, one)
	}
	return reply, nil
}
