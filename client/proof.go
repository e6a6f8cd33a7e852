package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/raftkms/raftkms/client/aksk"
)

// proof puts into a request who asks. path and query are those of the request,
// unescaped.
type proof func(ctx context.Context, r *http.Request, path string, query url.Values, body []byte) error

// proof is how calls are authenticated; it refuses none, and more than one.
func (c *Config) proof() (proof, error) {
	signing := c.AccessKey != "" || c.SecretKey != ""
	ways := 0
	for _, way := range []bool{signing, c.Token != nil, c.Bearer != nil} {
		if way {
			ways++
		}
	}
	switch {
	case ways > 1:
		return nil, errors.New("an access key, a token and a bearer token exclude one another: give one of them")
	case signing && (c.AccessKey == "" || c.SecretKey == ""):
		return nil, errors.New("an access key and its secret key go together")
	case signing:
		return signed(aksk.NewSigner(c.AccessKey, c.SecretKey)), nil
	case c.Token != nil:
		return shown(c.Token, "X-Auth-Token", ""), nil
	case c.Bearer != nil:
		return shown(c.Bearer, "Authorization", "Bearer "), nil
	case c.Certificate != nil:
		return func(context.Context, *http.Request, string, url.Values, []byte) error { return nil }, nil
	default:
		return nil, errors.New("an access key with its secret key is needed, or a token, a bearer token or a client certificate")
	}
}

func signed(signer *aksk.Signer) proof {
	return func(_ context.Context, r *http.Request, path string, query url.Values, body []byte) error {
		date := aksk.FormatDate(time.Now())
		r.Header.Set(aksk.DateHeader, date)
		r.Header.Set("Authorization", signer.Authorization(aksk.Request{
			Method: r.Method, Path: path, Query: query, Headers: map[string]string{"host": r.URL.Host}, Body: body, Date: date,
		}))
		return nil
	}
}

func shown(get func(ctx context.Context) (string, error), header, prefix string) proof {
	return func(ctx context.Context, r *http.Request, _ string, _ url.Values, _ []byte) error {
		token, err := get(ctx)
		if err != nil {
			return fmt.Errorf("getting a token: %w", err)
		}
		r.Header.Set(header, prefix+token)
		return nil
	}
}

// tls is how nodes are verified, and what they are shown.
func (c *Config) tls() *tls.Config {
	cfg := &tls.Config{RootCAs: c.CA, MinVersion: tls.VersionTLS12}
	if c.Certificate != nil {
		certificate := *c.Certificate
		// Shown whatever CAs the node names: which one it believes, it finds out.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	return cfg
}
