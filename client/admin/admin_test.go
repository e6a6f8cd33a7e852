package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/admin"
	"github.com/raftkms/raftkms/server/wire"
)

// serve answers on a Unix socket until the test ends.
func serve(t *testing.T, handler http.HandlerFunc) *admin.Socket {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })
	return admin.Open(path)
}

func TestCallsCarryTheirRequestsAndReplies(t *testing.T) {
	var method, path string
	var body map[string]any
	var reply any
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		method, path, body = r.Method, r.URL.Path, nil
		_ = json.NewDecoder(r.Body).Decode(&body)
		_ = json.NewEncoder(w).Encode(reply)
	})
	ctx := context.Background()
	f := func(wantMethod, wantPath string, wantBody map[string]any, answer any, call func() (any, error)) {
		t.Helper()
		reply = answer
		got, err := call()
		if err != nil {
			t.Error(err)
		}
		if method != wantMethod || path != wantPath {
			t.Errorf("called %s %s, want %s %s", method, path, wantMethod, wantPath)
		}
		if diff := cmp.Diff(body, wantBody); diff != "" {
			t.Error("body: -got +want\n" + diff)
		}
		if got != nil {
			if diff := cmp.Diff(got, answer); diff != "" {
				t.Error("reply: -got +want\n" + diff)
			}
		}
	}
	f("POST", wire.AdminPathInit, map[string]any{"region": "r", "domain_name": "d", "user_name": "u"},
		wire.InitReply{ClusterID: "c", Password: "p"},
		func() (any, error) {
			return s.Init(ctx, wire.InitRequest{Region: "r", DomainName: "d", UserName: "u"})
		})
	f("POST", wire.AdminPathJoinToken, map[string]any{"lifetime_seconds": 90.0},
		wire.JoinTokenReply{Token: "t", Expires: "e"},
		func() (any, error) { return s.JoinToken(ctx, 90*time.Second) })
	f("POST", wire.AdminPathJoin, map[string]any{"token": "t"}, map[string]any{},
		func() (any, error) { return nil, s.Join(ctx, "t") })
	f("GET", wire.AdminPathStatus, nil, wire.StatusReply{NodeID: "n", Members: []wire.MemberInfo{{ID: "m"}}},
		func() (any, error) { return s.Status(ctx) })
	f("POST", wire.AdminPathApproveRoots, map[string]any{"node_id": "n", "fingerprint": "f", "officer_pin": "1"}, map[string]any{},
		func() (any, error) {
			return nil, s.ApproveRoots(ctx, wire.ApproveRootsRequest{NodeID: "n", Fingerprint: "f", OfficerPIN: "1"})
		})
}

func TestVerifyRootsIsAskedForInSteps(t *testing.T) {
	var asked []wire.VerifyRootsRequest
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var req wire.VerifyRootsRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || r.URL.Path != wire.AdminPathVerifyRoots {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		asked = append(asked, req)
		_ = json.NewEncoder(w).Encode(wire.VerifyRootsReply{NodeID: req.NodeID, Holds: true, Opened: 3, Next: "8:00"})
	})
	reply, err := s.VerifyRoots(context.Background(), wire.VerifyRootsRequest{NodeID: "n", After: "7:00", Every: 2})
	if err != nil || reply.Next != "8:00" || !reply.Holds || reply.Opened != 3 {
		t.Errorf("got %+v, %v", reply, err)
	}
	if diff := cmp.Diff(asked, []wire.VerifyRootsRequest{{NodeID: "n", After: "7:00", Every: 2}}); diff != "" {
		t.Error("-got +want\n" + diff)
	}
}

func TestRefusalsCarryTheNodesSentence(t *testing.T) {
	answer := `{"error":"this node already has a cluster"}`
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(answer))
	})
	err := s.Join(context.Background(), "t")
	refusal, ok := errors.AsType[*admin.Refusal](err)
	if !ok || refusal.Status != http.StatusConflict || err.Error() != "this node already has a cluster" {
		t.Errorf("got %v", err)
	}
	answer = "<html>"
	if err := s.Join(context.Background(), "t"); err == nil || !strings.Contains(err.Error(), "status 409") {
		t.Errorf("got %v", err)
	}
}

// A program can tell what it may ask again, and what it must look for first.
func TestRefusalsSayWhetherToAskAgain(t *testing.T) {
	status := 0
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	f := func(answer int, unavailable, unknown bool) {
		t.Helper()
		status = answer
		if _, err := s.Doctor(context.Background()); errors.Is(err, client.ErrUnavailable) != (unavailable || unknown) || errors.Is(err, client.ErrOutcomeUnknown) {
			t.Errorf("status %d to a look: %v", answer, err)
		}
		err := s.Join(context.Background(), "t")
		if errors.Is(err, client.ErrUnavailable) != unavailable || errors.Is(err, client.ErrOutcomeUnknown) != unknown {
			t.Errorf("status %d: %v", answer, err)
		}
	}
	f(http.StatusBadRequest, false, false)
	f(http.StatusInternalServerError, false, false)
	f(http.StatusServiceUnavailable, true, false)
	f(http.StatusGatewayTimeout, false, true)
}

// A node that ends in the middle of a change may have made it.
func TestCallsThatGetNoAnswer(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	ctx := context.Background()
	f := func(err error, unknown bool) {
		t.Helper()
		if err == nil || errors.Is(err, client.ErrOutcomeUnknown) != unknown {
			t.Errorf("got %v", err)
		}
	}
	f(s.Remove(ctx, "n"), true)
	_, err := s.Restore(ctx, strings.NewReader("backup"), admin.RestoreOptions{Confirm: "c"})
	f(err, true)
	_, err = s.Restore(ctx, strings.NewReader("backup"), admin.RestoreOptions{})
	f(err, false)
	_, err = s.CheckBackup(ctx, strings.NewReader("backup"))
	f(err, false)
	_, err = s.Doctor(ctx)
	f(err, false)
	_, err = s.Status(ctx)
	f(err, false)
	path := filepath.Join(t.TempDir(), "absent.sock")
	f(admin.Open(path).Remove(ctx, "n"), false)
}

func TestANodeThatIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent.sock")
	_, err := admin.Open(path).Status(context.Background())
	if err == nil || !strings.Contains(err.Error(), path+" (is kmsd running?)") {
		t.Errorf("got %v", err)
	}
}
