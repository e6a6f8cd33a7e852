package huaweitest

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	sdk "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"
)

// Target is a cluster and whom it knows.
type Target struct {
	Nodes []Node
	// Name distinguishes the keys of this run from those of others on the same
	// cluster: 1 to 20 characters of a-z and 0-9.
	Name                 string
	AccessKey, SecretKey string
	Project, Domain      string
	User                 string // the id of whose access key it is
	Region               string
	// Watch sees every call; nil: nobody does.
	Watch func(Exchange)
}

// Methods are the names of all methods of the SDK's KMS client that make calls.
func Methods() []string {
	var names []string
	client := reflect.TypeFor[*sdk.KmsClient]()
	for i := range client.NumMethod() {
		if name := client.Method(i).Name; !strings.HasSuffix(name, "Invoker") {
			names = append(names, name)
		}
	}
	return names
}

// Steps are the methods that [Run] calls, in its order.
func Steps() []string {
	var names []string
	for _, s := range steps {
		names = append(names, s.method)
	}
	return names
}

// Run calls every method of the SDK, one after another, and then what it has no
// method for; a step builds on those before it.
func Run(t *testing.T, target Target) {
	t.Helper()
	credentials, err := basic.NewCredentialsBuilder().WithAk(target.AccessKey).WithSk(target.SecretKey).WithProjectId(target.Project).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	gateway := NewGateway(t, target.Nodes, target.Watch)
	client, err := sdk.KmsClientBuilder().WithEndpoints([]string{gateway}).
		WithCredential(credentials).WithHttpConfig(config.DefaultHttpConfig()).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	s := &story{kms: sdk.NewKmsClient(client), target: target, gateway: gateway, keys: map[string]string{}}
	for _, step := range slices.Concat(steps, extensionSteps) {
		if !t.Run(step.method, func(t *testing.T) { s.t = t; step.take(s) }) {
			t.Fatalf("the steps after %s build on it", step.method)
		}
	}
}

// step is what is done with one method.
type step struct {
	method string
	take   func(s *story)
}

// steps has every method of the SDK's client.
var steps = slices.Concat(versionSteps, keySteps, dataSteps, pairSteps, importSteps, aliasSteps, rotationSteps, tagSteps, grantSteps, stateSteps, absentSteps)

// story is one run.
type story struct {
	t       *testing.T
	kms     *sdk.KmsClient
	target  Target
	gateway string // its URL

	keys map[string]string // ids by the ends of their names

	dataKey   *model.CreateDatakeyResponse
	sealed    string // the ciphertext of data that is bound to nothing
	message   string // base64
	signature string
	mac       string
	token     *model.CreateParametersForImportResponse
	grants    []string
	instances int32
}

// name is the name of a key or alias of this run.
func (s *story) name(end string) string { return s.target.Name + "/" + end }

// create makes a key; spec, usage and origin may be empty.
func (s *story) create(end, spec, usage, origin string) string {
	s.t.Helper()
	body := &model.CreateKeyRequestBody{KeyAlias: s.name(end), KeyDescription: pointer("made by the conformance driver")}
	if spec != "" {
		body.KeySpec = enum[model.CreateKeyRequestBodyKeySpec](s.t, spec)
	}
	if usage != "" {
		body.KeyUsage = enum[model.CreateKeyRequestBodyKeyUsage](s.t, usage)
	}
	if origin != "" {
		body.Origin = enum[model.CreateKeyRequestBodyOrigin](s.t, origin)
	}
	reply, err := s.kms.CreateKey(&model.CreateKeyRequest{Body: body})
	s.done(err, reply, 200)
	s.equal("domain_id", at(reply.KeyInfo.DomainId), s.target.Domain)
	s.keys[end] = at(reply.KeyInfo.KeyId)
	return s.keys[end]
}

// describe returns a key as the SDK shows it.
func (s *story) describe(key string) model.KeyDetails {
	s.t.Helper()
	reply, err := s.kms.ListKeyDetail(&model.ListKeyDetailRequest{Body: &model.OperateKeyRequestBody{KeyId: key}})
	s.done(err, reply, 200)
	return at(reply.KeyInfo)
}

// done wants that a call came back with a status.
func (s *story) done(err error, reply any, status int) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	s.equal("the status", reflect.ValueOf(reply).Elem().FieldByName("HttpStatusCode").Interface(), any(status))
}

// refused wants an error of the service.
func (s *story) refused(err error, status int, code string) {
	s.t.Helper()
	refused, ok := errors.AsType[*sdkerr.ServiceResponseError](err)
	if !ok || refused.StatusCode != status || refused.ErrorCode != code || refused.ErrorMessage == "" || refused.RequestId == "" {
		s.t.Errorf("got %v, want %d %s", err, status, code)
	}
}

func (s *story) equal(what string, got, want any) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// pointer is what the SDK wants of an optional member.
func pointer[T any](v T) *T { return &v }

// at is what an optional member holds, or nothing.
func at[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// enum is a value of one of the SDK's enumerations, also one that it does not
// know: its users can do the same.
func enum[T any](t *testing.T, value string) *T {
	t.Helper()
	quoted, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	v := new(T)
	if err := json.Unmarshal(quoted, v); err != nil {
		t.Fatal(err)
	}
	return v
}
