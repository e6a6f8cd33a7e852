package soft

import (
	"context"

	"github.com/raftkms/raftkms/hsm"
)

// WrapKnown wraps given bytes as Generate wraps drawn ones. Tests alone may
// bring material of their own.
func (m *Module) WrapKnown(ctx context.Context, level hsm.Level, raw []byte) (hsm.Wrapped, error) {
	w := hsm.Wrapped{Level: level, Spec: hsm.SpecAES256}
	err := m.use(ctx, 0, func(s *rootSet) (err error) {
		w.Generation = s.generation
		w.Blob, err = s.wrap(level, raw)
		return err
	})
	return w, err
}
