package huaweitest

import (
	"slices"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"
)

var aliasSteps = []step{
	{"CreateAlias", func(s *story) {
		reply, err := s.kms.CreateAlias(&model.CreateAliasRequest{Body: &model.CreateAliasRequestBody{KeyId: s.keys["data"], Alias: "alias/" + s.name("one")}})
		s.done(err, reply, 201)
		s.equal("alias", at(reply.Alias), "alias/"+s.name("one"))
		s.equal("key_id", at(reply.KeyId), s.keys["data"])
		s.equal("domain_id", at(reply.DomainId), s.target.Domain)
		s.equal("alias_urn", at(reply.AliasUrn), "kms:"+s.target.Region+":"+s.target.Domain+":alias:"+s.name("one"))
		s.equal("key_id under the alias' URN", at(s.describe(at(reply.AliasUrn)).KeyId), s.keys["data"])
	}},
	{"ListAliases", func(s *story) {
		reply, err := s.kms.ListAliases(&model.ListAliasesRequest{KeyId: pointer(s.keys["data"]), Limit: pointer("10")})
		s.done(err, reply, 200)
		if pages := at(reply.Body); len(pages) != 1 || len(pages[0].Aliases) != 1 || pages[0].Aliases[0].Alias != "alias/"+s.name("one") ||
			at(pages[0].PageInfo.NextMarker) != "" || at(pages[0].PageInfo.CurrentCount) != 1 {
			s.t.Errorf("got %v", reply)
		}
	}},
	{"AssociateAlias", func(s *story) {
		reply, err := s.kms.AssociateAlias(&model.AssociateAliasRequest{Body: &model.AssociateAliasRequestBody{Alias: "alias/" + s.name("one"), TargetKeyId: s.keys["other"]}})
		s.done(err, reply, 200)
		s.equal("key_id", at(reply.KeyId), s.keys["other"])
		s.equal("key_id under the alias", at(s.describe("alias/"+s.name("one")).KeyId), s.keys["other"])
	}},
	{"DeleteAlias", func(s *story) {
		reply, err := s.kms.DeleteAlias(&model.DeleteAliasRequest{Body: &model.DeleteAliasRequestBody{KeyId: s.keys["other"], Aliases: []string{"alias/" + s.name("one")}}})
		s.done(err, reply, 204)
		_, err = s.kms.ListKeyDetail(&model.ListKeyDetailRequest{Body: &model.OperateKeyRequestBody{KeyId: "alias/" + s.name("one")}})
		s.refused(err, 404, "KMS.0207")
	}},
}

var rotationSteps = []step{
	{"EnableKeyRotation", func(s *story) {
		reply, err := s.kms.EnableKeyRotation(&model.EnableKeyRotationRequest{Body: s.operate("data")})
		s.done(err, reply, 200)
		_, err = s.kms.EnableKeyRotation(&model.EnableKeyRotationRequest{Body: s.operate("data")})
		s.refused(err, 400, "KMS.2901")
		_, err = s.kms.EnableKeyRotation(&model.EnableKeyRotationRequest{Body: s.operate("rsa")})
		s.refused(err, 400, "KMS.0324")
		s.equal("key_rotation_enabled", at(s.describe(s.keys["data"]).KeyRotationEnabled), "true")
	}},
	{"UpdateKeyRotationInterval", func(s *story) {
		reply, err := s.kms.UpdateKeyRotationInterval(&model.UpdateKeyRotationIntervalRequest{Body: &model.UpdateKeyRotationIntervalRequestBody{KeyId: s.keys["data"], RotationInterval: 90}})
		s.done(err, reply, 200)
	}},
	{"ShowKeyRotationStatus", func(s *story) {
		reply, err := s.kms.ShowKeyRotationStatus(&model.ShowKeyRotationStatusRequest{Body: s.operate("data")})
		s.done(err, reply, 200)
		s.equal("key_rotation_enabled", at(reply.KeyRotationEnabled), true)
		s.equal("rotation_interval", at(reply.RotationInterval), int32(90))
		s.equal("last_rotation_time", at(reply.LastRotationTime), "")
		s.equal("number_of_rotations", at(reply.NumberOfRotations), int32(0))
		for _, any := range []string{"rsa", "external", "mac"} { // clients ask it of every key
			reply, err := s.kms.ShowKeyRotationStatus(&model.ShowKeyRotationStatusRequest{Body: s.operate(any)})
			s.done(err, reply, 200)
			s.equal("key_rotation_enabled of "+any, at(reply.KeyRotationEnabled), false)
		}
	}},
	{"DisableKeyRotation", func(s *story) {
		reply, err := s.kms.DisableKeyRotation(&model.DisableKeyRotationRequest{Body: s.operate("data")})
		s.done(err, reply, 200)
		_, err = s.kms.DisableKeyRotation(&model.DisableKeyRotationRequest{Body: s.operate("data")})
		s.refused(err, 400, "KMS.0313")
	}},
}

var tagSteps = []step{
	{"CreateKmsTag", func(s *story) {
		reply, err := s.kms.CreateKmsTag(&model.CreateKmsTagRequest{KeyId: s.keys["data"], Body: &model.CreateKmsTagRequestBody{Tag: &model.TagItem{Key: "run", Value: pointer(s.target.Name)}}})
		s.done(err, reply, 204)
	}},
	{"BatchCreateKmsTags", func(s *story) {
		for _, action := range []string{"create", "delete"} {
			tags := []model.TagItem{{Key: "more", Value: pointer("1")}}
			if action == "create" {
				tags = append(tags, model.TagItem{Key: "stage", Value: pointer("test")})
			}
			reply, err := s.kms.BatchCreateKmsTags(&model.BatchCreateKmsTagsRequest{KeyId: s.keys["data"], Body: &model.BatchCreateKmsTagsRequestBody{Action: action, Tags: tags}})
			s.done(err, reply, 204)
		}
	}},
	{"ShowKmsTags", func(s *story) {
		reply, err := s.kms.ShowKmsTags(&model.ShowKmsTagsRequest{KeyId: s.keys["data"]})
		s.done(err, reply, 200)
		s.equal("existTagsNum", at(reply.ExistTagsNum), int32(2))
		if tags := at(reply.Tags); len(tags) != 2 || tags[0].Key != "run" || at(tags[0].Value) != s.target.Name || tags[1].Key != "stage" {
			s.t.Errorf("got %v", reply)
		}
	}},
	{"ListKmsTags", func(s *story) {
		reply, err := s.kms.ListKmsTags(&model.ListKmsTagsRequest{})
		s.done(err, reply, 200)
		if !slices.ContainsFunc(at(reply.Tags), func(tag model.Tag) bool {
			return at(tag.Key) == "run" && slices.Contains(at(tag.Values), s.target.Name)
		}) {
			s.t.Errorf("got %v", reply)
		}
	}},
	{"ListKmsByTags", func(s *story) {
		tags := []model.Tag{{Key: pointer("run"), Values: &[]string{s.target.Name}}}
		body := &model.ListKmsByTagsRequestBody{Action: pointer("filter"), Limit: pointer("10"), Offset: pointer("0"), Tags: &tags}
		request := &model.ListKmsByTagsRequest{ResourceInstances: "resource_instances", Body: body}
		reply, err := s.kms.ListKmsByTags(request)
		s.done(err, reply, 200)
		s.equal("total_count", at(reply.TotalCount), int32(1))
		if found := at(reply.Resources); len(found) != 1 || at(found[0].ResourceId) != s.keys["data"] || at(found[0].ResourceName) != s.name("renamed") ||
			at(found[0].ResourceDetail.KeyState) != "2" || len(at(found[0].Tags)) != 2 {
			s.t.Errorf("got %v", reply)
		}
		body.Offset = pointer("1")
		reply, err = s.kms.ListKmsByTags(request)
		s.done(err, reply, 200)
		s.equal("what is behind the last one", len(at(reply.Resources)), 0)
		request.Body = &model.ListKmsByTagsRequestBody{Action: pointer("count"), Tags: &tags}
		reply, err = s.kms.ListKmsByTags(request)
		s.done(err, reply, 200)
		s.equal("total_count", at(reply.TotalCount), int32(1))
	}},
	{"DeleteTag", func(s *story) {
		reply, err := s.kms.DeleteTag(&model.DeleteTagRequest{KeyId: s.keys["data"], Key: "stage"})
		s.done(err, reply, 204)
		_, err = s.kms.DeleteTag(&model.DeleteTagRequest{KeyId: s.keys["data"], Key: "stage"})
		s.refused(err, 404, "KMS.0416")
	}},
}

// operate is the body of what is done to a key.
func (s *story) operate(name string) *model.OperateKeyRequestBody {
	return &model.OperateKeyRequestBody{KeyId: s.keys[name]}
}
