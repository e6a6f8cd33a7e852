package main_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// wantOneSentence runs kmsd and wants that it refuses: exit status 1 and, last
// on standard error, one sentence that says all of want.
func wantOneSentence(t *testing.T, want []string, args ...string) {
	t.Helper()
	wantRefusal(t, 1, want, args...)
}

// wantRefusal is wantOneSentence with another exit status.
func wantRefusal(t *testing.T, status int, want []string, args ...string) {
	t.Helper()
	p := start(t, args...)
	err := p.wait()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.ExitCode() != status {
		t.Errorf("kmsd %v: %v, want exit status %d; it said:\n%s", args, err, status, p.out)
		return
	}
	lines := strings.Split(strings.TrimSpace(p.out.String()), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "kmsd: ") {
		t.Errorf("kmsd %v ends with %q", args, last)
	}
	for _, line := range lines[:len(lines)-1] { // what comes before is log
		if !strings.HasPrefix(line, "time=") && !strings.HasPrefix(line, "kmsd dev: ") {
			t.Errorf("kmsd %v says besides: %q", args, line)
		}
	}
	for _, text := range want {
		if !strings.Contains(last, text) {
			t.Errorf("kmsd %v says %q, which lacks %q", args, last, text)
		}
	}
}

// nodeFile writes the configuration of a lone node and returns its path.
func nodeFile(t *testing.T, port int) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "kmsd.yaml")
	text := fmt.Sprintf(`
node: {id: lone, data_dir: %s/data}
api: {listen: "127.0.0.1:%d"}
cluster: {listen: "127.0.0.1:%d"}
gossip: {listen: "127.0.0.1:%d"}
`, dir, port, port+1, port+2)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConfigCheckPrintsTheEffectiveConfiguration(t *testing.T) {
	file := nodeFile(t, 8440)
	command := exec.Command(kmsd, "config", "check", "--config", file, "--log-format", "json")
	command.Env = append(os.Environ(), "RAFTKMS_LOG_LEVEL=debug")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, want := range []string{"id: lone", "advertise: https://127.0.0.1:8440", "level: debug", "format: json", "kind: soft", "shutdown_timeout: 10s"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("config check does not print %q:\n%s", want, out)
		}
	}
}

func TestWrongCommandLinesAndConfigurations(t *testing.T) {
	file := nodeFile(t, 8440)
	broken := filepath.Join(filepath.Dir(file), "broken.yaml")
	if err := os.WriteFile(broken, []byte("node:\n  name: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(filepath.Dir(file), "token")
	if err := os.WriteFile(open, []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"serve"}, {"config", "check"}} {
		wantOneSentence(t, []string{"broken.yaml", "line 2: unknown key name"}, append(command, "--config", broken)...)
		wantOneSentence(t, []string{"no such file"}, append(command, "--config", broken+".absent")...)
		wantOneSentence(t, []string{"cluster.join_token_file", "open to group or others"}, append(command, "--config", file, "--cluster-join-token-file", open)...)
		wantOneSentence(t, []string{"CREDENTIALS_DIRECTORY"}, append(command, "--config", file, "--cluster-join-token-file", "credential:token")...)
	}
	wantOneSentence(t, []string{"unknown flag: --nonsense"}, "serve", "--nonsense")
	wantOneSentence(t, []string{"unknown command"}, "nonsense")
	wantOneSentence(t, []string{"unknown command"}, "config", "nonsense")
	wantOneSentence(t, []string{"--nodes 8 must lie between 1 and 7"}, "dev", "--nodes", "8", "--dir", t.TempDir())
	wantOneSentence(t, []string{"--module \"hard\""}, "dev", "--module", "hard", "--dir", t.TempDir())
	wantOneSentence(t, []string{"PKCS #11 library"}, "dev", "--module", "pkcs11", "--pkcs11-library", "/nonexistent.so", "--dir", t.TempDir())
}

func TestAPortInUse(t *testing.T) {
	port := freePort(t, 1)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	wantOneSentence(t, []string{address, "address already in use"}, "serve", "--config", nodeFile(t, port))
	wantOneSentence(t, []string{address, "port in use"}, "dev", "--nodes", "1", "--dir", t.TempDir(), "--port", strconv.Itoa(port))
}

func TestVersion(t *testing.T) {
	out, err := exec.Command(kmsd, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "kmsd ") {
		t.Errorf("kmsd version prints %q, %v", out, err)
	}
}
