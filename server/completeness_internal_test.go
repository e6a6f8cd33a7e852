package server

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/wire"
)

// operational are the endpoints of the API port that leave no trace: they are
// asked all the time, by balancers and for the versions of the API, need no
// credentials and tell no secret.
func operational(path string) bool {
	switch path {
	case "/livez", "/readyz", "/leader", "/nodes", "/metrics", "/", "/v1.0", "/v3", "/openapi.yaml":
		return true
	}
	return false
}

// Every endpoint of every dialect leaves one trace, also of a request that is
// refused at the door.
func TestEveryEndpointLeavesATrace(t *testing.T) {
	s, admin := startFounderOf(t)
	table := s.member.Load().table
	for _, r := range s.routes(s.member.Load()) {
		path := r.path
		for name := range valueNames(path) {
			value := "b0b0b0b0-0000-4000-8000-000000000001"
			if name == "project_id" {
				value = admin.ProjectID
			}
			path = strings.Replace(path, "{"+name+"}", value, 1)
		}
		var request fasthttp.Request
		request.Header.SetMethod(r.method)
		request.SetRequestURI("https://n1" + path)
		request.Header.SetContentType("application/json")
		request.SetBodyString("{}")
		rc := new(fasthttp.RequestCtx)
		rc.Init(&request, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, nil)
		s.answer(table, rc)
		id := string(rc.Response.Header.Peek("X-Request-Id"))
		a, err := s.traces.Search(t.Context(), audit.Query{RequestID: id, Limit: 10})
		want := 1
		if operational(r.path) {
			want = 0
		}
		if err != nil || id == "" || len(a.Found) != want {
			t.Errorf("%s %s: %d traces, want %d (%v)", r.method, r.path, len(a.Found), want, err)
		}
		if status := rc.Response.StatusCode(); want == 1 && status < 400 {
			t.Errorf("%s %s answers %d without credentials", r.method, r.path, status)
		}
	}
}

// Everything that an operator asks through the admin socket leaves one trace,
// done or refused, and every path of the socket is looked at here. What is done
// by more than one change leaves one for each.
func TestEveryAdminRequestLeavesATrace(t *testing.T) {
	s, _ := startFounderOf(t)
	traces := func() []audit.Found {
		t.Helper()
		a, err := s.traces.Search(t.Context(), audit.Query{SourceIP: adminSource, Limit: 1000})
		if err != nil || len(a.Damaged) > 0 {
			t.Fatal(err, a.Damaged)
		}
		return a.Found
	}
	f := func(method, path, body string, want int) {
		t.Helper()
		before := len(traces())
		status, answer := askAdmin(t, s, method, path, body)
		if json.Valid([]byte(answer)) && strings.Contains(answer, ":null") { // a backup is no JSON
			t.Errorf("%s %s: a list that is empty is not null: %s", method, path, answer)
		}
		after := traces()
		if len(after)-before != want {
			t.Errorf("%s %s (%d): %d traces, want %d", method, path, status, len(after)-before, want)
			return
		}
		name := adminOperations()[method+" "+path].Name
		for _, trace := range after[:want] {
			if !strings.Contains(string(trace.Body), `"trace_name":"`+name+`"`) {
				t.Errorf("%s %s: the trace is %s", method, path, trace.Body)
			}
		}
	}
	seen := map[string]bool{wire.AdminPathStatus: true}
	f("GET", wire.AdminPathStatus, "", 0)
	for asked := range adminOperations() {
		method, path, _ := strings.Cut(asked, " ")
		seen[path] = true
		if method == "GET" {
			f(method, path, "", 1)
			continue
		}
		f(method, path, "{", 1) // it cannot even be read
		want := 1
		if path == wire.AdminPathRotateGossip {
			want = int(command.GossipDrop) // each of its steps changes the state, and is traced before the next
		}
		f(method, path, "{}", want)
	}
	for _, path := range adminPaths(t) {
		if !seen[path] {
			t.Errorf("%s is not among the operations of the admin socket: what is asked there leaves no trace", path)
		}
	}
}

// askAdmin asks through the admin socket.
func askAdmin(t *testing.T, s *Server, method, path, body string) (status int, answer string) {
	t.Helper()
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.cfg.AdminSocket)
	}}}
	defer socket.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://admin"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := socket.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(text)
}

// What cannot be traced is not answered.
func TestAnAdminAnswerNeedsItsTrace(t *testing.T) {
	s, _ := startFounderOf(t)
	if status, text := askAdmin(t, s, "GET", wire.AdminPathProviders, ""); status != http.StatusOK || !strings.Contains(text, "providers") {
		t.Fatalf("%d %s", status, text)
	}
	if err := s.traces.Close(); err != nil {
		t.Fatal(err)
	}
	if status, text := askAdmin(t, s, "GET", wire.AdminPathProviders, ""); status != http.StatusInternalServerError || strings.Contains(text, "providers") || !strings.Contains(text, "trace") {
		t.Errorf("%d %s", status, text)
	}
}

// adminPaths are the constants of package wire that name paths of the socket.
func adminPaths(t *testing.T) (paths []string) {
	t.Helper()
	files, err := filepath.Glob("wire/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, is := n.(*ast.ValueSpec)
			if !is || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "AdminPath") {
				return true
			}
			if literal, is := spec.Values[0].(*ast.BasicLit); is {
				path, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				paths = append(paths, path)
			}
			return true
		})
	}
	if len(paths) < 20 {
		t.Fatalf("only %d paths were found", len(paths))
	}
	return paths
}
