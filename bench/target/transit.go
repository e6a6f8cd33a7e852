package target

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/raftkms/raftkms/bench/load"
)

// Transit is the transit secrets engine of Vault or OpenBao.
type Transit struct {
	cfg   load.PosterConfig
	mount string
}

// NewTransit prepares for an engine mounted at mount (empty: transit), with a
// token.
func NewTransit(e Endpoint, mount, token string) (*Transit, error) {
	cfg, err := e.poster()
	if err != nil {
		return nil, err
	}
	if mount == "" {
		mount = "transit"
	}
	cfg.Prove = func(load.Outgoing) (map[string]string, error) {
		return map[string]string{"X-Vault-Token": token}, nil
	}
	return &Transit{cfg: cfg, mount: strings.Trim(mount, "/")}, nil
}

// Probe has no request but the load's.
func (t *Transit) Probe() (load.PosterConfig, bool) { return load.PosterConfig{}, false }

// Prepare makes a request for each key: datakey with its plaintext, or wrapped
// alone. The engine makes data keys of 16, 32 and 64 bytes.
func (t *Transit) Prepare(_ context.Context, w Work) (load.PosterConfig, error) {
	form := map[string]string{CreateDataKey: "plaintext", CreateDataKeyWithout: "wrapped"}[w.Operation]
	switch p := w.payload(); {
	case form == "":
		return load.PosterConfig{}, unsupported("transit", w.Operation, CreateDataKey, CreateDataKeyWithout)
	case p != 16 && p != 32 && p != 64:
		return load.PosterConfig{}, fmt.Errorf("transit makes data keys of 16, 32 or 64 bytes, not of %d", p)
	}
	body, err := json.Marshal(struct {
		Bits int `json:"bits"`
	}{8 * w.payload()})
	if err != nil {
		return load.PosterConfig{}, fmt.Errorf("encoding the request: %w", err)
	}
	cfg := t.cfg
	for _, key := range w.Keys {
		cfg.Paths = append(cfg.Paths, "/v1/"+t.mount+"/datakey/"+form+"/"+url.PathEscape(key))
		cfg.Bodies = append(cfg.Bodies, body)
	}
	return cfg, nil
}
