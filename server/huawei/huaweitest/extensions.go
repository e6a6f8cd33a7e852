package huaweitest

import (
	"io"
	"net/http"
	"strings"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
)

// extensionSteps are the endpoints that this version of the SDK has no method
// for: newer calls, extensions, traces. They are signed with the SDK's signer.
var extensionSteps = []step{
	{"rotate-on-demand", func(s *story) {
		s.wants(200, "{}", "POST", s.kmsPath("rotate-on-demand"), `{"key_id":"`+s.keys["other"]+`"}`)
	}},
	{"list-key-versions", func(s *story) {
		s.wants(200, `"version":2,`, "POST", s.kmsPath("list-key-versions"), `{"key_id":"`+s.keys["other"]+`"}`)
	}},
	{"create-datakeys", func(s *story) {
		key := `{"key_id":"` + s.keys["other"] + `","count":1000}`
		s.wants(200, `"datakeys":[{"plain_text":"`, "POST", s.kmsPath("create-datakeys"), key)
		s.wants(200, `"datakeys":[{"cipher_text":"`, "POST", s.kmsPath("create-datakeys-without-plaintext"), key)
	}},
	{"deletion protection", func(s *story) {
		key := `{"key_id":"` + s.keys["other"] + `"}`
		s.wants(200, "{}", "POST", s.kmsPath("enable-key-deletion-protection"), key)
		s.wants(400, "KMS.1403", "POST", s.kmsPath("schedule-key-deletion"), `{"key_id":"`+s.keys["other"]+`","pending_days":"7"}`)
		s.wants(200, "{}", "POST", s.kmsPath("disable-key-deletion-protection"), key)
	}},
	{"quotas", func(s *story) {
		s.wants(200, `"type":"CMK"`, "PUT", s.kmsPath("user-quotas"), `{"resources":[{"type":"CMK","quota":"1000"}]}`)
	}},
	{"traces", func(s *story) {
		for _, path := range []string{"/v3/" + s.target.Project + "/traces", "/v2.0/" + s.target.Project + "/system/trace", "/v1.0/" + s.target.Project + "/system/trace",
			"/v3/" + s.target.Project + "/traces/follow"} {
			s.wants(200, `"traces":[{`, "GET", path, "")
		}
	}},
	{"the document", func(s *story) {
		s.wants(200, "openapi: 3.1.0", "GET", "/openapi.yaml", "")
	}},
}

func (s *story) kmsPath(verb string) string { return "/v1.0/" + s.target.Project + "/kms/" + verb }

// wants signs a call and wants a status, and a text within the reply.
func (s *story) wants(status int, within, method, path, body string) {
	s.t.Helper()
	b := request.NewHttpRequestBuilder().WithEndpoint(s.gateway).WithMethod(method).WithPath(path).AddHeaderParam("Content-Type", "application/json")
	if body != "" {
		b = b.WithBody("body", body)
	}
	headers, err := signer.Sign(b.Build(), s.target.AccessKey, s.target.SecretKey)
	s.check(err)
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.gateway+path, strings.NewReader(body))
	s.check(err)
	r.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(r)
	s.check(err)
	defer response.Body.Close()
	reply, err := io.ReadAll(response.Body)
	s.check(err)
	if response.StatusCode != status || !strings.Contains(string(reply), within) {
		s.t.Errorf("%s %s: %d %.500s, want %d and %s", method, path, response.StatusCode, reply, status, within)
	}
}
