package campaign

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/client/aksk"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// How long direct callers wait for an answer. A patient one waits longer than a
// node tries (20 s), so that it hears what the node says then; a hasty one goes
// away while the node still tries.
const (
	patient = 25 * time.Second
	hasty   = time.Second
)

// direct calls one node, once: what it is told is what that node said. (Our
// client asks until it gets an answer, so it cannot tell who said what.)
type direct struct {
	node, url, host, project string
	patience                 time.Duration
	signer                   *aksk.Signer
	http                     *http.Client
	secrets                  *secrets // what it has sent or got in confidence
}

// newDirect makes a caller for node number i of a cluster. dial connects; nil: as
// everybody does.
func newDirect(file *devfile.File, i int, ca *x509.CertPool, patience time.Duration, known *secrets, dial func(ctx context.Context, network, address string) (net.Conn, error)) *direct {
	url := file.Nodes[i].URL
	return &direct{
		patience: patience, secrets: known,
		node: file.Nodes[i].ID, url: url, host: strings.TrimPrefix(url, "https://"), project: file.ProjectID,
		signer: aksk.NewSigner(file.AccessKey, file.SecretKey),
		http: &http.Client{Transport: &http.Transport{
			DialContext:         dial,
			TLSClientConfig:     &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS12},
			MaxIdleConnsPerHost: 64,
			DisableCompression:  true,
		}},
	}
}

func (d *direct) name() string { return d.node }

func (d *direct) close() { d.http.CloseIdleConnections() }

// do asks for one operation and returns how it ended.
func (d *direct) do(ctx context.Context, verb string, request, reply any) verdict {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return verdict{outcome: history.NotDone, err: err}
	}
	path := kmsPath(d, verb)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+path, bytes.NewReader(body))
	if err != nil {
		return verdict{outcome: history.NotDone, err: err}
	}
	date := aksk.FormatDate(time.Now())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(aksk.DateHeader, date)
	r.Header.Set("Authorization", d.signer.Authorization(aksk.Request{
		Method: r.Method, Path: path, Headers: map[string]string{"host": d.host}, Body: body, Date: date,
	}))
	answer, err := d.http.Do(r)
	if err != nil {
		return unanswered(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err == nil && answer.StatusCode == http.StatusOK {
		err = json.Unmarshal(text, reply)
	}
	if err != nil {
		return verdict{outcome: history.Unknown, err: err}
	}
	v := answered(answer.StatusCode, text)
	v.request, v.age = answer.Header.Get("X-Request-Id"), ageOf(answer.Header)
	return v
}

// verdict is how a call ended.
type verdict struct {
	outcome history.Outcome
	code    string
	err     error         // in words
	request string        // the service's id of the request, where its answer came
	age     time.Duration // of the state that the answer is from, as it says; zero: it says nothing
}

// ageOf is how old an answer says that its state is. An age that is none is one that
// nothing allows.
func ageOf(header http.Header) time.Duration {
	text := header.Get(wire.HeaderStateAge)
	if text == "" {
		return 0
	}
	age, err := time.ParseDuration(text)
	if err != nil {
		return math.MaxInt64
	}
	return max(age, 1)
}

// unanswered judges a call without an answer: if no connection was made,
// nothing was sent.
func unanswered(err error) verdict {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return verdict{outcome: history.NotDone, err: err}
	}
	return verdict{outcome: history.Unknown, err: err}
}

// answered judges an answer, as the documentation of the dialect has it: 503
// means that nothing was done, and 408 that not even all of the request was there;
// any other 5xx that nobody knows.
func answered(status int, text []byte) verdict {
	if status == http.StatusOK {
		return verdict{outcome: history.OK}
	}
	var said wire.ErrorReply
	_ = json.Unmarshal(text, &said) // where it says nothing, the status has to
	code, message := said.Error.ErrorCode, said.Error.ErrorMsg
	if code == "" {
		code, message = said.ErrorCode, said.ErrorMsg
	}
	if code == "" {
		code = fmt.Sprintf("HTTP.%d", status)
	}
	v := verdict{outcome: history.Refused, code: code, err: fmt.Errorf("%s: %.200s (status %d)", code, message, status)}
	switch {
	case status == http.StatusServiceUnavailable, status == http.StatusRequestTimeout, history.RefusedForTime(message):
		v.outcome = history.NotDone
	case status >= http.StatusInternalServerError:
		v.outcome = history.Unknown
	}
	return v
}
