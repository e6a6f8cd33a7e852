package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base32"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/hsm/pkcs11"
	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kmsctl": main})
}

// TestScripts plays the scripts of testdata against real nodes.
func TestScripts(t *testing.T) {
	programs := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(programs, "kmsd"), "../kmsd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building kmsd: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", programs+string(filepath.ListSeparator)+e.Getenv("PATH"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"document": readPromises(t).wantDocument, "refused": wantRefusal,
			"node": writeNode, "hsms": useHSMs, "await": await, "setenv": setenv, "credentials": useCredentials, "status": wantStatus,
			"secret": writeSecret, "alter": alter, "shorten": shorten, "flip": flip, "moduleof": moduleOf, "clone": clone, "passcode": writePasscode, "request": checkRequest,
		},
		RequireExplicitExec: true,
	})
}

// writeNode (node ID) writes ID.yaml, the configuration of a node on free ports.
func writeNode(ts *testscript.TestScript, _ bool, args []string) {
	port := 0
	for port == 0 {
		if p := 10000 + 10*rand.IntN(2000); free(p) && free(p+1) && free(p+2) {
			port = p
		}
	}
	text := fmt.Sprintf("node: {id: %[1]s, data_dir: %[2]q}\napi: {listen: \"127.0.0.1:%[3]d\"}\ncluster: {listen: \"127.0.0.1:%[4]d\"}\ngossip: {listen: \"127.0.0.1:%[5]d\"}\n",
		args[0], ts.MkAbs(args[0]), port, port+1, port+2)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".yaml"), []byte(text), 0o600))
	ts.Setenv("URL_"+args[0], fmt.Sprintf("https://127.0.0.1:%d", port))
}

// useHSMs (hsms ID LABEL [LABEL]) gives the node tokens of SoftHSM, with a
// library of its own for the second, so that it is another device. Their user
// PIN and the officer's are in the files pin and officer-pin.
func useHSMs(ts *testscript.TestScript, _ bool, args []string) {
	const officerPIN, userPIN = "officer-1234", "user-5678"
	library, err := pkcs11.FindSoftHSM()
	ts.Check(err)
	dir := ts.MkAbs("hsm-" + args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	var environment map[string]string
	for _, label := range args[1:] {
		environment, err = pkcs11.CreateSoftHSMToken(dir, label, []byte(officerPIN), []byte(userPIN))
		ts.Check(err)
	}
	ts.Check(os.WriteFile(ts.MkAbs("pin"), []byte(userPIN), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs("officer-pin"), []byte(officerPIN), 0o600))
	module := fmt.Sprintf("module:\n  kind: pkcs11\n  pkcs11: {library: %q, token_label: %q, pin_file: %q, environment: {SOFTHSM2_CONF: %q}}\n",
		library, args[1], ts.MkAbs("pin"), environment["SOFTHSM2_CONF"])
	if len(args) > 2 {
		text, err := os.ReadFile(library)
		ts.Check(err)
		second := filepath.Join(dir, "second.so")
		ts.Check(os.WriteFile(second, text, 0o700))
		module += fmt.Sprintf("  second: {library: %q, token_label: %q}\n", second, args[2])
	}
	config := ts.ReadFile(args[0] + ".yaml")
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".yaml"), []byte(config+module), 0o600))
}

func free(port int) bool {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err == nil {
		listener.Close()
	}
	return err == nil
}

// await (await PATTERN COMMAND...) runs a command until its output matches.
func await(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := ts.Exec(args[1], args[2:]...); err == nil && pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("waited in vain for %s from %v; the last words:\n%s%s", args[0], args[1:], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
}

// setenv (setenv NAME FILE [FIELD]) keeps a file's text, or a field of its
// JSON, in the environment.
func setenv(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[1])
	if len(args) == 3 {
		var object map[string]any
		ts.Check(json.Unmarshal([]byte(text), &object))
		text = fmt.Sprint(object[args[2]])
	}
	ts.Setenv(args[0], strings.TrimSpace(text))
}

// useCredentials (credentials FILE) sets the environment and writes the files
// with which kmsctl uses what cluster init has shown.
func useCredentials(ts *testscript.TestScript, _ bool, args []string) {
	var reply wire.InitReply
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &reply))
	ts.Check(devfile.WriteAtomic(ts.MkAbs("ca.pem"), []byte(reply.CACertificate)))
	ts.Check(devfile.WriteAtomic(ts.MkAbs("secret-key"), []byte(reply.SecretKey)))
	ts.Setenv("RAFTKMS_CA_FILE", ts.MkAbs("ca.pem"))
	ts.Setenv("RAFTKMS_SECRET_KEY_FILE", ts.MkAbs("secret-key"))
	ts.Setenv("RAFTKMS_ACCESS_KEY", reply.AccessKey)
	ts.Setenv("RAFTKMS_PROJECT", reply.ProjectID)
}

// writeSecret (secret FILE TEXT) writes a file that its owner alone reads.
func writeSecret(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(args[1]), 0o600))
}

// writePasscode (passcode NAME SECRET) keeps the one-time code of a second
// factor's secret, as it is now, in the environment.
func writePasscode(ts *testscript.TestScript, _ bool, args []string) {
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(args[1])
	ts.Check(err)
	ts.Setenv(args[0], iam.TOTPCode(secret, time.Now().UnixMilli()))
}

// wantStatus (status N COMMAND...) wants an exit status.
func wantStatus(ts *testscript.TestScript, _ bool, args []string) {
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v: %v", args[1:], err)
		}
		got = fmt.Sprint(exit.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("%v: exit status %s, want %s; it said:\n%s", args[1:], got, args[0], ts.ReadFile("stderr"))
	}
}

// alter (alter DIR) changes one character of an early line in a trace directory.
func alter(ts *testscript.TestScript, _ bool, args []string) {
	segments, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*.jsonl"))
	ts.Check(err)
	text, err := os.ReadFile(segments[0])
	ts.Check(err)
	ts.Check(os.WriteFile(segments[0], bytes.Replace(text, []byte(`"trace_name":"`), []byte(`"trace_name":"x`), 1), 0o600))
}

// moduleOf (moduleof OLD NEW) gives a new node the module of an old one.
func moduleOf(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.MkdirAll(ts.MkAbs(args[1]), 0o700))
	copyPrivate(ts, filepath.Join(ts.MkAbs(args[0]), "module"), filepath.Join(ts.MkAbs(args[1]), "module"))
}

// clone (clone OLD NEW) gives a new node all that a stopped one has.
func clone(ts *testscript.TestScript, _ bool, args []string) {
	copyPrivate(ts, ts.MkAbs(args[0]), ts.MkAbs(args[1]))
}

// copyPrivate copies a directory, readable by its owner alone.
func copyPrivate(ts *testscript.TestScript, from, to string) {
	ts.Check(os.CopyFS(to, os.DirFS(from)))
	ts.Check(filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600) // CopyFS opens them to others
	}))
}

// checkRequest (request FILE NAME...) wants a request for a certificate that is
// signed with its own key and names those hosts.
func checkRequest(ts *testscript.TestScript, _ bool, args []string) {
	block, rest := pem.Decode([]byte(ts.ReadFile(args[0])))
	if block == nil || len(rest) > 0 {
		ts.Fatalf("%s is no PEM", args[0])
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	ts.Check(err)
	ts.Check(request.CheckSignature())
	if !slices.Equal(request.DNSNames, args[1:]) {
		ts.Fatalf("the request is for %v", request.DNSNames)
	}
}

// shorten (shorten FILE) cuts the last byte off a file.
func shorten(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), info.Size()-1))
}

// flip (flip FILE) changes one bit in the middle of a file.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	content, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	content[len(content)/2] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o600))
}

func TestExitStatuses(t *testing.T) {
	f := func(err error, want int) {
		t.Helper()
		if got := exitStatus(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	f(nil, 0)
	f(errors.New("x"), exitFailed)
	f(misuse("x"), exitUsage)
	f(fmt.Errorf("x: %w", client.ErrUnavailable), exitUnavailable)
	f(&client.Error{Status: 503}, exitUnavailable)
	f(fmt.Errorf("x: %w", client.ErrOutcomeUnknown), exitUnknown)
	f(&client.Error{Status: 404, Code: "KMS.0207"}, exitFailed)
}
