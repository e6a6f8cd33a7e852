package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"crypto/tls"
	"crypto/x509"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/signer"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"

	"github.com/raftkms/raftkms/server/wire"
)

// signedClient asks one node over TLS, with an access key.
type signedClient struct {
	t          *testing.T
	client     *http.Client
	endpoint   string
	access     string
	secret     string
	projectURL string
}

func newSignedClient(t *testing.T, s *Server, as *wire.InitReply) *signedClient {
	t.Helper()
	ca, err := x509.ParseCertificate(s.machine.State().Cluster().CACertificates[0])
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	return &signedClient{t: t, client: &http.Client{Transport: transport}, endpoint: s.cfg.APIURL, access: as.AccessKey, secret: as.SecretKey, projectURL: as.ProjectID}
}

// ask sends a request; PROJECT in the path is the project's id.
func (c *signedClient) ask(method, path, query, body string, reply any) int {
	c.t.Helper()
	answer, raw := c.send(method, path, query, body)
	if reply != nil {
		if err := json.Unmarshal(raw, reply); err != nil {
			c.t.Fatalf("%s %s: %d %s: %v", method, path, answer.StatusCode, raw, err)
		}
	}
	return answer.StatusCode
}

// send is ask with the answer as it came.
func (c *signedClient) send(method, path, query, body string) (*http.Response, []byte) {
	c.t.Helper()
	path = strings.ReplaceAll(path, "PROJECT", c.projectURL)
	b := request.NewHttpRequestBuilder().WithEndpoint(c.endpoint).WithMethod(method).WithPath(path).
		AddHeaderParam("Content-Type", "application/json").AddHeaderParam("X-Sdk-Date", time.Now().UTC().Format("20060102T150405Z"))
	if body != "" {
		b = b.WithBody("body", body)
	}
	values, err := url.ParseQuery(query)
	must(c.t, err)
	for name, all := range values {
		if len(all) > 1 {
			b = b.AddQueryParam(name, reflect.ValueOf(all))
		} else {
			b = b.AddQueryParam(name, reflect.ValueOf(all[0]))
		}
	}
	headers, err := signer.Sign(b.Build(), c.access, c.secret)
	must(c.t, err)
	address := c.endpoint + path
	if query != "" {
		address += "?" + query
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, address, bytes.NewReader([]byte(body)))
	must(c.t, err)
	r.Header.Set("Content-Type", "application/json")
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	answer, err := c.client.Do(r)
	must(c.t, err)
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	must(c.t, err)
	return answer, raw
}

// traces asks for traces of the last hour.
func (c *signedClient) traces(query string) wire.ListTracesReply {
	c.t.Helper()
	var reply wire.ListTracesReply
	if status := c.ask("GET", "/v3/PROJECT/traces", query, "", &reply); status != http.StatusOK {
		c.t.Fatalf("%s: %d", query, status)
	}
	return reply
}

func metric(t *testing.T, s *Server, name string) string {
	t.Helper()
	var text bytes.Buffer
	s.metrics.write(&text)
	for line := range strings.Lines(text.String()) {
		if value, is := strings.CutPrefix(line, name+" "); is {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return ""
}

// A node: a burst of refusals is found as an incident through the API, and by
// the metrics; the tips of a deletion name who has used the key.
func TestAlarmsThroughTheAPI(t *testing.T) {
	s, founded := startFounderOf(t, func(c *Config) { c.RefusalAlarm = 6 })
	c := newSignedClient(t, s, founded)
	var created wire.CreateKeyReply
	if status := c.ask("POST", "/v1.0/PROJECT/kms/create-key", "", `{"key_alias":"orders"}`, &created); status != http.StatusOK {
		t.Fatal(status)
	}
	key := created.KeyInfo.KeyID
	use := func(want int) {
		t.Helper()
		if status := c.ask("POST", "/v1.0/PROJECT/kms/create-datakey", "", `{"key_id":"`+key+`"}`, nil); status != want {
			t.Errorf("a use of the key: %d", status)
		}
	}
	use(http.StatusOK)
	if status := c.ask("POST", "/v1.0/PROJECT/kms/schedule-key-deletion", "", `{"key_id":"`+key+`","pending_days":"7"}`, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	tips := c.traces("trace_name=deleteKeyRiskTips&resource_id=" + key)
	if len(tips.Traces) != 1 || tips.Traces[0].TraceType != "SystemAction" || tips.Traces[0].TraceRating != "warning" || tips.Traces[0].ResourceName != "orders" ||
		!strings.Contains(tips.Traces[0].Response, `"recent_callers":["u (`) || !strings.Contains(tips.Traces[0].Response, `createDataKey at 20`) {
		t.Errorf("the tips are %+v", tips.Traces)
	}
	for range 8 {
		use(http.StatusBadRequest)
	}
	warnings := c.traces("trace_rating=warning&resource_id=" + key + "&trace_name=createDataKey")
	if warnings.MetaData.Count != 8 || warnings.Traces[0].ErrorCode != "KMS.0210" {
		t.Errorf("%d warnings", warnings.MetaData.Count)
	}
	incidents := c.traces("trace_rating=incident")
	if incidents.MetaData.Count != 1 || incidents.Traces[0].TraceName != "unusualRefusals" || incidents.Traces[0].TraceType != "SystemAction" ||
		incidents.Traces[0].ResourceType != "user" || incidents.Traces[0].SourceIP != "" || !strings.Contains(incidents.Traces[0].Request, `"last_source_ip":"127.0.0.1"`) {
		t.Errorf("the incidents are %+v", incidents.Traces)
	}
	if got := metric(t, s, `kmsd_refusal_bursts_total{of="user"}`); got != "1" {
		t.Errorf("bursts: %s", got)
	}
	if got := metric(t, s, `kmsd_traces_total{rating="incident"}`); got != "1" {
		t.Errorf("incidents: %s", got)
	}
	if got := metric(t, s, `kmsd_traces_total{rating="warning"}`); got != "9" {
		t.Errorf("warnings: %s", got)
	}
	if got := metric(t, s, "kmsd_traces_unwritten_total"); got != "0" {
		t.Errorf("not written: %s", got)
	}
}
