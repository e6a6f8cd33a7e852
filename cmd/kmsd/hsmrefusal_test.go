package main_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/raftkms/raftkms/hsm"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// TestStartsThatAnHSMRefuses shows what a node with an HSM says that must not
// start: each is one sentence, and a status other than 0.
func TestStartsThatAnHSMRefuses(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*startTimeout)
	defer cancel()
	n, device := foundWithHSM(ctx, t, "")
	await(t, "a node that is ready", func() bool {
		status, err := n.socket.Status(ctx)
		return err == nil && status.Ready
	})
	n.stop(syscall.SIGTERM)
	file := n.cmd.Args[len(n.cmd.Args)-1]

	// A token that holds the root keys of another cluster.
	library, err := pkcs11.FindSoftHSM()
	must(t, err)
	environment, err := pkcs11.CreateSoftHSMToken(filepath.Dir(file), "theirs", []byte("officer-1234"), []byte("user-5678"))
	must(t, err)
	t.Setenv("SOFTHSM2_CONF", environment["SOFTHSM2_CONF"])
	m, err := pkcs11.Open(ctx, pkcs11.Config{Library: library, TokenLabel: "theirs", PIN: func() ([]byte, error) { return []byte("user-5678"), nil }})
	must(t, err)
	must(t, m.CreateRoots(ctx, hsm.ClusterID{0x6f, 15: 2}, 1))
	must(t, m.Close())

	f := func(args []string, want ...string) {
		t.Helper()
		wantOneSentence(t, want, append([]string{"serve", "--config", file}, args...)...)
	}
	f([]string{"--module-pkcs11-token-label", "theirs"}, "module belongs to another cluster")
	f([]string{"--module-pkcs11-token-label", "nobody's"}, `finding the token "nobody's": there are "`, `"node"`)
	const refusedPIN = 78 // at which scripts/raftkms.service does not start it again
	wantRefusal(t, refusedPIN, []string{"the module refused the PIN", "tries are left"}, "serve", "--config", file, "--module-pkcs11-pin-file", secretFile(t, "wrong-9999"))
	absent := filepath.Join(t.TempDir(), "absent.so")
	f([]string{"--module-pkcs11-library", absent}, absent, "is the path right?")
	text := secretFile(t, "no library")
	must(t, os.Chmod(text, 0o700))
	f([]string{"--module-pkcs11-library", text}, text, "is it one, and for this machine?")
	const genericSecretKeyGen = 0x350
	device.Hide(genericSecretKeyGen)
	f(nil, "the module does not support this: the token has no CKM_GENERIC_SECRET_KEY_GEN")
	device.Heal()
	device.Unplug()
	f(nil, `finding the token "node": there are none`)
	device.Plug()

	again := start(t, "serve", "--config", file)
	await(t, "the node, whose HSM is right again", func() bool {
		status, err := n.socket.Status(ctx)
		return err == nil && status.Ready
	})
	again.stop(syscall.SIGTERM)
}
