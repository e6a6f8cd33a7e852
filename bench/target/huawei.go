package target

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/raftkms/raftkms/bench/load"
	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

// SigningAlgorithm is what keys of the spec SigningSpec sign with.
const (
	SigningSpec      = "EC_P256"
	signingAlgorithm = "ECDSA_SHA_256"
)

// preparers is how many requests of a load are prepared at once.
const preparers = 64

// Huawei is a service of the Huawei-style dialect: raftkms or the vendor's.
type Huawei struct {
	client  *client.Client
	cfg     load.PosterConfig
	project string
}

// NewHuawei prepares for a service, with an access key. Close ends it.
func NewHuawei(e Endpoint, project, accessKey, secretKey string) (*Huawei, error) {
	cfg, err := e.poster()
	if err != nil {
		return nil, err
	}
	cfg.AccessKey, cfg.SecretKey = accessKey, secretKey
	c, err := client.New(client.Config{
		Endpoints: e.URLs, CA: e.CA, Certificate: e.Certificate, ProjectID: project,
		AccessKey: accessKey, SecretKey: secretKey, Connections: preparers,
	})
	if err != nil {
		return nil, err
	}
	return &Huawei{client: c, cfg: cfg, project: project}, nil
}

// Client calls the same service.
func (h *Huawei) Client() *client.Client { return h.client }

// Close drops connections.
func (h *Huawei) Close() { h.client.Close() }

// Probe lists one key.
func (h *Huawei) Probe() (load.PosterConfig, bool) {
	cfg := h.cfg
	cfg.Path, cfg.Body = h.path("list-keys"), []byte(`{"limit":"1","key_spec":"ALL"}`)
	return cfg, true
}

func (h *Huawei) path(verb string) string { return "/v1.0/" + h.project + "/kms/" + verb }

// Prepare makes a request for each key.
func (h *Huawei) Prepare(ctx context.Context, w Work) (load.PosterConfig, error) {
	request, err := h.request(w)
	if err != nil {
		return load.PosterConfig{}, err
	}
	cfg := h.cfg
	cfg.Path = h.path(w.Operation)
	cfg.Bodies = make([][]byte, len(w.Keys))
	return cfg, InParallel(ctx, len(w.Keys), func(ctx context.Context, i int) error {
		body, err := request(ctx, w.Keys[i])
		if err != nil {
			return fmt.Errorf("preparing %s: %w", w.Operation, err)
		}
		if cfg.Bodies[i], err = json.Marshal(body); err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
		return nil
	})
}

// request returns what makes the request for a key.
func (h *Huawei) request(w Work) (func(ctx context.Context, key string) (any, error), error) {
	payload := w.payload()
	options := client.DataKeyOptions{Bytes: payload}
	dataKey := func(key string) wire.CreateDataKeyRequest {
		return wire.CreateDataKeyRequest{KeyID: key, DatakeyLength: wire.Int(int64(payload) * 8)}
	}
	text := strings.Repeat("x", payload)
	switch w.Operation {
	case CreateDataKey, CreateDataKeyWithout:
		return func(_ context.Context, key string) (any, error) { return dataKey(key), nil }, nil
	case CreateDataKeys:
		return func(_ context.Context, key string) (any, error) {
			return wire.CreateDataKeysRequest{CreateDataKeyRequest: dataKey(key), Count: wire.Int(int64(w.batch()))}, nil
		}, nil
	case DecryptDataKey:
		return func(ctx context.Context, key string) (any, error) {
			made, err := h.client.CreateDataKeyWithoutPlaintext(ctx, key, options)
			return wire.DecryptDataKeyRequest{KeyID: key, CipherText: made.Ciphertext, DatakeyCipherLength: wire.Int(int64(payload))}, err
		}, nil
	case EncryptData:
		return func(_ context.Context, key string) (any, error) {
			return wire.EncryptDataRequest{KeyID: key, PlainText: wire.Text(text)}, nil
		}, nil
	case DecryptData:
		return func(ctx context.Context, key string) (any, error) {
			made, err := h.client.EncryptData(ctx, key, []byte(text), nil)
			return wire.DecryptDataRequest{CipherText: made}, err
		}, nil
	case Sign:
		return func(_ context.Context, key string) (any, error) {
			return wire.SignRequest{KeyID: key, Message: []byte(text), MessageType: "RAW", SigningAlgorithm: signingAlgorithm}, nil
		}, nil
	}
	return nil, unsupported("a service of the Huawei-style dialect", w.Operation,
		CreateDataKey, CreateDataKeyWithout, CreateDataKeys, DecryptDataKey, EncryptData, DecryptData, Sign)
}

// InParallel calls f for 0 to n-1, some at once, and returns the first error.
func InParallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(n, preparers) {
		all.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}
