package target

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/raftkms/raftkms/bench/load"
)

// AWS is a service of the AWS style: JSON 1.1 over POST, signed by Signature
// Version 4.
type AWS struct {
	cfg    load.PosterConfig
	region string
	signer *v4.Signer
	who    aws.Credentials
}

// AWSCredentials say who calls. SessionToken is empty for long-term ones.
type AWSCredentials struct{ AccessKey, SecretKey, SessionToken string }

// NewAWS prepares for a service in a region.
func NewAWS(e Endpoint, region string, c AWSCredentials) (*AWS, error) {
	cfg, err := e.poster()
	if err != nil {
		return nil, err
	}
	a := &AWS{cfg: cfg, region: region, signer: v4.NewSigner(), who: aws.Credentials{
		AccessKeyID: c.AccessKey, SecretAccessKey: c.SecretKey, SessionToken: c.SessionToken,
	}}
	a.cfg.Prove = a.prove
	return a, nil
}

// Probe has no request but the load's.
func (a *AWS) Probe() (load.PosterConfig, bool) { return load.PosterConfig{}, false }

// Prepare makes a request for each key: GenerateDataKey, or the one of that
// name without the plaintext.
func (a *AWS) Prepare(_ context.Context, w Work) (load.PosterConfig, error) {
	action := map[string]string{CreateDataKey: "GenerateDataKey", CreateDataKeyWithout: "GenerateDataKeyWithoutPlaintext"}[w.Operation]
	if action == "" {
		return load.PosterConfig{}, unsupported("an AWS-style service", w.Operation, CreateDataKey, CreateDataKeyWithout)
	}
	cfg := a.cfg
	cfg.Path = "/"
	cfg.Header = map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService." + action}
	for _, key := range w.Keys {
		body, err := json.Marshal(struct {
			KeyID         string `json:"KeyId"`
			NumberOfBytes int
		}{key, w.payload()})
		if err != nil {
			return load.PosterConfig{}, fmt.Errorf("encoding the request: %w", err)
		}
		cfg.Bodies = append(cfg.Bodies, body)
	}
	return cfg, nil
}

// prove signs with the vendor's own signer.
func (a *AWS) prove(r load.Outgoing) (map[string]string, error) {
	request, err := http.NewRequest(r.Method, "https://"+r.Host+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	for name, value := range r.Header {
		request.Header.Set(name, value)
	}
	hash := sha256.Sum256(r.Body)
	if err := a.signer.SignHTTP(context.Background(), a.who, request, hex.EncodeToString(hash[:]), "kms", a.region, r.At); err != nil {
		return nil, err
	}
	proof := make(map[string]string)
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
		if value := request.Header.Get(name); value != "" {
			proof[name] = value
		}
	}
	return proof, nil
}
