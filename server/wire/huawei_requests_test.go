package wire_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/raftkms/raftkms/server/wire"
)

// requests makes one of each request type.
var requests = map[string]func() wire.Request{
	"create-key":      func() wire.Request { return new(wire.CreateKeyRequest) },
	"describe-key":    func() wire.Request { return new(wire.KeyRequest) },
	"list-keys":       func() wire.Request { return new(wire.ListKeysRequest) },
	"create-datakey":  func() wire.Request { return new(wire.CreateDataKeyRequest) },
	"create-datakeys": func() wire.Request { return new(wire.CreateDataKeysRequest) },
	"encrypt-datakey": func() wire.Request { return new(wire.EncryptDataKeyRequest) },
	"decrypt-datakey": func() wire.Request { return new(wire.DecryptDataKeyRequest) },
	"encrypt-data":    func() wire.Request { return new(wire.EncryptDataRequest) },
	"decrypt-data":    func() wire.Request { return new(wire.DecryptDataRequest) },
	"gen-random":      func() wire.Request { return new(wire.RandomRequest) },
	"user-quotas":     func() wire.Request { return new(wire.NoRequest) },

	"update-key-alias":             func() wire.Request { return new(wire.UpdateKeyAliasRequest) },
	"update-key-description":       func() wire.Request { return new(wire.UpdateKeyDescriptionRequest) },
	"schedule-key-deletion":        func() wire.Request { return new(wire.ScheduleDeletionRequest) },
	"update-key-rotation-interval": func() wire.Request { return new(wire.RotationIntervalRequest) },
	"list-key-versions":            func() wire.Request { return new(wire.ListVersionsRequest) },
	"create-alias":                 func() wire.Request { return new(wire.CreateAliasRequest) },
	"associate-alias":              func() wire.Request { return new(wire.AssociateAliasRequest) },
	"delete-aliases":               func() wire.Request { return new(wire.DeleteAliasesRequest) },
	"list-aliases":                 func() wire.Request { return new(wire.ListAliasesRequest) },

	"get-parameters-for-import": func() wire.Request { return new(wire.ImportParametersRequest) },
	"import-key-material":       func() wire.Request { return new(wire.ImportMaterialRequest) },
	"get-publickey":             func() wire.Request { return new(wire.PublicKeyRequest) },
	"verify":                    func() wire.Request { return new(wire.SignRequest) },
	"verify-mac":                func() wire.Request { return new(wire.MACRequest) },
	"re-encrypt":                func() wire.Request { return new(wire.ReEncryptRequest) },
	"create-rsa-datakey-pair":   func() wire.Request { return new(wire.DataKeyPairRequest) },
	"derive-shared-secret":      func() wire.Request { return new(wire.DeriveSharedSecretRequest) },

	"create-grant": func() wire.Request { return new(wire.CreateGrantRequest) },
	"revoke-grant": func() wire.Request { return new(wire.EndGrantRequest) },
	"list-grants":  func() wire.Request { return new(wire.ListGrantsRequest) },

	"create-tag":      func() wire.Request { return new(wire.TagRequest) },
	"batch-tags":      func() wire.Request { return new(wire.TagsActionRequest) },
	"find-tagged":     func() wire.Request { return new(wire.FindTaggedRequest) },
	"set-user-quotas": func() wire.Request { return new(wire.SetQuotasRequest) },
	"list-traces":     func() wire.Request { return new(wire.ListTracesRequest) },
}

// The tests of decoding, and the fuzzing of it, know every request type that the
// package declares: a struct with the serial number that each request has, or
// with another request, inside.
func TestEveryRequestIsTried(t *testing.T) {
	embeds := declared(t)
	tried := map[string]bool{}
	for _, request := range requests {
		tried[reflect.TypeOf(request()).Elem().Name()] = true
	}
	if len(embeds["CreateDataKeysRequest"]) == 0 || len(embeds["KeyRequest"]) == 0 {
		t.Fatal("the declarations were not found")
	}
	for name, inside := range embeds {
		isRequest := slices.ContainsFunc(inside, func(n string) bool { return n == "Sequenced" || slices.Contains(embeds[n], "Sequenced") })
		if isRequest && !tried[name] {
			t.Errorf("decoding is not tried with %s", name)
		}
	}
}

// declared has the structs of the package, and what each has inside without a name.
func declared(t *testing.T) map[string][]string {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	embeds := map[string][]string{}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), entry.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if of, ok := spec.Type.(*ast.StructType); ok {
				for _, field := range of.Fields.List {
					if name, ok := field.Type.(*ast.Ident); ok && len(field.Names) == 0 {
						embeds[spec.Name.Name] = append(embeds[spec.Name.Name], name.Name)
					}
				}
			}
			return false
		})
	}
	return embeds
}

// What a client encodes with encoding/json, the server decodes to the same,
// and so does encoding/json.
func TestRequestsRoundTrip(t *testing.T) {
	for name, request := range requests {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			sent := request()
			fill(t, reflect.ValueOf(sent).Elem())
			encoded, err := json.Marshal(sent)
			if err != nil {
				t.Fatal(err)
			}
			for who, decode := range map[string]func([]byte, wire.Request) error{
				"the server":    wire.Decode,
				"encoding/json": func(b []byte, r wire.Request) error { return json.Unmarshal(b, r) },
			} {
				got := request()
				if err := decode(encoded, got); err != nil {
					t.Fatalf("%s: %s: %v", who, encoded, err)
				}
				if diff := cmp.Diff(got, sent); diff != "" {
					t.Fatalf("%s: %s (-got+want):\n%s", who, encoded, diff)
				}
			}
		}))
	}
}

// fill gives every member of a request a value that can be told from none.
func fill(t *rapid.T, v reflect.Value) {
	text := rapid.StringN(1, 40, -1)
	switch into := v.Addr().Interface().(type) {
	case *wire.FlexInt:
		*into = wire.Int(rapid.Int64().Draw(t, "integer"))
		return
	case *wire.Text:
		*into = wire.Text(text.Draw(t, "text"))
		return
	case *wire.Context:
		if rapid.Bool().Draw(t, "map") {
			into.Map = rapid.MapOfN(text, text, 1, 5).Draw(t, "context")
		} else {
			into.String = text.Draw(t, "context")
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text.Draw(t, "string"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		n := rapid.IntRange(1, 5).Draw(t, "elements")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i))
		}
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Byte().Draw(t, "byte")))
	case reflect.Int: // only of answers
	default:
		t.Fatalf("there is no value for a %s", v.Type())
	}
}
