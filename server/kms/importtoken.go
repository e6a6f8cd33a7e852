package kms

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/hsm"
)

// The numbers of the wrapping algorithms in tokens.
const (
	wrapOAEPSHA256 byte = 1
	wrapOAEPSHA1   byte = 2
	wrapPKCS1      byte = 3
)

func wrappingNumber(algorithm string) (number byte, known bool) {
	switch algorithm {
	case WrapOAEPSHA256:
		return wrapOAEPSHA256, true
	case WrapOAEPSHA1:
		return wrapOAEPSHA1, true
	case WrapPKCS1:
		return wrapPKCS1, true
	default:
		return 0, false
	}
}

// importToken is what a token says. Outside it is
//
//	version(1)=1 id(16) key id(16) expires(8) algorithm(1) zeros(80) MAC(32)
//
// where the zeros give it the size that clients check for, and the MAC is made
// with the module's key for records.
type importToken struct {
	id, key   uuid.UUID
	expires   int64 // Unix milliseconds
	algorithm byte
}

const (
	tokenFormat  = 1
	tokenPadding = 80
	tokenBody    = 1 + 16 + 16 + 8 + 1 + tokenPadding
	tokenSize    = tokenBody + 32
)

// domain begins what is authenticated, in the form of hsm.Binding, so that a MAC
// for one duty never serves another.
func domain(name string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name...)
}

func (t importToken) body() []byte {
	b := append([]byte{tokenFormat}, t.id[:]...)
	b = append(b, t.key[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.expires))
	b = append(b, t.algorithm)
	return append(b, make([]byte, tokenPadding)...)
}

// parseToken reads the body of a token; what is in it is proved by its MAC only.
func parseToken(b []byte) (importToken, bool) {
	if len(b) != tokenSize || b[0] != tokenFormat {
		return importToken{}, false
	}
	return importToken{
		id: uuid.UUID(b[1:17]), key: uuid.UUID(b[17:33]), expires: int64(binary.BigEndian.Uint64(b[33:41])), algorithm: b[41],
	}, true
}

// sealToken has the module, with a generation of its roots, vouch for a token.
func sealToken(ctx context.Context, module hsm.Module, t importToken) ([]byte, error) {
	body := t.body()
	mac, err := module.MAC(ctx, append(domain("raftkms import token v1"), body...))
	if err != nil {
		return nil, moduleError("sealing the import token", err)
	}
	return append(body, mac...), nil
}

func (s *Service) openToken(ctx context.Context, sealed []byte) (importToken, error) {
	t, ok := parseToken(sealed)
	if !ok {
		return t, errToken(nil)
	}
	err := s.module.VerifyMAC(ctx, append(domain("raftkms import token v1"), sealed[:tokenBody]...), sealed[tokenBody:])
	switch {
	case errors.Is(err, hsm.ErrMAC):
		return t, errToken(err)
	case err != nil:
		return t, moduleError("opening the import token", err)
	}
	return t, nil
}

func errToken(cause error) error {
	return &Error{Kind: KindImportToken, Message: "the import token is not one of this service, or it was altered", Err: cause}
}
