package main_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	kms "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
)

// sdk is the unmodified SDK, talking to one node.
type sdk struct {
	t   *testing.T
	kms *kms.KmsClient
}

// credentials are what the SDK signs with.
type credentials struct{ accessKey, secretKey, project string }

func credentialsOf(file *devfile.File) credentials {
	return credentials{file.AccessKey, file.SecretKey, file.ProjectID}
}

// newSDK is the SDK as an application sets it up: endpoint, access key, CA.
func newSDK(t *testing.T, file *devfile.File, node int, c credentials) sdk {
	t.Helper()
	pool, err := client.ReadCA(file.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := basic.NewCredentialsBuilder().WithAk(c.accessKey).WithSk(c.secretKey).WithProjectId(c.project).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	built, err := kms.KmsClientBuilder().
		WithEndpoints([]string{file.Nodes[node].URL}).
		WithCredential(auth).
		WithHttpConfig(config.DefaultHttpConfig().WithHttpTransport(transport)).
		SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	return sdk{t: t, kms: kms.NewKmsClient(built)}
}

// sdks has one SDK client per node.
func sdks(t *testing.T, c *cluster) []sdk {
	t.Helper()
	all := make([]sdk, len(c.file.Nodes))
	for i := range all {
		all[i] = newSDK(t, c.file, i, credentialsOf(c.file))
	}
	return all
}

func (s sdk) createKey(name string) string {
	s.t.Helper()
	spec := model.GetCreateKeyRequestBodyKeySpecEnum().AES_256
	description := "made by a test"
	reply, err := s.kms.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{
		KeyAlias: name, KeySpec: &spec, KeyDescription: &description,
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return *reply.KeyInfo.KeyId
}

func (s sdk) describe(key string) *model.KeyDetails {
	s.t.Helper()
	reply, err := s.kms.ListKeyDetail(&model.ListKeyDetailRequest{Body: &model.OperateKeyRequestBody{KeyId: key}})
	if err != nil {
		s.t.Fatal(err)
	}
	return reply.KeyInfo
}

// list pages through all keys, two at a time.
func (s sdk) list() []string {
	s.t.Helper()
	var keys []string
	limit, marker := "2", "0"
	all := model.GetListKeysRequestBodyKeySpecEnum().ALL
	for {
		reply, err := s.kms.ListKeys(&model.ListKeysRequest{Body: &model.ListKeysRequestBody{Limit: &limit, Marker: &marker, KeySpec: &all}})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(*reply.Keys) > 2 || len(*reply.Keys) != len(*reply.KeyDetails) {
			s.t.Fatalf("a page of two has %d keys and %d details", len(*reply.Keys), len(*reply.KeyDetails))
		}
		keys = append(keys, *reply.Keys...)
		if *reply.NextMarker == "" {
			if *reply.Truncated != model.GetListKeysResponseTruncatedEnum().FALSE || int(*reply.Total) != len(keys) {
				s.t.Errorf("the last page is truncated=%v with a total of %d after %d keys", reply.Truncated.Value(), *reply.Total, len(keys))
			}
			return keys
		}
		marker = *reply.NextMarker
	}
}

func (s sdk) setState(key string, enable bool) {
	s.t.Helper()
	body := &model.OperateKeyRequestBody{KeyId: key}
	var err error
	if enable {
		_, err = s.kms.EnableKey(&model.EnableKeyRequest{Body: body})
	} else {
		_, err = s.kms.DisableKey(&model.DisableKeyRequest{Body: body})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// sealed is a data key as hex.
type sealed struct{ plain, cipher string }

func (s sdk) tryDataKey(key, aad string) (sealed, error) {
	body := &model.CreateDatakeyRequestBody{KeyId: key}
	if aad != "" {
		body.AdditionalAuthenticatedData = &aad
	}
	reply, err := s.kms.CreateDatakey(&model.CreateDatakeyRequest{Body: body})
	if err != nil {
		return sealed{}, err
	}
	return sealed{plain: *reply.PlainText, cipher: *reply.CipherText}, nil
}

func (s sdk) dataKey(key, aad string) sealed {
	s.t.Helper()
	made, err := s.tryDataKey(key, aad)
	if err != nil {
		s.t.Fatal(err)
	}
	return made
}

// tryOpen opens a data key of n bytes and checks the digest that comes with it.
func (s sdk) tryOpen(key, cipher, aad string, n int) (string, error) {
	body := &model.DecryptDatakeyRequestBody{KeyId: key, CipherText: cipher, DatakeyCipherLength: strconv.Itoa(n)}
	if aad != "" {
		body.AdditionalAuthenticatedData = &aad
	}
	reply, err := s.kms.DecryptDatakey(&model.DecryptDatakeyRequest{Body: body})
	if err != nil {
		return "", err
	}
	raw, err := hex.DecodeString(*reply.DataKey)
	if err != nil {
		return "", err
	}
	if digest := sha256.Sum256(raw); !strings.EqualFold(*reply.DatakeyDgst, hex.EncodeToString(digest[:])) || *reply.DatakeyLength != strconv.Itoa(len(raw)) {
		return "", errors.New("the digest or the length does not fit the data key")
	}
	return *reply.DataKey, nil
}

func (s sdk) mustOpen(key string, made sealed, aad string) {
	s.t.Helper()
	opened, err := s.tryOpen(key, made.cipher, aad, len(made.plain)/2)
	if err != nil {
		s.t.Fatal(err)
	}
	if opened != made.plain {
		s.t.Errorf("the opened data key differs from the made one")
	}
}

func (s sdk) tryEncrypt(key, text string) (string, error) {
	reply, err := s.kms.EncryptData(&model.EncryptDataRequest{Body: &model.EncryptDataRequestBody{KeyId: key, PlainText: text}})
	if err != nil {
		return "", err
	}
	return *reply.CipherText, nil
}

func (s sdk) tryDecrypt(cipher string) (text, key string, err error) {
	reply, err := s.kms.DecryptData(&model.DecryptDataRequest{Body: &model.DecryptDataRequestBody{CipherText: cipher}})
	if err != nil {
		return "", "", err
	}
	return *reply.PlainText, *reply.KeyId, nil
}

// wantRefused wants an error of the service with a status and a code, and with
// a request id.
func wantRefused(t *testing.T, err error, status int, code string) {
	t.Helper()
	refused, ok := errors.AsType[*sdkerr.ServiceResponseError](err)
	if !ok {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if refused.StatusCode != status || refused.ErrorCode != code || refused.RequestId == "" {
		t.Errorf("got status %d, %s, request id %q; want %d, %s", refused.StatusCode, refused.ErrorCode, refused.RequestId, status, code)
	}
}
