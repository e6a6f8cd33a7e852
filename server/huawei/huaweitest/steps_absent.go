package huaweitest

import "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"

// absentSteps are the methods for what the reference only mentions: key stores
// of dedicated devices, replication to other regions, PINs. The server says
// that there is nothing at their URLs.
var absentSteps = []step{
	{"CreateKeyStore", func(s *story) {
		_, err := s.kms.CreateKeyStore(&model.CreateKeyStoreRequest{Body: &model.CreateKeyStoreRequestBody{KeystoreAlias: "store"}})
		s.refused(err, 404, "KMS.0201")
	}},
	{"ListKeyStores", func(s *story) {
		_, err := s.kms.ListKeyStores(&model.ListKeyStoresRequest{})
		s.refused(err, 404, "KMS.0201")
	}},
	{"ShowKeyStore", func(s *story) {
		_, err := s.kms.ShowKeyStore(&model.ShowKeyStoreRequest{KeystoreId: "0"})
		s.refused(err, 404, "KMS.0201")
	}},
	{"EnableKeyStore", func(s *story) {
		_, err := s.kms.EnableKeyStore(&model.EnableKeyStoreRequest{KeystoreId: "0"})
		s.refused(err, 404, "KMS.0201")
	}},
	{"DisableKeyStore", func(s *story) {
		_, err := s.kms.DisableKeyStore(&model.DisableKeyStoreRequest{KeystoreId: "0"})
		s.refused(err, 404, "KMS.0201")
	}},
	{"DeleteKeyStore", func(s *story) {
		_, err := s.kms.DeleteKeyStore(&model.DeleteKeyStoreRequest{KeystoreId: "0"})
		s.refused(err, 404, "KMS.0201")
	}},
	{"ReplicateKey", func(s *story) {
		_, err := s.kms.ReplicateKey(&model.ReplicateKeyRequest{KeyId: s.keys["data"], Body: &model.ReplicateKeyRequestBody{KeyId: s.keys["data"], ReplicaRegion: "elsewhere", KeyAlias: "copy", ReplicaProjectId: s.target.Project}})
		s.refused(err, 404, "KMS.0201")
	}},
	{"UpdatePrimaryRegion", func(s *story) {
		_, err := s.kms.UpdatePrimaryRegion(&model.UpdatePrimaryRegionRequest{KeyId: s.keys["data"], Body: &model.UpdatePrimaryRegionRequestBody{KeyId: s.keys["data"], PrimaryRegion: "elsewhere"}})
		s.refused(err, 404, "KMS.0201")
	}},
	{"ListSupportRegions", func(s *story) {
		_, err := s.kms.ListSupportRegions(&model.ListSupportRegionsRequest{})
		s.refused(err, 404, "KMS.0201")
	}},
	{"CreatePin", func(s *story) {
		_, err := s.kms.CreatePin(&model.CreatePinRequest{Body: &model.CreatePinRequestBody{}})
		s.refused(err, 404, "KMS.0201")
	}},
}
