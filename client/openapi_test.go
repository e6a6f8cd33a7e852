package client_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/wrapping"
)

// calls are how the client asks for each operation of the dialect, about the
// key k and the tag t.
var calls = map[string]func(ctx context.Context, c *client.Client){
	"createKey":                    func(ctx context.Context, c *client.Client) { c.CreateKey(ctx, client.NewKey{}) },
	"describeKey":                  func(ctx context.Context, c *client.Client) { c.DescribeKey(ctx, "k") },
	"listKeys":                     func(ctx context.Context, c *client.Client) { c.ListKeys(ctx, client.ListOptions{}) },
	"enableKey":                    func(ctx context.Context, c *client.Client) { c.EnableKey(ctx, "k") },
	"disableKey":                   func(ctx context.Context, c *client.Client) { c.DisableKey(ctx, "k") },
	"updateKeyAlias":               func(ctx context.Context, c *client.Client) { c.RenameKey(ctx, "k", "n") },
	"updateKeyDescription":         func(ctx context.Context, c *client.Client) { c.DescribeAs(ctx, "k", "d") },
	"scheduleKeyDeletion":          func(ctx context.Context, c *client.Client) { c.ScheduleDeletion(ctx, "k", 7) },
	"cancelKeyDeletion":            func(ctx context.Context, c *client.Client) { c.CancelDeletion(ctx, "k") },
	"enableKeyDeletionProtection":  func(ctx context.Context, c *client.Client) { c.ProtectKey(ctx, "k", true) },
	"disableKeyDeletionProtection": func(ctx context.Context, c *client.Client) { c.ProtectKey(ctx, "k", false) },

	"createAlias":    func(ctx context.Context, c *client.Client) { c.CreateAlias(ctx, "k", "a") },
	"deleteAliases":  func(ctx context.Context, c *client.Client) { c.DeleteAliases(ctx, "k", "a") },
	"listAliases":    func(ctx context.Context, c *client.Client) { c.ListAliases(ctx, "") },
	"associateAlias": func(ctx context.Context, c *client.Client) { c.AssociateAlias(ctx, "a", "k") },

	"enableKeyRotation":         func(ctx context.Context, c *client.Client) { c.EnableRotation(ctx, "k", 0) },
	"updateKeyRotationInterval": func(ctx context.Context, c *client.Client) { c.SetRotationInterval(ctx, "k", 30) },
	"disableKeyRotation":        func(ctx context.Context, c *client.Client) { c.DisableRotation(ctx, "k") },
	"getKeyRotationStatus":      func(ctx context.Context, c *client.Client) { c.RotationOf(ctx, "k") },
	"rotateOnDemand":            func(ctx context.Context, c *client.Client) { c.RotateKey(ctx, "k") },
	"listKeyVersions":           func(ctx context.Context, c *client.Client) { c.ListVersions(ctx, "k") },

	"createGrant":         func(ctx context.Context, c *client.Client) { c.CreateGrant(ctx, client.NewGrant{}) },
	"revokeGrant":         func(ctx context.Context, c *client.Client) { c.RevokeGrant(ctx, "k", "g") },
	"retireGrant":         func(ctx context.Context, c *client.Client) { c.RetireGrant(ctx, "k", "g") },
	"listGrants":          func(ctx context.Context, c *client.Client) { c.ListGrants(ctx, "k") },
	"listRetirableGrants": func(ctx context.Context, c *client.Client) { c.ListRetirableGrants(ctx) },

	"listProjectTags": func(ctx context.Context, c *client.Client) { c.ProjectTags(ctx) },
	"listTags":        func(ctx context.Context, c *client.Client) { c.Tags(ctx, "k") },
	"batchTags":       func(ctx context.Context, c *client.Client) { c.SetTags(ctx, "k", nil) },
	"findTagged":      func(ctx context.Context, c *client.Client) { c.FindKeys(ctx, client.KeySearch{}, 0, 1) },
	"countKeys":       func(ctx context.Context, c *client.Client) { c.CountKeys(ctx) },
	"getQuotas":       func(ctx context.Context, c *client.Client) { c.Quotas(ctx) },
	"setQuotas":       func(ctx context.Context, c *client.Client) { c.SetQuotas(ctx, "", nil) },

	"createDataKey": func(ctx context.Context, c *client.Client) { c.CreateDataKey(ctx, "k", client.DataKeyOptions{}) },
	"createDataKeyWithoutPlaintext": func(ctx context.Context, c *client.Client) {
		c.CreateDataKeyWithoutPlaintext(ctx, "k", client.DataKeyOptions{})
	},
	"createDataKeys": func(ctx context.Context, c *client.Client) { c.CreateDataKeys(ctx, "k", 1, client.DataKeyOptions{}) },
	"createDataKeysWithoutPlaintext": func(ctx context.Context, c *client.Client) {
		c.CreateDataKeysWithoutPlaintext(ctx, "k", 1, client.DataKeyOptions{})
	},
	"encryptDatakey": func(ctx context.Context, c *client.Client) { c.EncryptDataKey(ctx, "k", nil, client.DataKeyOptions{}) },
	"decryptDatakey": func(ctx context.Context, c *client.Client) { c.DecryptDataKey(ctx, "k", nil, client.DataKeyOptions{}) },
	"encryptData":    func(ctx context.Context, c *client.Client) { c.EncryptData(ctx, "k", nil, nil) },
	"decryptData":    func(ctx context.Context, c *client.Client) { c.DecryptData(ctx, nil, nil) },
	"genRandom":      func(ctx context.Context, c *client.Client) { c.Random(ctx, 1) },
	"reEncrypt":      func(ctx context.Context, c *client.Client) { c.ReEncryptData(ctx, nil, client.Under{}, client.Under{}) },
	"createRsaDatakeyPair": func(ctx context.Context, c *client.Client) {
		c.CreateDataKeyPair(ctx, "k", "RSA_2048", client.DataKeyOptions{})
	},
	"createEcDatakeyPair": func(ctx context.Context, c *client.Client) {
		c.CreateDataKeyPair(ctx, "k", "SM2", client.DataKeyOptions{})
	},

	"getParametersForImport": func(ctx context.Context, c *client.Client) { c.ImportParameters(ctx, "k", wrapping.OAEPSHA256) },
	"importKeyMaterial": func(ctx context.Context, c *client.Client) {
		c.ImportMaterial(ctx, client.ImportParameters{}, wrapping.Wrapped{}, time.Time{})
	},
	"deleteImportedKeyMaterial": func(ctx context.Context, c *client.Client) { c.DeleteMaterial(ctx, "k") },

	"getPublicKey":       func(ctx context.Context, c *client.Client) { c.PublicKey(ctx, "k", 0) },
	"sign":               func(ctx context.Context, c *client.Client) { c.Sign(ctx, "k", nil, client.SignOptions{}) },
	"verify":             func(ctx context.Context, c *client.Client) { c.Verify(ctx, "k", nil, nil, client.SignOptions{}) },
	"generateMac":        func(ctx context.Context, c *client.Client) { c.GenerateMAC(ctx, "k", nil, "") },
	"verifyMac":          func(ctx context.Context, c *client.Client) { c.VerifyMAC(ctx, "k", nil, nil, "") },
	"deriveSharedSecret": func(ctx context.Context, c *client.Client) { c.DeriveSharedSecret(ctx, "k", nil, 0) },

	"listTraces":   func(ctx context.Context, c *client.Client) { c.SearchTraces(ctx, client.TraceFilter{}, "", 1) },
	"followTraces": func(ctx context.Context, c *client.Client) { c.FollowTraces(ctx, client.TraceFilter{}, "", 1, 0) },
}

// uncalled are the operations that the client does not ask for, and why.
var uncalled = map[string]string{
	"listVersions": "the client speaks the one version that there is",
	"showVersion":  "the client speaks the one version that there is",
	"showOpenapi":  "a document for people and generators, which needs no credentials",
	"createTag":    "batchTags sets one as well",
	"deleteTag":    "batchTags takes one away as well",
	"listTracesV2": "an older spelling of listTraces",
	"listTracesV1": "an older spelling of listTraces",
}

// The client has a call for every operation of the dialect, and it asks for
// that one.
func TestEveryOperationHasACall(t *testing.T) {
	text, err := os.ReadFile("../server/huawei/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]yaml.Node `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	node := newFake(t, func(w http.ResponseWriter, _, _ string) { _, _ = io.WriteString(w, "{}") })
	c := open(t, configure(node))
	values := strings.NewReplacer("/v1.0/{project_id}/kms/", "", "/v3/{project_id}/", "", "{key_id}", "k", "{tag_key}", "t")
	described := make(map[string]bool)
	for path, item := range document.Paths {
		for method, entry := range item {
			if method == "parameters" {
				continue
			}
			var operation struct {
				ID string `yaml:"operationId"`
			}
			if err := entry.Decode(&operation); err != nil {
				t.Fatal(err)
			}
			described[operation.ID] = true
			call, known := calls[operation.ID]
			if reason := uncalled[operation.ID]; known == (reason != "") {
				t.Errorf("%s (%s %s) has neither a call of the client nor a reason why not, or both", operation.ID, method, path)
			}
			if !known {
				continue
			}
			node.mu.Lock()
			node.requests = nil
			node.mu.Unlock()
			call(t.Context(), c) // what it makes of an empty answer is not looked at
			want := values.Replace(path)
			if method != "post" {
				want = strings.ToUpper(method) + " " + want
			}
			sent := node.seen()
			if len(sent) != 1 {
				t.Errorf("%s: sent %v", operation.ID, sent)
				continue
			}
			got, _, _ := strings.Cut(sent[0], " {")
			if got, _, _ = strings.Cut(got, "?"); got != want {
				t.Errorf("%s: asks for %q, not %q", operation.ID, got, want)
			}
		}
	}
	for id := range calls {
		if !described[id] {
			t.Errorf("%s is called, but is no operation of the dialect", id)
		}
	}
	for id := range uncalled {
		if !described[id] {
			t.Errorf("%s is excused, but is no operation of the dialect", id)
		}
	}
}
