package admin

import (
	"context"
	"net/http"

	"github.com/raftkms/raftkms/server/wire"
)

// Providers returns the client CAs and OIDC issuers that are believed about users.
func (s *Socket) Providers(ctx context.Context) (wire.ProvidersReply, error) {
	var reply wire.ProvidersReply
	return reply, s.call(ctx, http.MethodGet, wire.AdminPathProviders, nil, &reply)
}

// AddProvider has a client CA or an OIDC issuer believed.
func (s *Socket) AddProvider(ctx context.Context, p wire.Provider) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathAddProvider, p, nil)
}

// RemoveProvider has it believed no longer. When it returns nil no node takes
// its word any more.
func (s *Socket) RemoveProvider(ctx context.Context, id string) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathRemoveProvider, wire.Provider{ID: id}, nil)
}

// Bind says which user a provider's name is.
func (s *Socket) Bind(ctx context.Context, b wire.Binding) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathBind, b, nil)
}

// Unbind takes that back.
func (s *Socket) Unbind(ctx context.Context, provider, name string) error {
	return s.call(ctx, http.MethodPost, wire.AdminPathUnbind, wire.Binding{Provider: provider, Name: name}, nil)
}
