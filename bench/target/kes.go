package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/raftkms/raftkms/bench/load"
)

// KES is MinIO's key encryption service, whose callers prove who they are by a
// client certificate.
type KES struct{ cfg load.PosterConfig }

// NewKES prepares for a service.
func NewKES(e Endpoint) (*KES, error) {
	cfg, err := e.poster()
	if err != nil {
		return nil, err
	}
	if e.Certificate == nil {
		return nil, errors.New("KES knows its callers by a client certificate: give --certificate-file and --certificate-key-file")
	}
	cfg.Method = http.MethodPut
	cfg.Prove = func(load.Outgoing) (map[string]string, error) { return nil, nil }
	return &KES{cfg}, nil
}

// Probe has no request but the load's.
func (k *KES) Probe() (load.PosterConfig, bool) { return load.PosterConfig{}, false }

// Prepare makes a request for each key. The data keys have 32 bytes.
func (k *KES) Prepare(_ context.Context, w Work) (load.PosterConfig, error) {
	if w.Operation != CreateDataKey {
		return load.PosterConfig{}, unsupported("KES", w.Operation, CreateDataKey)
	}
	if w.payload() != 32 {
		return load.PosterConfig{}, fmt.Errorf("KES makes data keys of 32 bytes, not of %d", w.payload())
	}
	cfg := k.cfg
	for _, key := range w.Keys {
		cfg.Paths = append(cfg.Paths, "/v1/key/generate/"+url.PathEscape(key))
		cfg.Bodies = append(cfg.Bodies, []byte("{}"))
	}
	return cfg, nil
}
