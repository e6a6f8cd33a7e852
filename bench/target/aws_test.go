package target_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/bench/target"
)

// signedV4 checks a Signature Version 4 with a verifier of its own.
func signedV4(r got, secret string) bool {
	digest := func(text string) string { s := sha256.Sum256([]byte(text)); return hex.EncodeToString(s[:]) }
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	rest, found := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKID/")
	scope, rest, _ := strings.Cut(rest, ", SignedHeaders=")
	names, signature, _ := strings.Cut(rest, ", Signature=")
	parts := strings.Split(scope, "/")
	if !found || len(parts) != 4 {
		return false
	}
	canonical := r.Method + "\n" + r.URL.Path + "\n\n"
	for name := range strings.SplitSeq(names, ";") {
		value := r.Header.Get(name)
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.Itoa(len(r.body))
		}
		canonical += name + ":" + value + "\n"
	}
	canonical += "\n" + names + "\n" + digest(r.body)
	key := []byte("AWS4" + secret)
	for _, part := range parts {
		key = mac(key, part)
	}
	told := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + digest(canonical)
	return signature == hex.EncodeToString(mac(key, told)) && strings.Contains(names, "x-amz-target") && strings.Contains(names, "host")
}

func TestAWSRequestsAreSigned(t *testing.T) {
	var requests []string
	endpoint := serve(t, func(r got) (int, string) {
		if !signedV4(r, "secret") {
			return http.StatusBadRequest, `{"__type":"InvalidSignatureException","message":"no"}`
		}
		scope := strings.Split(r.Header.Get("Authorization"), "/")
		requests = append(requests, strings.Join([]string{r.Method, r.RequestURI, r.Header.Get("Content-Type"), r.Header.Get("X-Amz-Target"),
			r.Header.Get("X-Amz-Security-Token"), scope[2], scope[3], r.body}, " "))
		return http.StatusOK, `{"KeyId":"a"}`
	}, nil)
	service, err := target.NewAWS(endpoint, "eu-west-1", target.AWSCredentials{AccessKey: "AKID", SecretKey: "secret", SessionToken: "session"})
	if err != nil {
		t.Fatal(err)
	}
	sent(t, service, target.Work{Operation: target.CreateDataKey, Keys: []string{"a", "alias/b"}}, 2)
	sent(t, service, target.Work{Operation: target.CreateDataKeyWithout, Keys: []string{"a"}, Payload: 64}, 1)
	want := `POST / application/x-amz-json-1.1 TrentService.GenerateDataKey session eu-west-1 kms {"KeyId":"a","NumberOfBytes":32}|` +
		`POST / application/x-amz-json-1.1 TrentService.GenerateDataKey session eu-west-1 kms {"KeyId":"alias/b","NumberOfBytes":32}|` +
		`POST / application/x-amz-json-1.1 TrentService.GenerateDataKeyWithoutPlaintext session eu-west-1 kms {"KeyId":"a","NumberOfBytes":64}`
	if got := strings.Join(requests, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	refused(t, service, target.Work{Operation: target.CreateDataKeys, Keys: []string{"a"}}, `is not driven with "create-datakeys"`)

	wrong, err := target.NewAWS(endpoint, "eu-west-1", target.AWSCredentials{AccessKey: "AKID", SecretKey: "another"})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := wrong.Prepare(t.Context(), target.Work{Operation: target.CreateDataKey, Keys: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	err = target.Reach(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "refuses the credentials") || strings.Contains(err.Error(), "another") {
		t.Errorf("a wrong secret: %v", err)
	}
}
