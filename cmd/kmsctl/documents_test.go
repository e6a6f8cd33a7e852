package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.yaml.in/yaml/v3"
)

// promises are the documents of commands with -o json as README.md shows them, by
// command: an object is a map of its members, in parentheses those that are
// only there when there is something to say, and … for others; a list has
// the form of its elements; "as COMMAND" is the form of another command's; the rest
// is a text, a number, true or false.
type promises map[string]any

// readPromises takes them from the one block of YAML that begins with a command.
func readPromises(t *testing.T) promises {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```yaml\ncluster init:")
	block, _, ended := strings.Cut(block, "```")
	var p map[string]any
	if err := yaml.Unmarshal([]byte("cluster init:"+block), &p); err != nil || !found || !ended {
		t.Fatalf("README.md shows no documents: %v", err)
	}
	return p
}

// form follows "as COMMAND".
func (p promises) form(promised any) any {
	for {
		text, _ := promised.(string)
		command, same := strings.CutPrefix(text, "as ")
		if !same {
			return promised
		}
		promised = p[command]
	}
}

// check says what of a value is not as promised.
func (p promises) check(at string, promised, got any) error {
	switch promised := p.form(promised).(type) {
	case map[string]any:
		object, is := got.(map[string]any)
		if !is {
			return fmt.Errorf("%s is %v, and no object", at, got)
		}
		var wrong error
		for name := range object {
			if !has(promised, name) && !has(promised, "("+name+")") && !has(promised, "…") {
				wrong = errors.Join(wrong, fmt.Errorf("%s has a member %s", at, name))
			}
		}
		for name, form := range promised {
			name, optional := strings.CutPrefix(name, "(")
			name = strings.TrimSuffix(name, ")")
			if value, there := object[name]; there {
				wrong = errors.Join(wrong, p.check(at+"."+name, form, value))
			} else if !optional && name != "…" {
				wrong = errors.Join(wrong, fmt.Errorf("%s lacks %s", at, name))
			}
		}
		return wrong
	case []any:
		list, is := got.([]any)
		if !is {
			return fmt.Errorf("%s is %v, and no list", at, got)
		}
		var wrong error
		for i, one := range list {
			wrong = errors.Join(wrong, p.check(fmt.Sprintf("%s.%d", at, i), promised[0], one))
		}
		return wrong
	}
	switch got.(type) {
	case string, json.Number, bool:
		return nil
	}
	return fmt.Errorf("%s is %v, and no plain value", at, got)
}

func has(object map[string]any, name string) bool { _, there := object[name]; return there }

// readDocument reads standard output, which is to hold one document and nothing else.
func readDocument(text string) (document any, err error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("standard output is no JSON: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the document")
	}
	return document, nil
}

// at is what a document holds at a place as members.0.id; length is how many there are.
func at(document any, place string) string {
	for _, step := range strings.Split(place, ".") {
		switch in := document.(type) {
		case map[string]any:
			document = in[step]
			if step == "length" {
				document = len(in)
			}
		case []any:
			i, err := strconv.Atoi(step)
			switch {
			case step == "length":
				document = len(in)
			case err != nil || i >= len(in):
				return "nothing"
			default:
				document = in[i]
			}
		default:
			return "nothing"
		}
	}
	return fmt.Sprint(document)
}

// wantDocument (document COMMAND [PLACE=PATTERN]...) wants that the last command
// has printed one JSON document, of the form that README.md shows for COMMAND (- for
// one that it does not show), with these values.
func (p promises) wantDocument(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile("stdout")
	document, err := readDocument(text)
	if err == nil && args[0] != "-" {
		if !has(p, args[0]) {
			ts.Fatalf("README.md shows no document of %s", args[0])
		}
		err = p.check("the document", p[args[0]], document)
	}
	for _, want := range args[1:] {
		place, pattern, _ := strings.Cut(want, "=")
		if got := at(document, place); err == nil && !regexp.MustCompile(`^(?:`+pattern+`)$`).MatchString(got) {
			err = fmt.Errorf("%s is %q, want %s", place, got, pattern)
		}
	}
	if err != nil {
		ts.Fatalf("%v; it printed:\n%s", err, text)
	}
}

// wantRefusal (refused N COMMAND...) wants an exit status, no document, and one
// line that says why.
func wantRefusal(ts *testscript.TestScript, neg bool, args []string) {
	wantStatus(ts, neg, args)
	if out, said := ts.ReadFile("stdout"), ts.ReadFile("stderr"); out != "" || !regexp.MustCompile(`\Akmsctl: .+\n\z`).MatchString(said) {
		ts.Fatalf("%v: no refusal in one line; it printed:\n%s\nand said:\n%s", args[1:], out, said)
	}
}

func TestDocumentsThatAreNotAsPromised(t *testing.T) {
	p := promises{"one": map[string]any{"id": nil, "(due)": nil, "of": []any{"as two"}}, "two": map[string]any{"n": nil, "…": nil}}
	f := func(text, want string) {
		t.Helper()
		document, err := readDocument(text)
		if err == nil {
			err = p.check("it", p["one"], document)
		}
		if got := fmt.Sprint(err); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	f(`{"id": "a", "of": [{"n": 1, "more": {}}], "due": "soon"}`, "<nil>")
	f(`{"id": "a", "of": []}`, "<nil>")
	f(`{"id": "a", "of": null}`, "it.of is <nil>, and no list")
	f(`{"id": "a", "of": [], "new": 1}`, "it has a member new")
	f(`{"of": []}`, "it lacks id")
	f(`{"id": {}, "of": []}`, "it.id is map[], and no plain value")
	f(`{"id": "a", "of": [{"n": 1}, {}]}`, "it.of.1 lacks n")
	f(`[]`, "it is [], and no object")
	f(`{} {}`, "there is something behind the document")
	f(``, "standard output is no JSON: EOF")
}
