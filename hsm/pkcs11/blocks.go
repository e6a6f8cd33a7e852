package pkcs11

import (
	"context"
	"fmt"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/hsm"
)

// encryptBlocks has one encrypt the blocks, as many at a time as the device
// takes. Each piece is a call of its own, so that one that is tried again has
// not been written yet: dst and src may be the same.
func (m *Module) encryptBlocks(ctx context.Context, dst, src []byte, one func(s *session, dst, src []byte) error) error {
	switch {
	case !m.blocksOffered:
		return fmt.Errorf("encrypting blocks: %w: the token has no CKM_AES_ECB", hsm.ErrUnsupported)
	case len(src) == 0 || len(src)%blockSize != 0:
		return fmt.Errorf("encrypting blocks: %d bytes are not whole blocks", len(src))
	case len(dst) != len(src):
		return fmt.Errorf("encrypting blocks: room for %d bytes, input of %d", len(dst), len(src))
	}
	piece := blockSize * m.about.MaxBlocks
	for at := 0; at < len(src); at += piece {
		end := min(at+piece, len(src))
		err := m.dev.call(ctx, m.dev.work, func(s *session) error {
			return one(s, dst[at:end], src[at:end])
		})
		if err != nil {
			return fmt.Errorf("encrypting blocks: %w", err)
		}
	}
	return nil
}

// encrypt is one C_EncryptInit and one C_Encrypt. src is written, where it is
// dst as well, only when the device has succeeded.
func (m *Module) encrypt(s *session, key p11.ObjectHandle, dst, src []byte) error {
	if &dst[0] != &src[0] {
		return m.encryptInto(s, key, dst, src)
	}
	// A device that fails half-way must not have spoilt the input.
	if len(s.scratch) < len(src) {
		s.scratch = make([]byte, len(src))
	}
	out := s.scratch[:len(src)]
	defer clear(out)
	if err := m.encryptInto(s, key, out, src); err != nil {
		return err
	}
	copy(dst, out)
	return nil
}

func (m *Module) encryptInto(s *session, key p11.ObjectHandle, dst, src []byte) error {
	n, err := m.dev.api.EncryptBlocks(s.handle, key, dst, src)
	if err == nil && n != len(src) {
		return fmt.Errorf("%w: CKM_AES_ECB made %d bytes of %d", hsm.ErrUnsupported, n, len(src))
	}
	return err
}
