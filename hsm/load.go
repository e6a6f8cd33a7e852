package hsm

import (
	"context"
	"errors"
	"fmt"
)

// LoadKey is [Module.Load] for what is wanted as a [Key].
func LoadKey(ctx context.Context, m Module, w Wrapped) (Key, error) {
	loaded, err := m.Load(ctx, w)
	if err != nil {
		return nil, err
	}
	key, is := loaded.(Key)
	if !is {
		return nil, errors.Join(fmt.Errorf("loading a key: a %s key encrypts no blocks: %w", w.Spec, ErrUnsupported), loaded.Close())
	}
	return key, nil
}
