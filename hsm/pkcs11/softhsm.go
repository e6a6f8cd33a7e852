package pkcs11

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	p11 "github.com/miekg/pkcs11"
)

// softHSMConfig is the environment variable in which SoftHSM finds its
// configuration file. It is read when the library is initialised, by getenv(3),
// which Go's os.Setenv reaches in a program with cgo.
const softHSMConfig = "SOFTHSM2_CONF"

// FindSoftHSM returns the path of SoftHSM's library.
func FindSoftHSM() (string, error) {
	for _, dir := range []string{
		"/usr/lib/softhsm",
		"/usr/lib/x86_64-linux-gnu/softhsm",
		"/usr/lib/aarch64-linux-gnu/softhsm",
		"/usr/lib64/softhsm",
		"/usr/lib64/pkcs11",
		"/usr/local/lib/softhsm",
	} {
		path := filepath.Join(dir, "libsofthsm2.so")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("SoftHSM is not installed (apt-get install softhsm2)")
}

// CreateSoftHSMToken makes a SoftHSM token with that label (at most 32 bytes)
// in dir, for development and tests. It returns the environment that a process
// needs to use it. PINs have 4 to 255 bytes. dir may hold tokens already; two
// with the same label are refused.
//
// The token is made by the library inside this process: softhsm2-util reads
// PINs from a terminal or from its arguments, where everybody can see them. A
// process that has SoftHSM open with another configuration is refused, since
// one process has one. Meanwhile the environment variable of this process is
// set, so nothing else should change or read the environment from C.
func CreateSoftHSMToken(dir, label string, officerPIN, userPIN []byte) (env map[string]string, err error) {
	path, err := FindSoftHSM()
	if err != nil {
		return nil, fmt.Errorf("creating a SoftHSM token: %w", err)
	}
	return CreateSoftHSMTokenWith(path, dir, label, officerPIN, userPIN)
}

// CreateSoftHSMTokenWith is [CreateSoftHSMToken] with SoftHSM's library at a
// path of the caller's.
func CreateSoftHSMTokenWith(library, dir, label string, officerPIN, userPIN []byte) (env map[string]string, err error) {
	if env, err = createSoftHSMToken(library, dir, label, officerPIN, userPIN); err != nil {
		return nil, fmt.Errorf("creating a SoftHSM token: %w", err)
	}
	return env, nil
}

func createSoftHSMToken(path, dir, label string, officerPIN, userPIN []byte) (map[string]string, error) {
	if label == "" || len(label) > 32 {
		return nil, errors.New("a label has 1 to 32 bytes")
	}
	for _, pin := range [][]byte{officerPIN, userPIN} {
		if len(pin) < 4 || len(pin) > 255 {
			return nil, errors.New("a PIN has 4 to 255 bytes")
		}
	}
	config, err := writeSoftHSMConfig(dir)
	if err != nil {
		return nil, err
	}
	before, was := os.LookupEnv(softHSMConfig)
	if err := os.Setenv(softHSMConfig, config); err != nil {
		return nil, err
	}
	lib, err := libraries.acquire(path)
	if was {
		err = errors.Join(err, os.Setenv(softHSMConfig, before))
	} else {
		err = errors.Join(err, os.Unsetenv(softHSMConfig))
	}
	if lib == nil {
		return nil, err
	}
	if err == nil && (lib.config != config || !lib.ours) {
		err = errors.New("this process has SoftHSM open with another configuration")
	}
	if err == nil {
		err = initToken(lib, label, officerPIN, userPIN)
	}
	if err = errors.Join(err, libraries.release(lib)); err != nil {
		return nil, err
	}
	return map[string]string{softHSMConfig: config}, nil
}

// writeSoftHSMConfig makes the directory and the configuration unless they are
// there, and returns the absolute path of the latter.
func writeSoftHSMConfig(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	tokens := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return "", err
	}
	config := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n"
	return config, os.WriteFile(config, []byte(text), 0o600)
}

func initToken(lib *library, label string, officerPIN, userPIN []byte) error {
	slots, err := lib.slots() // SoftHSM adds an empty token when there is none
	if err != nil {
		return fmt.Errorf("listing the slots: %w", err)
	}
	var empty *uint
	for _, slot := range slots {
		info, err := lib.api.GetTokenInfo(slot)
		switch {
		case err != nil:
			return fmt.Errorf("asking for the token: %w", err)
		case info.Flags&p11.CKF_TOKEN_INITIALIZED == 0:
			empty = &slot
		case info.Label == label:
			return fmt.Errorf("there is a token %q already", label)
		}
	}
	if empty == nil {
		return errors.New("there is no empty token")
	}
	if err := lib.api.InitToken(*empty, string(officerPIN), label); err != nil {
		return fmt.Errorf("initialising the token: %w", err)
	}
	s, err := lib.api.OpenSession(*empty, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	if err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	defer func() { _ = lib.api.CloseSession(s) }() // logs out too
	if err := lib.api.LoginWith(s, p11.CKU_SO, officerPIN); err != nil {
		return fmt.Errorf("logging in as security officer: %w", err)
	}
	if err := lib.api.InitPIN(s, string(userPIN)); err != nil {
		return fmt.Errorf("setting the user PIN: %w", err)
	}
	return nil
}
