package campaign

import (
	"encoding/base64"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/bench/nemesis"
)

// A secret is found wherever it is, in every form; what is none is not.
func TestSecretsAreFound(t *testing.T) {
	var s secrets
	const secret = "a plaintext that nobody may know"
	s.add("a plaintext", []byte(secret))
	s.add("short", []byte("too short"))
	n := s.needles()
	f := func(text string, want ...string) {
		t.Helper()
		for _, at := range []int{0, 3, scanBlock - 10, scanBlock - 1, 2*scanBlock + 5} {
			found, err := n.in(strings.NewReader(strings.Repeat("x", at) + text + strings.Repeat("y", 100)))
			if err != nil || strings.Join(found, ", ") != strings.Join(want, ", ") {
				t.Errorf("%q at %d: found %q, want %q, %v", text, at, found, want, err)
			}
		}
	}
	f("")
	f("too short")
	f(secret[:len(secret)-1])
	f(secret, "a plaintext as it is")
	f(secret+secret, "a plaintext as it is")
	f(base64.StdEncoding.EncodeToString([]byte(secret)), "a plaintext in base64")
	f(base64.RawURLEncoding.EncodeToString([]byte(secret)), "a plaintext in base64")
	f(hex.EncodeToString([]byte(secret)), "a plaintext in hex")
	f(strings.ToUpper(hex.EncodeToString([]byte(secret))), "a plaintext in hex")
}

// What lies in a node's files, packed or not, or in its metrics, is a leak.
func TestLeaksAreRecorded(t *testing.T) {
	dir := t.TempDir()
	audit := filepath.Join(dir, "node-1", "data", "audit")
	if err := os.MkdirAll(audit, 0o700); err != nil {
		t.Fatal(err)
	}
	const secret = "what nobody may write down"
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{secrets: new(secrets), recorder: history.NewRecorder(), cluster: &cluster{dir: dir}}
	starter := nemesis.NewStarter()
	t.Cleanup(starter.Close)
	r.cluster.processes = []*nemesis.Process{starter.NewProcess("node-1", filepath.Join(dir, "node-1", "kmsd.log"), "none")}
	r.secrets.add("a password", []byte(secret))
	f := func(path, content, metrics string, want int) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.seek(map[string][]byte{"node-1": []byte(metrics)}); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := len(r.recorder.History().Leaks); got != want {
			t.Errorf("%s: %d leaks, want %d", path, got, want)
		}
	}
	f(filepath.Join(dir, "node-1", "kmsd.log"), "level=INFO", "", 0)
	f(filepath.Join(dir, "node-1", "kmsd.log"), "level=INFO password="+secret, "", 1)
	f(filepath.Join(audit, "traces-1.jsonl.zst"), string(encoder.EncodeAll([]byte(secret), nil)), "", 2)
	f(filepath.Join(audit, "traces-1.jsonl"), "{}", `kms_calls{user="`+secret+`"} 1`, 3)
	f(filepath.Join(dir, "dev.json"), secret, "", 3) // no node's file
}

// Traces are read as a node has written them, and a call without one is found.
func TestTracesAreCollected(t *testing.T) {
	dir := t.TempDir()
	audit := filepath.Join(dir, "node-1", "data", "audit")
	if err := os.MkdirAll(audit, 0o700); err != nil {
		t.Fatal(err)
	}
	const lines = `{"segment":1,"node_id":"node-1","hash":"00"}
{"seq":1,"unsynced":0,"trace_name":"createDataKey","trace_type":"ApiCall","request_id":"r1","code":"200","record_time":1700000000000,"hash":"00"}
{"seq":2,"unsynced":0,"trace_name":"takeSnapshot","trace_type":"SystemAction","request_id":"r2","code":"200","record_time":1700000000000,"hash":"00"}

`
	r := &run{recorder: history.NewRecorder(), cluster: &cluster{dir: dir}}
	starter := nemesis.NewStarter()
	t.Cleanup(starter.Close)
	r.cluster.processes = []*nemesis.Process{starter.NewProcess("node-1", filepath.Join(dir, "log"), "none")}
	if err := r.collectTraces(); err == nil {
		t.Error("a node without traces passes")
	}
	if err := os.WriteFile(filepath.Join(audit, "traces-1.jsonl"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.collectTraces(); err != nil {
		t.Fatal(err)
	}
	traces := r.recorder.History().Traces
	if len(traces) != 1 || traces[0].Node != "node-1" || traces[0].Request != "r1" || traces[0].Name != "createDataKey" || traces[0].Code != "200" {
		t.Errorf("%+v", traces)
	}
}
