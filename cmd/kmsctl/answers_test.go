package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/server/wire"
)

// answering is an admin socket that gives every request one answer.
func answering(t *testing.T, status int, answer any) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })
	return socket
}

// What a node answers becomes the document of the command, and what it refuses an
// exit status and no document.
func TestAnswersOfTheAdminSocket(t *testing.T) {
	p := readPromises(t)
	f := func(command string, answer any, more ...string) {
		t.Helper()
		text, err := asJSON(slices.Concat(strings.Fields(command), more, []string{"--socket", answering(t, http.StatusOK, answer)})...)
		document, wrong := readDocument(text)
		if wrong == nil {
			wrong = p.check("the document", p[command], document)
		}
		if err != nil || wrong != nil {
			t.Errorf("%s: %v, %v", command, err, wrong)
		}
	}
	f("cluster upgrade raise", wire.UpgradeStatus{Level: 2, Possible: 2, Nodes: []wire.NodeProgram{{NodeID: "a", Version: "v", Lowest: 1, Highest: 2}}})
	f("cluster ca abort", wire.CAStatus{Stage: wire.CASettled, CAs: []wire.CAInfo{{Role: "signs"}}, Nodes: []wire.CAOfNode{{NodeID: "a", Trusts: true, Renewed: true}}})
	f("key verify-erasure", wire.VerifyErasureReply{Erased: true, RootGenerations: []uint32{1}, Nodes: []wire.ErasureNode{{ID: "a", Reported: true}}}, "KEY")
	f("iam client-ca list", wire.ProvidersReply{})
	f("iam client-ca list", wire.ProvidersReply{Providers: []wire.Provider{{ID: "ca", Kind: wire.ProviderClientCA, Bindings: []wire.Binding{{Name: "dns:a"}}}, {Kind: wire.ProviderOIDC}}})
	f("iam client-ca add", struct{}{}, "ca")
	f("iam client-ca bind", struct{}{}, "ca", "dns:a", "ada")
	f("iam client-ca unbind", struct{}{}, "ca", "dns:a")
	f("iam client-ca remove", struct{}{}, "ca")

	refused := func(status, change, look int) {
		t.Helper()
		socket := answering(t, status, wire.AdminError{Error: "this is not done"})
		for command, want := range map[string]int{
			"cluster join-token": change, "cluster upgrade raise": change, "cluster snapshot save " + filepath.Join(t.TempDir(), "backup"): look,
		} {
			text, err := asJSON(append(strings.Fields(command), "--socket", socket)...)
			if got := exitStatus(err); got != want || text != "" || err.Error() != "this is not done" {
				t.Errorf("%d for %s: exit status %d, want %d: %v; it printed %q", status, command, got, want, err, text)
			}
		}
	}
	refused(http.StatusBadRequest, exitFailed, exitFailed)
	refused(http.StatusInternalServerError, exitFailed, exitFailed)
	refused(http.StatusServiceUnavailable, exitUnavailable, exitUnavailable)
	refused(http.StatusGatewayTimeout, exitUnknown, exitUnavailable)
}

// asJSON runs a command with -o json in this process.
func asJSON(args ...string) (text string, err error) {
	var out bytes.Buffer
	cmd := newRoot()
	cmd.SetOut(&out)
	cmd.SetIn(strings.NewReader(""))
	cmd.SetArgs(append(args, "-o", "json"))
	err = cmd.Execute()
	return out.String(), err
}
