package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/audit"
)

// do asks a node's API; headers come in pairs.
func (c *trio) do(node int, method, path, body string, headers ...string) (*http.Response, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.nodes[node].cfg.APIURL+path, strings.NewReader(body))
	must(c.t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := c.client.Do(r)
	must(c.t, err)
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	must(c.t, err)
	return response, string(raw)
}

// login gets a token for the project from a node.
func (c *trio) login(node int) string {
	c.t.Helper()
	response, body := c.do(node, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u","domain":{"name":"d"},"password":"`+
		c.founded.Password+`"}}},"scope":{"project":{"id":"`+c.founded.ProjectID+`"}}}}`)
	if response.StatusCode != http.StatusCreated {
		c.t.Fatalf("no token from node %d: %d %s", node, response.StatusCode, body)
	}
	return response.Header.Get("X-Subject-Token")
}

func (c *trio) listKeys(node int, headers ...string) (int, string) {
	c.t.Helper()
	response, body := c.do(node, "POST", "/v1.0/"+c.founded.ProjectID+"/kms/list-keys", "{}", headers...)
	return response.StatusCode, body
}

// Tokens are made and read by nodes whose module is gone, too; whoever makes
// tokens up has no module asked; and a revocation counts everywhere.
func TestTokensOnEveryKindOfNode(t *testing.T) {
	c := newTrio(t)
	token := c.login(0)
	for i := range c.nodes[:2] {
		if status, body := c.listKeys(i, "X-Auth-Token", token); status != 200 {
			t.Errorf("node %d: %d %s", i, status, body)
		}
	}

	// Node 2 has never seen a token, nor does it know the key of their check.
	c.modules[2].set(fmt.Errorf("%w: unplugged by a test", hsm.ErrUnavailable))
	if status, body := c.listKeys(2, "X-Auth-Token", token); status != 200 {
		t.Errorf("on a node without a module: %d %s", status, body)
	}
	made := c.login(2)
	if status, body := c.listKeys(0, "X-Auth-Token", made); status != 200 {
		t.Errorf("a token that was made without a module: %d %s", status, body)
	}
	if _, err := c.nodes[0].answerAboutTokens(context.Background(), c.nodes[0].member.Load(), callTokenCheck, "stranger", nil); err == nil ||
		!strings.Contains(err.Error(), "not given the root keys") {
		t.Errorf("a stranger is told the key of the check: %v", err)
	}

	// Forged in every byte, cut off, and of another generation.
	before := [3]int64{c.modules[0].seals.Load(), c.modules[1].seals.Load(), c.modules[2].seals.Load()}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	must(t, err)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		c.wantForgery(i%3, base64.RawURLEncoding.EncodeToString(bad))
	}
	for _, text := range []string{token[:len(token)-1], token[:30], token + "A", "a", "ä", strings.Repeat("A", 1025), token + "="} {
		c.wantForgery(1, text)
	}
	for i, m := range c.modules {
		if n := m.seals.Load() - before[i]; n != 0 {
			t.Errorf("forgeries had the module of node %d asked %d times", i, n)
		}
	}

	response, body := c.do(1, "DELETE", "/v3/auth/tokens", "", "X-Auth-Token", token, "X-Subject-Token", token)
	if response.StatusCode != http.StatusNoContent {
		t.Fatalf("revoking: %d %s", response.StatusCode, body)
	}
	for i := range c.nodes {
		if status, body := c.listKeys(i, "X-Auth-Token", token); status != 401 {
			t.Errorf("node %d takes a revoked token: %d %s", i, status, body)
		}
	}
}

func (c *trio) wantForgery(node int, token string) {
	c.t.Helper()
	status, body := c.listKeys(node, "X-Auth-Token", token)
	var e struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || status != 401 || e.Code != "APIGW.0301" || !strings.HasSuffix(e.Message, "decrypt token fail") {
		c.t.Errorf("a forged token is answered %d %s", status, body)
	}
}

// An address that fails again and again is still answered, and those who get in
// from there still do; but its refusals are told of together, and no password is
// looked at any more.
func TestAddressThatFails(t *testing.T) {
	c := newTrio(t)
	token := c.login(0)
	const asked, traced = 700, 600 // ten minutes' worth of 60, and what comes back meanwhile
	for range asked {
		c.wantForgery(0, "AAAA")
	}
	if status, body := c.listKeys(0, "X-Auth-Token", token); status != 200 {
		t.Errorf("a good token from there: %d %s", status, body)
	}
	response, body := c.do(0, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u","domain":{"name":"d"},"password":"x"}}}}}`)
	if response.StatusCode != 503 || response.Header.Get("Retry-After") == "" || !strings.Contains(body, "this address") {
		t.Errorf("a login from there: %d %s", response.StatusCode, body)
	}
	must(t, c.nodes[0].tellUntraced(t.Context(), 0))
	var told audit.Answer
	await(t, "the event", func() bool {
		var err error
		told, err = c.nodes[0].traces.Search(t.Context(), audit.Query{TraceName: "refuseManyRequests", Limit: 10, MaxBytes: 1 << 20})
		must(t, err)
		return len(told.Found) > 0
	})
	refused, err := c.nodes[0].traces.Search(t.Context(), audit.Query{TraceName: "listKeys", Code: "401", Limit: 2 * asked, MaxBytes: 64 << 20})
	must(t, err)
	singly := len(refused.Found)
	if singly < traced || singly > traced+60 || len(told.Found) != 1 || !strings.Contains(string(told.Found[0].Body), fmt.Sprintf("%d more requests from 127.0.0.1", asked-singly)) {
		t.Errorf("%d refusals are traced singly, and of the others: %s", singly, told.Found[0].Body)
	}
	response, body = c.do(0, "GET", "/metrics", "")
	if want := fmt.Sprintf(`kmsd_limited_total{what="untraced"} %d`, asked-singly); response.StatusCode != 200 || !strings.Contains(body, want) {
		t.Errorf("the metrics do not say %s", want)
	}
}
