package huaweitest

import (
	"slices"
	"strconv"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"
)

var versionSteps = []step{
	{"ShowVersions", func(s *story) {
		reply, err := s.kms.ShowVersions(&model.ShowVersionsRequest{})
		s.done(err, reply, 200)
		if versions := at(reply.Versions); len(versions) != 1 || at(versions[0].Id) != "v1.0" || at(versions[0].Status) != "CURRENT" || len(at(versions[0].Links)) != 1 {
			s.t.Errorf("got %v", reply)
		}
	}},
	{"ShowVersion", func(s *story) {
		reply, err := s.kms.ShowVersion(&model.ShowVersionRequest{VersionId: "v1.0"})
		s.done(err, reply, 200)
		if version, ok := at(reply.Version).(map[string]any); !ok || version["id"] != "v1.0" {
			s.t.Errorf("got %v", reply)
		}
	}},
}

var keySteps = []step{
	{"ShowUserInstances", func(s *story) {
		reply, err := s.kms.ShowUserInstances(&model.ShowUserInstancesRequest{})
		s.done(err, reply, 200)
		s.instances = at(reply.InstanceNum)
	}},
	{"CreateKey", func(s *story) {
		s.create("data", "", "", "")
		s.create("other", "AES_256", "ENCRYPT_DECRYPT", "kms")
		s.create("rsa", "RSA_2048", "ENCRYPT_DECRYPT", "")
		s.create("signer", "EC_P256", "SIGN_VERIFY", "")
		s.create("mac", "HMAC_256", "GENERATE_VERIFY_MAC", "")
		s.create("agreement", "EC_P384", "KEY_AGREEMENT", "")
		s.create("external", "AES_256", "", "external")
		_, err := s.kms.CreateKey(&model.CreateKeyRequest{Body: &model.CreateKeyRequestBody{KeyAlias: s.name("data")}})
		s.refused(err, 400, "KMS.1104")
		reply, err := s.kms.ShowUserInstances(&model.ShowUserInstancesRequest{})
		s.done(err, reply, 200)
		s.equal("instance_num", at(reply.InstanceNum), s.instances+int32(len(s.keys)))
	}},
	{"ListKeyDetail", func(s *story) {
		d := s.describe(s.keys["data"])
		for what, pair := range map[string][2]string{
			"key_id": {at(d.KeyId), s.keys["data"]}, "domain_id": {at(d.DomainId), s.target.Domain}, "key_alias": {at(d.KeyAlias), s.name("data")},
			"realm": {at(d.Realm), s.target.Region}, "key_spec": {d.KeySpec.Value(), "AES_256"}, "key_usage": {d.KeyUsage.Value(), "ENCRYPT_DECRYPT"},
			"key_description": {at(d.KeyDescription), "made by the conformance driver"}, "scheduled_deletion_date": {at(d.ScheduledDeletionDate), ""},
			"key_state": {at(d.KeyState), "2"}, "default_key_flag": {at(d.DefaultKeyFlag), "0"}, "key_type": {at(d.KeyType), "1"},
			"expiration_time": {at(d.ExpirationTime), ""}, "origin": {d.Origin.Value(), "kms"}, "key_rotation_enabled": {at(d.KeyRotationEnabled), "false"},
			"sys_enterprise_project_id": {at(d.SysEnterpriseProjectId), "0"}, "keystore_id": {at(d.KeystoreId), "0"},
		} {
			s.equal(what, pair[0], pair[1])
		}
		if ms, err := strconv.ParseInt(at(d.CreationDate), 10, 64); err != nil || time.Since(time.UnixMilli(ms)).Abs() > 24*time.Hour {
			s.t.Errorf("creation_date is %s", at(d.CreationDate))
		}
		s.equal("the state of a key without material", at(s.describe(s.keys["external"]).KeyState), "5")
		_, err := s.kms.ListKeyDetail(&model.ListKeyDetailRequest{Body: &model.OperateKeyRequestBody{KeyId: "00000000-0000-4000-8000-000000000000"}})
		s.refused(err, 404, "KMS.0207")
	}},
	{"ListKeys", func(s *story) {
		var found []string
		for marker := ""; ; {
			body := &model.ListKeysRequestBody{Limit: pointer("2"), KeySpec: enum[model.ListKeysRequestBodyKeySpec](s.t, "ALL")}
			if marker != "" {
				body.Marker = &marker
			}
			reply, err := s.kms.ListKeys(&model.ListKeysRequest{Body: body})
			s.done(err, reply, 200)
			if len(at(reply.Keys)) != len(at(reply.KeyDetails)) || len(at(reply.Keys)) > 2 {
				s.t.Fatalf("got %d keys and %d details", len(at(reply.Keys)), len(at(reply.KeyDetails)))
			}
			found = append(found, at(reply.Keys)...)
			marker = at(reply.NextMarker)
			s.equal("truncated", reply.Truncated.Value(), strconv.FormatBool(marker != ""))
			if marker == "" {
				s.equal("total", int(at(reply.Total)), len(found))
				break
			}
		}
		for name, id := range s.keys {
			if !slices.Contains(found, id) {
				s.t.Errorf("the key %s is not listed", name)
			}
		}
	}},
	{"UpdateKeyAlias", func(s *story) {
		reply, err := s.kms.UpdateKeyAlias(&model.UpdateKeyAliasRequest{Body: &model.UpdateKeyAliasRequestBody{KeyId: s.keys["data"], KeyAlias: s.name("renamed")}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyInfo.KeyId), s.keys["data"])
		s.equal("key_alias", at(reply.KeyInfo.KeyAlias), s.name("renamed"))
		s.equal("the name that is described", at(s.describe("alias/"+s.name("renamed")).KeyAlias), s.name("renamed"))
	}},
	{"UpdateKeyDescription", func(s *story) {
		reply, err := s.kms.UpdateKeyDescription(&model.UpdateKeyDescriptionRequest{Body: &model.UpdateKeyDescriptionRequestBody{KeyId: s.keys["data"], KeyDescription: "grüße"}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyInfo.KeyId), s.keys["data"])
		s.equal("key_description", at(reply.KeyInfo.KeyDescription), "grüße")
		s.equal("the description that is described", at(s.describe(s.keys["data"]).KeyDescription), "grüße")
	}},
	{"ShowUserQuotas", func(s *story) {
		reply, err := s.kms.ShowUserQuotas(&model.ShowUserQuotasRequest{})
		s.done(err, reply, 200)
		used := map[string]int32{}
		for _, r := range at(reply.Quotas.Resources) {
			used[r.Type.Value()] = at(r.Used)
			if at(r.Quota) <= 0 {
				s.t.Errorf("got %v", r)
			}
		}
		s.equal("the keys in use", used["CMK"], s.instances+int32(len(s.keys)))
		if _, known := used["grant_per_CMK"]; !known {
			s.t.Errorf("got %v", reply)
		}
	}},
}

// stateSteps come last but for what is absent: they end with a key that goes.
var stateSteps = []step{
	{"DisableKey", func(s *story) {
		reply, err := s.kms.DisableKey(&model.DisableKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys["data"]}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyInfo.KeyId), s.keys["data"])
		s.equal("key_state", at(reply.KeyInfo.KeyState), "3")
		for range s.target.Nodes { // nobody serves it any more
			_, err := s.kms.CreateDatakey(&model.CreateDatakeyRequest{Body: &model.CreateDatakeyRequestBody{KeyId: s.keys["data"]}})
			s.refused(err, 400, "KMS.0209")
		}
		_, err = s.kms.DisableKey(&model.DisableKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys["data"]}})
		s.refused(err, 400, "KMS.1301")
	}},
	{"EnableKey", func(s *story) {
		reply, err := s.kms.EnableKey(&model.EnableKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys["data"]}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyInfo.KeyId), s.keys["data"])
		s.equal("key_state", at(reply.KeyInfo.KeyState), "2")
		for range s.target.Nodes {
			_, err := s.kms.CreateDatakey(&model.CreateDatakeyRequest{Body: &model.CreateDatakeyRequestBody{KeyId: s.keys["data"]}})
			if err != nil {
				s.t.Error(err)
			}
		}
		_, err = s.kms.EnableKey(&model.EnableKeyRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys["data"]}})
		s.refused(err, 400, "KMS.1201")
	}},
	{"DeleteKey", func(s *story) {
		reply, err := s.kms.DeleteKey(&model.DeleteKeyRequest{Body: &model.ScheduleKeyDeletionRequestBody{KeyId: s.keys["data"], PendingDays: "7"}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.equal("key_state", at(reply.KeyState), "4")
		d := s.describe(s.keys["data"])
		if ms, err := strconv.ParseInt(at(d.ScheduledDeletionDate), 10, 64); err != nil || len(at(d.ScheduledDeletionDate)) != 13 || time.Until(time.UnixMilli(ms)) > 8*24*time.Hour {
			s.t.Errorf("scheduled_deletion_date is %s", at(d.ScheduledDeletionDate))
		}
		_, err = s.kms.EncryptData(&model.EncryptDataRequest{Body: &model.EncryptDataRequestBody{KeyId: s.keys["data"], PlainText: "x"}})
		s.refused(err, 400, "KMS.0210")
	}},
	{"CancelKeyDeletion", func(s *story) {
		reply, err := s.kms.CancelKeyDeletion(&model.CancelKeyDeletionRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys["data"]}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.equal("key_state", at(reply.KeyState), "3")
		s.equal("scheduled_deletion_date", at(s.describe(s.keys["data"]).ScheduledDeletionDate), "")
		_, err = s.kms.CancelKeyDeletion(&model.CancelKeyDeletionRequest{Body: &model.OperateKeyRequestBody{KeyId: s.keys["data"]}})
		s.refused(err, 400, "KMS.1501")
	}},
}
