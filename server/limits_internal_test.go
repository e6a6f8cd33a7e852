package server

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/gate"
	"github.com/raftkms/raftkms/server/wire"
)

// asking asks a node from an address.
func asking(s *Server, from net.IP, method, path, body, token string) *fasthttp.RequestCtx {
	var request fasthttp.Request
	request.Header.SetMethod(method)
	request.SetRequestURI("https://n1" + path)
	request.SetBodyString(body)
	if token != "" {
		request.Header.Set("X-Auth-Token", token)
	}
	rc := new(fasthttp.RequestCtx)
	rc.Init(&request, &net.TCPAddr{IP: from, Port: 4711}, nil)
	s.answer(s.member.Load().table, rc)
	return rc
}

// loginAt is a token of the founder for the project, or for the account.
func loginAt(t *testing.T, s *Server, from net.IP, founded *wire.InitReply, scope string) string {
	t.Helper()
	rc := asking(s, from, "POST", "/v3/auth/tokens", `{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"u","domain":{"name":"d"},"password":"`+founded.Password+`"}}},"scope":`+scope+`}}`, "")
	token := string(rc.Response.Header.Peek("X-Subject-Token"))
	if token == "" {
		t.Fatalf("no token: %s", rc.Response.Body())
	}
	return token
}

// wantThrottled asks until a request is one too many, and holds that answer to
// the shape of the dialect or of the identity service: 503 with Retry-After.
// However slow the machine is, requests come faster than the one a second that
// the limit allows; on one that is not, this would wait a minute.
func wantThrottled(t *testing.T, ask func() *fasthttp.RequestCtx, code string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		rc := ask()
		switch rc.Response.StatusCode() {
		case http.StatusOK:
			continue
		case http.StatusServiceUnavailable:
			var said struct {
				Code string `json:"error_code"`
				ID   string `json:"request_id"`
			}
			if err := json.Unmarshal(rc.Response.Body(), &said); err != nil || said.Code != code || said.ID == "" || len(rc.Response.Header.Peek("Retry-After")) == 0 {
				t.Errorf("throttled with %s (%v)", rc.Response.Body(), err)
			}
		default:
			t.Errorf("answered %d %s", rc.Response.StatusCode(), rc.Response.Body())
		}
		return
	}
	t.Error("nothing was throttled")
}

// A node's limits of users and addresses are those of its configuration, on
// every path of the API, each in its own shape; nobody else pays for them.
func TestLimitsThroughTheAPI(t *testing.T) {
	here, there := net.IPv4(192, 0, 2, 1), net.IPv4(192, 0, 2, 2)
	t.Run("of a user", func(t *testing.T) {
		s, founded := startFounderOf(t, func(c *Config) { c.Limits = gate.Config{UserRate: 1} })
		keys, account := loginAt(t, s, here, founded, `{"project":{"id":"`+founded.ProjectID+`"}}`), loginAt(t, s, here, founded, wholeAccount)
		wantThrottled(t, func() *fasthttp.RequestCtx {
			return asking(s, here, "POST", "/v1.0/"+founded.ProjectID+"/kms/list-keys", "{}", keys)
		}, "KMS.0104")
		wantThrottled(t, func() *fasthttp.RequestCtx { return asking(s, there, "GET", "/v3/users", "", account) }, "IAM.0006")
		// Logins are nobody's yet; and whoever is throttled is no failure of the address.
		loginAt(t, s, here, founded, wholeAccount)
		if s.gate.Count(gate.Users) == 0 || s.gate.Count(gate.Failures) != 0 {
			t.Errorf("counted %d of users and %d failures", s.gate.Count(gate.Users), s.gate.Count(gate.Failures))
		}
	})
	t.Run("of an address", func(t *testing.T) {
		s, founded := startFounderOf(t, func(c *Config) { c.Limits = gate.Config{AddressRate: 1} })
		keys := loginAt(t, s, there, founded, `{"project":{"id":"`+founded.ProjectID+`"}}`)
		f := func(method, path, body, code string) {
			t.Helper()
			wantThrottled(t, func() *fasthttp.RequestCtx { return asking(s, here, method, path, body, keys) }, code)
		}
		f("POST", "/v1.0/"+founded.ProjectID+"/kms/list-keys", "{}", "KMS.0104")
		f("GET", "/v3/projects", "", "IAM.0006")
		// Balancers are always told how the node is.
		for range 10 {
			if rc := asking(s, here, "GET", "/livez", "", ""); rc.Response.StatusCode() != http.StatusOK {
				t.Errorf("/livez: %d", rc.Response.StatusCode())
			}
		}
		if rc := asking(s, net.IPv4(192, 0, 2, 3), "GET", "/v3/projects", "", keys); rc.Response.StatusCode() != http.StatusOK {
			t.Errorf("from elsewhere: %d %s", rc.Response.StatusCode(), rc.Response.Body())
		}
	})
	t.Run("of calls", func(t *testing.T) {
		s, founded := startFounderOf(t, func(c *Config) { c.Limits = gate.Config{Calls: 2} })
		keys, account := loginAt(t, s, here, founded, `{"project":{"id":"`+founded.ProjectID+`"}}`), loginAt(t, s, here, founded, wholeAccount)
		paths := map[string]func() *fasthttp.RequestCtx{
			"KMS.0104": func() *fasthttp.RequestCtx {
				return asking(s, here, "POST", "/v1.0/"+founded.ProjectID+"/kms/list-keys", "{}", keys)
			},
			"IAM.0006": func() *fasthttp.RequestCtx { return asking(s, here, "GET", "/v3/users", "", account) },
		}
		// The user has half of the places, which is one.
		place, err := s.lanes.Others.Enter(t.Context(), founded.UserID)
		if err != nil {
			t.Fatal(err)
		}
		for code, ask := range paths {
			wantThrottled(t, ask, code)
		}
		random := func() *fasthttp.RequestCtx {
			return asking(s, here, "POST", "/v1.0/"+founded.ProjectID+"/kms/gen-random", `{"random_data_length":"128"}`, keys)
		}
		if rc := random(); rc.Response.StatusCode() != http.StatusOK { // uses have places of their own
			t.Errorf("random bytes: %d %s", rc.Response.StatusCode(), rc.Response.Body())
		}
		place.Leave()
		for code, ask := range paths {
			if rc := ask(); rc.Response.StatusCode() != http.StatusOK {
				t.Errorf("%s: %d %s", code, rc.Response.StatusCode(), rc.Response.Body())
			}
		}
		if place, err = s.lanes.Uses.Enter(t.Context(), founded.UserID); err != nil {
			t.Fatal(err)
		}
		wantThrottled(t, random, "KMS.0104")
		place.Leave()
		if c := s.lanes.Others.Counts(); c != (gate.LaneCounts{Late: 2}) {
			t.Errorf("counted %+v", c)
		}
	})
	t.Run("of connections", func(t *testing.T) {
		s, _ := startFounderOf(t, func(c *Config) { c.Limits = gate.Config{Connections: 2} })
		dial := func() error {
			conn, err := net.Dial("tcp", s.cfg.APIListen)
			if err != nil {
				return err
			}
			t.Cleanup(func() { conn.Close() })
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				return err
			}
			// Who connects is not asked about here, but whether they are talked to.
			return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(t.Context())
		}
		for range 2 {
			if err := dial(); err != nil {
				t.Fatalf("within the limit: %v", err)
			}
		}
		err := dial()
		var broken *net.OpError
		if !errors.Is(err, io.EOF) && !errors.As(err, &broken) || broken != nil && broken.Timeout() {
			t.Errorf("the third connection: %v", err)
		}
		if n := s.gate.Count(gate.Connections); n != 1 {
			t.Errorf("%d connections were too many", n)
		}
	})
}
