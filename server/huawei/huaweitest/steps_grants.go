package huaweitest

import (
	"regexp"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/kms/v2/model"
)

// grantSteps: two grants are made to the caller itself; one is retired, one is
// revoked.
var grantSteps = []step{
	{"CreateGrant", func(s *story) {
		for _, operations := range [][]string{{"encrypt-data", "retire-grant"}, {"describe-key", "create-datakey"}} {
			reply, err := s.kms.CreateGrant(&model.CreateGrantRequest{Body: &model.CreateGrantRequestBody{
				KeyId: s.keys["other"], GranteePrincipal: s.target.User, Operations: operations, Name: pointer(s.name("grant")), RetiringPrincipal: pointer(s.target.User),
				GranteePrincipalType: enum[model.CreateGrantRequestBodyGranteePrincipalType](s.t, "user"),
			}})
			s.done(err, reply, 200)
			if !regexp.MustCompile(`^[0-9A-Fa-f]{64}$`).MatchString(at(reply.GrantId)) {
				s.t.Errorf("grant_id is %q", at(reply.GrantId))
			}
			s.grants = append(s.grants, at(reply.GrantId))
		}
		_, err := s.kms.CreateGrant(&model.CreateGrantRequest{Body: &model.CreateGrantRequestBody{
			KeyId: s.keys["other"], GranteePrincipal: s.target.User, Operations: []string{"create-grant"},
		}})
		s.refused(err, 400, "KMS.2401")
	}},
	{"ListGrants", func(s *story) {
		seen := map[string]model.Grants{}
		for marker := ""; ; {
			body := &model.ListGrantsRequestBody{KeyId: s.keys["other"], Limit: pointer("1")}
			if marker != "" {
				body.Marker = &marker
			}
			reply, err := s.kms.ListGrants(&model.ListGrantsRequest{Body: body})
			s.done(err, reply, 200)
			s.equal("total", at(reply.Total), int32(2))
			for _, g := range at(reply.Grants) {
				seen[at(g.GrantId)] = g
			}
			marker = at(reply.NextMarker)
			s.equal("truncated", reply.Truncated.Value() == "true", marker != "")
			if marker == "" {
				break
			}
		}
		s.equal("the grants of the key", len(seen), 2)
		g := seen[s.grants[0]]
		s.equal("key_id", at(g.KeyId), s.keys["other"])
		s.equal("grantee_principal", at(g.GranteePrincipal), s.target.User)
		s.equal("grantee_principal_type", g.GranteePrincipalType.Value(), "user")
		s.equal("issuing_principal", at(g.IssuingPrincipal), s.target.User)
		s.equal("retiring_principal", at(g.RetiringPrincipal), s.target.User)
		s.equal("name", at(g.Name), s.name("grant"))
		s.equal("the operations", len(at(g.Operations)), 2)
		s.equal("the digits of creation_date", len(at(g.CreationDate)), 13)
	}},
	{"ListRetirableGrants", func(s *story) {
		reply, err := s.kms.ListRetirableGrants(&model.ListRetirableGrantsRequest{Body: &model.ListRetirableGrantsRequestBody{Limit: pointer("1000")}})
		s.done(err, reply, 200)
		found := 0
		for _, g := range at(reply.Grants) {
			if at(g.KeyId) == s.keys["other"] {
				found++
			}
		}
		s.equal("the grants that the caller may retire", found, 2)
		s.equal("next_marker", at(reply.NextMarker), "")
		s.equal("truncated", reply.Truncated.Value(), "false")
	}},
	{"CancelSelfGrant", func(s *story) {
		reply, err := s.kms.CancelSelfGrant(&model.CancelSelfGrantRequest{Body: &model.RevokeGrantRequestBody{KeyId: s.keys["other"], GrantId: s.grants[0]}})
		s.done(err, reply, 200)
	}},
	{"CancelGrant", func(s *story) {
		request := &model.CancelGrantRequest{Body: &model.RevokeGrantRequestBody{KeyId: s.keys["other"], GrantId: s.grants[1]}}
		reply, err := s.kms.CancelGrant(request)
		s.done(err, reply, 200)
		listed, err := s.kms.ListGrants(&model.ListGrantsRequest{Body: &model.ListGrantsRequestBody{KeyId: s.keys["other"]}})
		s.done(err, listed, 200)
		s.equal("the grants that are left", len(at(listed.Grants)), 0)
		request.Body.KeyId = s.keys["data"]
		_, err = s.kms.CancelGrant(request)
		s.refused(err, 400, "KMS.2502")
	}},
}
