package export

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/raftkms/raftkms/server/audit"
)

// poster posts bodies to one URL.
type poster struct {
	cfg    Config
	client *http.Client
}

func (p *poster) reopen() {}

func (p *poster) close() {
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
}

// post sends a body and returns what was answered. Redirects are not followed:
// a signature, and a credential, are for one place.
func (p *poster) post(ctx context.Context, body []byte, header http.Header) (answer []byte, err error) {
	if p.client == nil {
		t, err := p.cfg.tls("")
		if err != nil {
			return nil, err
		}
		p.client = &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{TLSClientConfig: t, Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = header
	r.Header.Set("User-Agent", "raftkms")
	if p.cfg.Authorization != nil {
		value, err := p.cfg.Authorization()
		if err != nil {
			return nil, fmt.Errorf("authorization_file: %w", err)
		}
		r.Header.Set("Authorization", string(value))
		clear(value)
	}
	a, err := p.client.Do(r)
	if err != nil {
		p.close()
		p.client = nil // certificates may have been replaced
		if broken, is := errors.AsType[*url.Error](err); is {
			err = broken.Err // the URL is said by its name
		}
		return nil, err
	}
	defer a.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(a.Body, 64<<10))
	switch {
	case a.StatusCode >= 200 && a.StatusCode < 300:
		return answer, err
	case a.StatusCode == http.StatusRequestEntityTooLarge:
		return nil, tooLarge{fmt.Errorf("status %d", a.StatusCode)}
	}
	refused := fmt.Errorf("status %d", a.StatusCode) // what it says may quote what it was sent
	if seconds, err := strconv.Atoi(a.Header.Get("Retry-After")); err == nil && seconds > 0 {
		return nil, &laterError{refused, time.Duration(seconds) * time.Second}
	}
	return nil, refused
}

// webhook posts batches of lines as they are in the log, signed as Standard
// Webhooks says: the message id is the same however often a batch is sent.
type webhook struct {
	poster
	nodeID string
}

func newWebhook(c Config, nodeID string) *webhook { return &webhook{poster{cfg: c}, nodeID} }

func (w *webhook) send(ctx context.Context, batch []audit.Line) error {
	body := appendLines(nil, batch)
	id := fmt.Sprintf("%s.%d.%d", w.nodeID, batch[0].Sequence, batch[len(batch)-1].Sequence)
	now := strconv.FormatInt(time.Now().Unix(), 10)
	header := http.Header{
		"Content-Type": {"application/x-ndjson"}, "Webhook-Id": {id}, "Webhook-Timestamp": {now}, "X-Raftkms-Node": {w.nodeID},
	}
	if w.cfg.Secret != nil {
		secret, err := w.cfg.Secret()
		if err != nil {
			return fmt.Errorf("secret_file: %w", err)
		}
		header.Set("Webhook-Signature", "v1,"+signature(secret, id, now, body))
		clear(secret)
	}
	_, err := w.post(ctx, body, header)
	if err != nil {
		return fmt.Errorf("posting traces: %w", err)
	}
	return nil
}

// signature is HMAC-SHA-256 over id, time and body, in base64. A secret that
// begins with whsec_ is base64, too.
func signature(secret []byte, id, now string, body []byte) string {
	if text, is := strings.CutPrefix(string(secret), "whsec_"); is {
		if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
			secret = decoded
		}
	}
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.", id, now)
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
