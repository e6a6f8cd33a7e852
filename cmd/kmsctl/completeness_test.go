package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/client"
)

// unoffered are the calls of the client that no command makes, and why.
var unoffered = map[string]string{
	"CountKeys":        "quota get shows it, and find --count",
	"DecryptData":      "decrypt makes the call for all that data can be under",
	"Decrypter":        "a key for programs",
	"KeyExchanger":     "a key for programs",
	"EncryptData":      "encrypt makes the call for all that data can be under",
	"EnsureKey":        "for programs; a person makes a key or does not",
	"ImportSecret":     "key import takes its steps, which key wrap takes one by one",
	"ImportPrivateKey": "key import takes its steps, which key wrap takes one by one",
}

// Whatever the client can do, kmsctl can.
func TestEveryCallHasACommand(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	methods := reflect.TypeFor[*client.Client]()
	for i := range methods.NumMethod() {
		name := methods.Method(i).Name
		called := regexp.MustCompile(`(\bc|\(\*client\.Client\))\.` + name + `\b`).MatchString(source.String())
		if reason := unoffered[name]; called == (reason != "") {
			t.Errorf("client.%s: called: %v, excused: %q", name, called, reason)
		}
	}
	for name := range unoffered {
		if _, known := methods.MethodByName(name); !known {
			t.Errorf("client.%s is excused, but does not exist", name)
		}
	}
}
