package huaweitest

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/errors"

	"github.com/raftkms/raftkms/server/huawei"
)

// Document holds calls against the description of the dialect.
type Document struct {
	t         testing.TB
	validator validator.Validator

	mu   sync.Mutex
	seen map[string]bool // what was answered with a success
}

// NewDocument reads the dialect's description, which must be a valid one.
func NewDocument(t testing.TB) *Document {
	t.Helper()
	document, err := libopenapi.NewDocument(huawei.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if valid, problems := v.ValidateDocument(); !valid {
		t.Fatalf("the document is no OpenAPI 3.1:%s", told(problems))
	}
	return &Document{t: t, validator: v, seen: map[string]bool{}}
}

// Check holds one call against the description: its reply, and what was asked
// if the server took it. What the description does not have must not be there.
func (d *Document) Check(e Exchange) {
	if !d.CheckReply(e) || e.Status/100 != 2 {
		return
	}
	what := e.Request.Method + " " + e.Request.URL.Path
	if valid, problems := d.validator.ValidateHttpRequest(asked(e)); !valid {
		d.t.Errorf("%s: the request was answered with %d, but is not as it is described: %.500s%s", what, e.Status, e.Sent, told(problems))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[what] = true
}

// CheckReply holds the reply of a call against the description, and returns
// whether there is anything at the call's URL.
func (d *Document) CheckReply(e Exchange) bool {
	reply := func() *http.Response {
		return &http.Response{StatusCode: e.Status, Header: e.Header, Body: io.NopCloser(bytes.NewReader(e.Reply)), Request: e.Request}
	}
	what := e.Request.Method + " " + e.Request.URL.Path
	if e.Status == http.StatusNotFound && bytes.Contains(e.Reply, []byte("KMS.0201")) {
		if valid, _ := d.validator.ValidateHttpResponse(asked(e), reply()); valid {
			d.t.Errorf("%s is described, but there is nothing", what)
		}
		return false
	}
	if valid, problems := d.validator.ValidateHttpResponse(asked(e), reply()); !valid {
		d.t.Errorf("%s: the reply is not as it is described: %d %.500s%s", what, e.Status, e.Reply, told(problems))
	}
	if e.Header.Get("X-Request-Id") == "" {
		d.t.Errorf("%s: a reply without X-Request-Id", what)
	}
	return true
}

// Answered are the methods and paths of the calls that were answered with a
// success, sorted.
func (d *Document) Answered() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.seen))
}

// asked is the request of a call, to be read once.
func asked(e Exchange) *http.Request {
	r := e.Request.Clone(e.Request.Context())
	r.Body = io.NopCloser(bytes.NewReader(e.Sent))
	return r
}

func told(problems []*errors.ValidationError) string {
	var all strings.Builder
	for _, p := range problems {
		all.WriteString("\n  " + p.Message + ": " + p.Reason)
		for _, s := range p.SchemaValidationErrors {
			all.WriteString("\n    " + s.KeywordLocation + ": " + s.Reason)
		}
	}
	return all.String()
}
