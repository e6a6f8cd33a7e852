package huawei_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/sdkerr"
	sdk "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// newSDK is the vendor's client, unmodified, that dials the world's listener.
func newSDK(t *testing.T, w *world) *sdk.KmsClient {
	t.Helper()
	credentials, err := basic.NewCredentialsBuilder().WithAk(fsmtest.AccessKeyID).WithSk(secretKey).WithProjectId(fsmtest.ProjectID).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	dial := func(context.Context, string, string) (net.Conn, error) { return w.listener.Dial() }
	client, err := sdk.KmsClientBuilder().WithEndpoints([]string{endpoint}).WithCredential(credentials).
		WithHttpConfig(config.DefaultHttpConfig().WithDialContext(dial)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	return sdk.NewKmsClient(client)
}

func text(s string) *string { return &s }

func TestSDK(t *testing.T) {
	w := newWorld(t)
	client := newSDK(t, w)

	created, err := client.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: "orders", KeyDescription: text("the orders' key")}})
	if err != nil {
		t.Fatal(err)
	}
	key := *created.KeyInfo.KeyId
	if *created.KeyInfo.DomainId != fsmtest.DomainID {
		t.Errorf("domain %s", *created.KeyInfo.DomainId)
	}

	described, err := client.ListKeyDetail(&model.ListKeyDetailRequest{Body: &model.OperateKeyRequestBody{KeyId: key}})
	if err != nil {
		t.Fatal(err)
	}
	if info := described.KeyInfo; *info.KeyAlias != "orders" || *info.KeyState != "2" || *info.Realm != fsmtest.Region || info.KeySpec.Value() != "AES_256" {
		t.Errorf("described as %v", info)
	}

	listed, err := client.ListKeys(&model.ListKeysRequest{Body: &model.ListKeysRequestBody{Limit: text("10")}})
	if err != nil {
		t.Fatal(err)
	}
	if len(*listed.Keys) != 1 || (*listed.Keys)[0] != key || len(*listed.KeyDetails) != 1 || *listed.Total != 1 || listed.Truncated.Value() != "false" || *listed.NextMarker != "" {
		t.Errorf("listed as %v", listed)
	}

	fresh, err := client.CreateDatakey(&model.CreateDatakeyRequest{Body: &model.CreateDatakeyRequestBody{KeyId: key, DatakeyLength: text("512"), AdditionalAuthenticatedData: text("tenant 7")}})
	if err != nil {
		t.Fatal(err)
	}
	opened, err := client.DecryptDatakey(&model.DecryptDatakeyRequest{Body: &model.DecryptDatakeyRequestBody{
		KeyId: key, CipherText: *fresh.CipherText, DatakeyCipherLength: "64", AdditionalAuthenticatedData: text("tenant 7"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if *opened.DataKey != *fresh.PlainText || *opened.DatakeyLength != "64" || len(*fresh.PlainText) != 128 {
		t.Errorf("a data key came back as %v", opened)
	}
	raw, err := hex.DecodeString(*opened.DataKey)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(raw)
	if upper := strings.ToUpper(hex.EncodeToString(digest[:])); *opened.DatakeyDgst != upper {
		t.Errorf("digest %s, want %s", *opened.DatakeyDgst, upper)
	}

	encrypted, err := client.EncryptDatakey(&model.EncryptDatakeyRequest{Body: &model.EncryptDatakeyRequestBody{
		KeyId: "alias/orders", PlainText: hex.EncodeToString(raw) + hex.EncodeToString(digest[:]), DatakeyPlainLength: "64",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if *encrypted.DatakeyLength != "64" || *encrypted.KeyId != key {
		t.Errorf("encrypted as %v", encrypted)
	}
	sealedOnly, err := client.CreateDatakeyWithoutPlaintext(&model.CreateDatakeyWithoutPlaintextRequest{Body: &model.CreateDatakeyRequestBody{KeyId: key}})
	if err != nil || *sealedOnly.KeyId != key || *sealedOnly.CipherText == "" {
		t.Fatalf("without plaintext: %v, %v", sealedOnly, err)
	}

	data, err := client.EncryptData(&model.EncryptDataRequest{Body: &model.EncryptDataRequestBody{KeyId: key, PlainText: "häłło <&> \x00"}})
	if err != nil {
		t.Fatal(err)
	}
	back, err := client.DecryptData(&model.DecryptDataRequest{Body: &model.DecryptDataRequestBody{CipherText: *data.CipherText}})
	if err != nil {
		t.Fatal(err)
	}
	if *back.PlainText != "häłło <&> \x00" || *back.PlainTextBase64 != "aMOkxYLFgm8gPCY+IAA=" || *back.KeyId != key {
		t.Errorf("data came back as %v", back)
	}

	random, err := client.CreateRandom(&model.CreateRandomRequest{Body: &model.GenRandomRequestBody{RandomDataLength: "512"}})
	if err != nil || len(*random.RandomData) != 128 {
		t.Fatalf("random data %v, %v", random, err)
	}

	disabled, err := client.DisableKey(&model.DisableKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: key}})
	if err != nil || *disabled.KeyInfo.KeyState != "3" {
		t.Fatalf("disabled: %v, %v", disabled, err)
	}
	_, err = client.CreateDatakey(&model.CreateDatakeyRequest{Body: &model.CreateDatakeyRequestBody{KeyId: key}})
	var refused *sdkerr.ServiceResponseError
	if !errors.As(err, &refused) || refused.StatusCode != 400 || refused.ErrorCode != "KMS.0209" || refused.RequestId == "" {
		t.Errorf("a disabled key: %v", err)
	}
	enabled, err := client.EnableKey(&model.EnableKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: key}})
	if err != nil || *enabled.KeyInfo.KeyState != "2" {
		t.Fatalf("enabled: %v, %v", enabled, err)
	}
}

// The life of a key with the vendor's SDK.
func TestSDKLife(t *testing.T) {
	w := newWorld(t)
	client := newSDK(t, w)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error, code string) {
		t.Helper()
		var e *sdkerr.ServiceResponseError
		if !errors.As(err, &e) || e.ErrorCode != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	created, err := client.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: "orders"}})
	must(err)
	key := *created.KeyInfo.KeyId
	operate := &model.OperateKeyRequestBody{KeyId: key}

	renamed, err := client.UpdateKeyAlias(&model.UpdateKeyAliasRequest{Body: &model.UpdateKeyAliasRequestBody{KeyId: key, KeyAlias: "bills"}})
	must(err)
	if *renamed.KeyInfo.KeyAlias != "bills" || *renamed.KeyInfo.KeyId != key {
		t.Errorf("renamed: %v", renamed)
	}
	described, err := client.UpdateKeyDescription(&model.UpdateKeyDescriptionRequest{Body: &model.UpdateKeyDescriptionRequestBody{KeyId: key, KeyDescription: "for bills"}})
	must(err)
	if *described.KeyInfo.KeyDescription != "for bills" {
		t.Errorf("described: %v", described)
	}

	alias, err := client.CreateAlias(&model.CreateAliasRequest{Body: &model.CreateAliasRequestBody{KeyId: key, Alias: "alias/one"}})
	must(err)
	if *alias.Alias != "alias/one" || *alias.KeyId != key || *alias.AliasUrn == "" {
		t.Errorf("alias: %v", alias)
	}
	listed, err := client.ListAliases(&model.ListAliasesRequest{KeyId: &key})
	must(err)
	if len(*listed.Body) != 1 || len((*listed.Body)[0].Aliases) != 1 || (*listed.Body)[0].Aliases[0].Alias != "alias/one" {
		t.Errorf("aliases: %v", listed)
	}
	other, err := client.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: "other"}})
	must(err)
	moved, err := client.AssociateAlias(&model.AssociateAliasRequest{Body: &model.AssociateAliasRequestBody{Alias: "alias/one", TargetKeyId: *other.KeyInfo.KeyId}})
	must(err)
	if *moved.KeyId != *other.KeyInfo.KeyId {
		t.Errorf("associated: %v", moved)
	}
	_, err = client.DeleteAlias(&model.DeleteAliasRequest{Body: &model.DeleteAliasRequestBody{KeyId: *other.KeyInfo.KeyId, Aliases: []string{"alias/one"}}})
	must(err)

	_, err = client.EnableKeyRotation(&model.EnableKeyRotationRequest{Body: operate})
	must(err)
	_, err = client.UpdateKeyRotationInterval(&model.UpdateKeyRotationIntervalRequest{Body: &model.UpdateKeyRotationIntervalRequestBody{KeyId: key, RotationInterval: 90}})
	must(err)
	rotation, err := client.ShowKeyRotationStatus(&model.ShowKeyRotationStatusRequest{Body: operate})
	must(err)
	if !*rotation.KeyRotationEnabled || *rotation.RotationInterval != 90 || *rotation.NumberOfRotations != 0 || *rotation.LastRotationTime != "" {
		t.Errorf("rotation: %v", rotation)
	}
	_, err = client.EnableKeyRotation(&model.EnableKeyRotationRequest{Body: operate})
	refused(err, "KMS.2901")
	_, err = client.DisableKeyRotation(&model.DisableKeyRotationRequest{Body: operate})
	must(err)
	_, err = client.DisableKeyRotation(&model.DisableKeyRotationRequest{Body: operate})
	refused(err, "KMS.0313")

	deleted, err := client.DeleteKey(&model.DeleteKeyRequest{Body: &model.ScheduleKeyDeletionRequestBody{KeyId: key, PendingDays: "7"}})
	must(err)
	if *deleted.KeyId != key || *deleted.KeyState != "4" {
		t.Errorf("deleted: %v", deleted)
	}
	_, err = client.UpdateKeyDescription(&model.UpdateKeyDescriptionRequest{Body: &model.UpdateKeyDescriptionRequestBody{KeyId: key, KeyDescription: "x"}})
	refused(err, "KMS.0210")
	kept, err := client.CancelKeyDeletion(&model.CancelKeyDeletionRequest{Body: operate})
	must(err)
	if *kept.KeyId != key || *kept.KeyState != "3" {
		t.Errorf("cancelled: %v", kept)
	}
	_, err = client.CancelKeyDeletion(&model.CancelKeyDeletionRequest{Body: operate})
	refused(err, "KMS.1501")
}
