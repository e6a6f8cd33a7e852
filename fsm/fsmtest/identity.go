package fsmtest

import (
	"encoding/hex"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
)

// Bodies about how users prove who they are.

// PasswordHash has the form of a hash of a password.
const PasswordHash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"

// APITokenID returns the id of a token by a name for it.
func APITokenID(name string) string { return hex.EncodeToString(Fingerprint("token " + name)[:16]) }

// RevokeToken is the body that revokes the administrator's token of that name,
// which would have ended an hour after bootstrap.
func RevokeToken(name string) command.RevokeToken {
	return command.RevokeToken{TokenID: APITokenID(name), UserID: UserID, Expires: Start + 3_600_000}
}

// AddCA is the body that has a client CA believed.
func AddCA(name string) command.AddProvider {
	return command.AddProvider{ID: name, Kind: state.ProviderCA, DomainID: DomainID, Certificate: []byte("certificate of " + name)}
}

// AddIssuer is the body that has an OIDC issuer believed.
func AddIssuer(name string) command.AddProvider {
	return command.AddProvider{
		ID: name, Kind: state.ProviderOIDC, DomainID: DomainID, ByName: true, Issuer: "https://" + name + ".test",
		Audience: "raftkms", UserClaim: "sub", KeySet: []byte(`{"keys":[]}`),
	}
}
