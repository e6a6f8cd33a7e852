package huawei

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Every error that the service knows has a status, a code and words in the
// dialect, and every error answer that is written has the nested form of the
// vendor and the flat one beside it, which say the same.
func TestEveryErrorIsNestedAndFlat(t *testing.T) {
	kinds := kindsOfErrors(t)
	if len(kinds) != len(answers) {
		t.Errorf("there are %d kinds of errors and answers to %d: %v", len(kinds), len(answers), kinds)
	}
	const requestID = "919c82d4-8046-4722-9094-35c3c6524cff"
	codes := regexp.MustCompile(`^(KMS\.[0-9]{4}|APIGW\.0301)$`)
	f := func(what string, write func(rc *fasthttp.RequestCtx)) {
		t.Helper()
		var rc fasthttp.RequestCtx
		write(&rc)
		var e struct {
			Error *struct {
				Code    string `json:"error_code"`
				Message string `json:"error_msg"`
			} `json:"error"`
			Code      string `json:"error_code"`
			Message   string `json:"error_msg"`
			RequestID string `json:"request_id"`
		}
		strict := json.NewDecoder(bytes.NewReader(rc.Response.Body()))
		strict.DisallowUnknownFields()
		if err := strict.Decode(&e); err != nil || e.Error == nil {
			t.Errorf("%s: %s: %v", what, rc.Response.Body(), err)
			return
		}
		if e.Error.Code != e.Code || e.Error.Message != e.Message || !codes.MatchString(e.Code) || e.Message == "" || e.RequestID == "" {
			t.Errorf("%s: %s", what, rc.Response.Body())
		}
		status := rc.Response.StatusCode()
		if status < 400 || status > 599 || status == 429 || (status == 401) != (e.Code == codeGateway) || e.Code == "KMS.0207" && status != 404 {
			t.Errorf("%s: %d %s", what, status, e.Code)
		}
		if string(rc.Response.Header.ContentType()) != "application/json" || (status == 503) != (len(rc.Response.Header.Peek("Retry-After")) > 0) {
			t.Errorf("%s: %s", what, rc.Response.Header.String())
		}
	}
	said := map[string]error{
		"a member": invalid("key_id", "is wrong"), "what is missing": missing("key_id"), "syntax": wire.ErrSyntax, "the door": &iam.Error{}, "too often": iam.ErrThrottled,
		"what nobody foresaw": errors.New("\"quoted\"\n and \x00"),
	}
	for kind := range kms.Kind(len(kinds)) {
		if _, known := answers[kind]; !known {
			t.Errorf("there is no answer to %s", kinds[kind])
		}
		said[kinds[kind]] = kms.Refuse(kind, "")
		said[kinds[kind]+" with words"] = kms.Refuse(kind, "about \"this\" and é")
	}
	for what, err := range said {
		for _, e := range []Endpoint{DescribeKey, EnableKey, CreateDataKey, ImportKeyMaterial, BatchTags, SetUserQuotas} {
			f(what, func(rc *fasthttp.RequestCtx) { writeAnswer(rc, requestID, e.answerTo(err)) })
		}
	}
	for what, write := range map[string]func(*fasthttp.RequestCtx, string){
		"no such URL": WriteNotFound, "no such method": WriteMethodNotAllowed, "too long": WriteTooLarge, "throttled": WriteThrottled, "a panic": WriteInternal,
	} {
		f(what, func(rc *fasthttp.RequestCtx) { write(rc, requestID) })
	}
	for _, err := range []error{fasthttp.ErrBodyTooLarge, &fasthttp.ErrSmallBuffer{}, errors.New("no HTTP")} {
		f("the protocol", func(rc *fasthttp.RequestCtx) { WriteProtocolError(rc, err) })
	}
}

// kindsOfErrors reads the names of all kinds from where they are declared.
func kindsOfErrors(t *testing.T) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../kms/errors.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		constants, ok := d.(*ast.GenDecl)
		if !ok || constants.Tok != token.CONST {
			continue
		}
		for _, s := range constants.Specs {
			for _, name := range s.(*ast.ValueSpec).Names {
				if strings.HasPrefix(name.Name, "Kind") {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}
