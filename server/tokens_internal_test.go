package server

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
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
	return c.loginFor(node, `{"project":{"id":"`+c.founded.ProjectID+`"}}`)
}

// wholeAccount is the scope of a token for the administration of the account.
const wholeAccount = `{"domain":{"name":"d"}}`

// loginFor gets a token with a scope.
func (c *trio) loginFor(node int, scope string) string {
	c.t.Helper()
	response, body := c.do(node, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u","domain":{"name":"d"},"password":"`+
		c.founded.Password+`"}}},"scope":`+scope+`}}`)
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
	// Modules are asked to open the gossip key, too: once, some time after the start.
	await(t, "every node to follow the gossip key", func() bool {
		return !slices.ContainsFunc(c.nodes, func(s *Server) bool {
			k := s.member.Load().gossip
			k.mu.Lock()
			defer k.mu.Unlock()
			return k.follow == nil
		})
	})
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
	const logins = 20
	for n := 0; n < logins; {
		response, body := c.do(0, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"nobody","domain":{"name":"d"},"password":"x"}}}}}`)
		switch {
		case response.StatusCode == 503 && response.Header.Get("Retry-After") != "" && strings.Contains(body, "this address"):
			n++
		case response.StatusCode != 401: // one a second is looked at
			t.Fatalf("a login from there: %d %s", response.StatusCode, body)
		}
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
	untried, err := c.nodes[0].traces.Search(t.Context(), audit.Query{TraceName: kms.OpCreateToken.Name, Code: "503", Limit: 2 * logins, MaxBytes: 64 << 20})
	must(t, err)
	singly, together := len(refused.Found), asked+logins-len(refused.Found)-len(untried.Found)
	if len(untried.Found) > 0 {
		t.Errorf("%d of %d logins that were not looked at are traced singly", len(untried.Found), logins)
	}
	if singly < traced || singly > traced+60 || len(told.Found) != 1 || !strings.Contains(string(told.Found[0].Body), fmt.Sprintf("%d more requests from 127.0.0.1", together)) {
		t.Errorf("%d refusals are traced singly, and of the others: %s", singly, told.Found[0].Body)
	}
	response, body := c.do(0, "GET", "/metrics", "")
	if want := fmt.Sprintf(`kmsd_limited_total{what="untraced"} %d`, together); response.StatusCode != 200 || !strings.Contains(body, want) {
		t.Errorf("the metrics do not say %s", want)
	}
}

// seedOf is the secret of a second factor as it was handed out.
func seedOf(t *testing.T, device wire.MFADeviceReply) []byte {
	t.Helper()
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(string(device.Device.Seed))
	must(t, err)
	return secret
}

// A one-time code that is shown to all nodes at once gets one token, and none
// afterwards, on any of them.
func TestOneCodeOneToken(t *testing.T) {
	c := newTrio(t)
	admin, account := c.login(0), c.loginFor(0, wholeAccount)
	response, body := c.do(1, "POST", "/v3.0/OS-MFA/virtual-mfa-devices", `{"virtual_mfa_device":{"name":"phone","user_id":"`+c.founded.UserID+`"}}`, "X-Auth-Token", admin)
	var device wire.MFADeviceReply
	if must(t, json.Unmarshal([]byte(body), &device)); response.StatusCode != 201 {
		t.Fatalf("%d %s", response.StatusCode, body)
	}
	secret := seedOf(t, device)
	for time.Now().UnixMilli()%30_000 > 20_000 { // the codes below are those of three steps in a row
		time.Sleep(100 * time.Millisecond)
	}
	step := time.Now().UnixMilli() / 30_000
	bind := fmt.Sprintf(`{"user_id":"%s","serial_number":"%s","authentication_code_first":"%s"}`, c.founded.UserID, device.Device.SerialNumber, iam.TOTPCodeOf(secret, step-1))
	if response, body := c.do(2, "PUT", "/v3.0/OS-MFA/mfa-devices/bind", bind, "X-Auth-Token", admin); response.StatusCode != 204 {
		t.Fatalf("%d %s", response.StatusCode, body)
	}
	ask := func(node int, code string) int {
		response, _ := c.do(node, "POST", "/v3/auth/tokens", fmt.Sprintf(`{"auth":{"identity":{"methods":["password","totp"],"password":{"user":{"id":"%s","password":"%s"}},"totp":{"user":{"passcode":"%s"}}}}}`,
			c.founded.UserID, c.founded.Password, code))
		return response.StatusCode
	}
	for _, at := range []int64{step, step + 1} { // the second is of a clock that is a step ahead
		var good atomic.Int64
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				switch status := ask(i%3, iam.TOTPCodeOf(secret, at)); status {
				case 201:
					good.Add(1)
				case 401:
				default:
					t.Errorf("node %d: %d", i%3, status)
				}
			})
		}
		all.Wait()
		if good.Load() != 1 {
			t.Errorf("one code got %d tokens", good.Load())
		}
		// A code that was taken before counts as a wrong one.
		if response, body := c.do(0, "POST", "/v3/users/"+c.founded.UserID+"/unlock", "", "X-Auth-Token", account); response.StatusCode != 204 {
			t.Fatalf("%d %s", response.StatusCode, body)
		}
	}
	for node := range c.nodes {
		if status := ask(node, iam.TOTPCodeOf(secret, step+1)); status != 401 {
			t.Errorf("node %d takes a code again: %d", node, status)
		}
	}
}
