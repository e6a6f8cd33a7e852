package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/custody"
	"github.com/raftkms/raftkms/hsm/hsmtest/faultylib"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// hangPatience is for a busy machine: what is tested lasts a second.
const hangPatience = 25 * time.Second

// hangingNode is the configuration of a node that does not run, and its HSM,
// which hangs in a function until the test ends.
func hangingNode(t *testing.T, in faultylib.Function, limit string) (file string, d *faultylib.Device) {
	t.Helper()
	const officerPIN, userPIN = "officer-1234", "user-5678"
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	library, err := pkcs11.FindSoftHSM()
	must(err)
	environment, err := pkcs11.CreateSoftHSMToken(dir, "node", []byte(officerPIN), []byte(userPIN))
	must(err)
	// A SoftHSM of its own, since the library of others must not be the one that hangs.
	text, err := os.ReadFile(library)
	must(err)
	own := filepath.Join(dir, "own.so")
	must(os.WriteFile(own, text, 0o700))
	d, err = faultylib.New(dir, own)
	must(err)
	pin, file := filepath.Join(dir, "pin"), filepath.Join(dir, "kmsd.yaml")
	must(os.WriteFile(pin, []byte(userPIN), 0o600))
	must(os.WriteFile(file, fmt.Appendf(nil, `
node: {id: a, data_dir: %[1]s/data}
api: {listen: "127.0.0.1:8443"}
cluster: {listen: "127.0.0.1:8444"}
gossip: {listen: "127.0.0.1:8445"}
module:
  kind: pkcs11
  pkcs11: {library: %[2]s, token_label: node, pin_file: %[3]s, open_limit: %[4]s, environment: {SOFTHSM2_CONF: %[5]s}}
`, dir, d.Path, pin, limit, environment["SOFTHSM2_CONF"]), 0o600))
	d.Hang(in)
	t.Cleanup(d.Release)
	return file, d
}

// The doctor of an HSM that hangs says so and ends, whichever call it hangs in.
func TestDoctorOfAnHSMThatHangs(t *testing.T) {
	for _, in := range []faultylib.Function{faultylib.Initialize, faultylib.GetSlotList, faultylib.OpenSession} {
		file, d := hangingNode(t, in, "1s")
		started := time.Now()
		out, err := exec.Command("kmsctl", "hsm", "doctor", "--config", file).CombinedOutput()
		exit, is := errors.AsType[*exec.ExitError](err)
		if !is || exit.ExitCode() != exitFailed || time.Since(started) > hangPatience {
			t.Fatalf("function %d: %v after %v, saying:\n%s", in, err, time.Since(started), out)
		}
		for _, want := range []string{"PROBLEM", d.Path, "within 1s; check", "VERDICT", "this device cannot carry a node"} {
			if !strings.Contains(string(out), want) {
				t.Errorf("function %d: it does not say %q:\n%s", in, want, out)
			}
		}
	}
}

// Root keys are not restored into an HSM that hangs.
func TestRestoreIntoAnHSMThatHangs(t *testing.T) {
	file, d := hangingNode(t, faultylib.Login, "1s")
	c, err := config.Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", "") // restored at the end
	started := time.Now()
	_, err = restoreRoots(t.Context(), c, new(custody.Backup), nil, nil)
	if !errors.Is(err, hsm.ErrUnavailable) || !strings.Contains(err.Error(), d.Path) || strings.Contains(err.Error(), "\n") || time.Since(started) > hangPatience {
		t.Errorf("%v after %v", err, time.Since(started))
	}
	d.Release()
	for deadline := time.Now().Add(hangPatience); d.Sessions()+d.Inside() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what came too late is not closed")
		}
	}
}

// The doctor of an HSM whose library hangs at the end prints what it found out, and
// that, and ends.
func TestDoctorOfALibraryThatHangsAtTheEnd(t *testing.T) {
	file, d := hangingNode(t, faultylib.Finalize, "30s, call_limit: 3s")
	d.Hide(p11.CKM_RSA_PKCS_KEY_PAIR_GEN, p11.CKM_EC_KEY_PAIR_GEN) // whose keys take long to make
	out, err := endsByItself(t, exec.Command("kmsctl", "hsm", "doctor", "--config", file))
	if exit, is := errors.AsType[*exec.ExitError](err); !is || exit.ExitCode() != exitFailed {
		t.Fatalf("%v, saying:\n%s", err, out)
	}
	for _, want := range []string{"PROBLEM", d.Path + " hangs in its C_Finalize", "TIME", "make and wrap an AES_256 key", "VERDICT", "this device cannot carry a node"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// Root keys that were restored are, whatever the library does after it.
func TestRestoreWithALibraryThatHangsAtTheEnd(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	file, d := hangingNode(t, faultylib.Finalize, "30s, call_limit: 3s")
	dir := filepath.Dir(file)
	library, err := pkcs11.FindSoftHSM()
	must(err)
	environment, err := pkcs11.CreateSoftHSMToken(dir, "source", []byte("officer-1234"), []byte("user-5678"))
	must(err)
	for name, value := range environment {
		t.Setenv(name, value)
	}
	from, err := pkcs11.Open(t.Context(), pkcs11.Config{Library: library, TokenLabel: "source", PIN: func() ([]byte, error) { return []byte("user-5678"), nil }})
	must(err)
	home := hsm.ClusterID{0x68, 15: 1}
	must(from.CreateRoots(t.Context(), home, 1))
	canary, err := hsm.NewCanary(t.Context(), from, home, 1)
	must(err)
	backup, shares, err := custody.Make(t.Context(), from, canary, 2, 2, []byte("officer-1234"), time.Now())
	must(err)
	must(from.Close())
	args := []string{"root", "restore", "--config", file, filepath.Join(dir, "backup")}
	must(os.WriteFile(filepath.Join(dir, "backup"), backup, 0o600))
	for i, share := range shares {
		name := filepath.Join(dir, fmt.Sprintf("share-%d", i))
		must(os.WriteFile(name, []byte(share), 0o600))
		args = append(args, "--share-file", name)
	}
	out, err := endsByItself(t, exec.Command("kmsctl", args...))
	if err != nil {
		t.Fatalf("%v, saying:\n%s", err, out)
	}
	for _, want := range []string{"restored: the module holds these root keys", d.Path + " hangs in its C_Finalize"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}

// endsByItself runs a command, which no signal has to end, and returns what it said.
func endsByItself(t *testing.T, cmd *exec.Cmd) (string, error) {
	t.Helper()
	late := time.AfterFunc(3*hangPatience, func() {
		t.Error("it did not end")
		_ = cmd.Process.Kill()
	})
	defer late.Stop()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// A call that hangs in an HSM that is open heeds no signal: the second one ends the program.
func TestSecondSignal(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		file, d := hangingNode(t, faultylib.FindObjects, "30s")
		cmd := exec.Command("kmsctl", "hsm", "doctor", "--config", file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for deadline := time.Now().Add(hangPatience); d.Calls(faultylib.FindObjects) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no call hangs")
			}
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			t.Fatalf("%v: the first ended a program with a call in an HSM: %v", signal, err)
		case <-time.After(time.Second):
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			exit, is := errors.AsType[*exec.ExitError](err)
			if status, unix := exit.Sys().(syscall.WaitStatus); !is || !unix || status.Signal() != signal {
				t.Errorf("%v: it ended with %v", signal, err)
			}
		case <-time.After(hangPatience / 5):
			_ = cmd.Process.Kill()
			t.Errorf("%v: the second did not end it", signal)
			<-ended
		}
	}
}
