package dev

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/cmd/kmsd/config"
	"github.com/raftkms/raftkms/hsm/pkcs11"
)

// pinBytes is the entropy of a generated PIN; it is written in hex.
const pinBytes = 8

func (n *node) pinFile() string        { return filepath.Join(n.dir, "pin") }
func (n *node) officerPINFile() string { return filepath.Join(n.dir, "officer-pin") }

// makeToken makes the node's SoftHSM2 token and the files of its PINs, and
// puts both into the node's settings. What an interrupted attempt left is
// replaced: no node has used it.
func (n *node) makeToken(library string) error {
	dir := filepath.Join(n.dir, "token")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing an unfinished token: %w", err)
	}
	pin, err := newPIN(n.pinFile())
	if err != nil {
		return err
	}
	officerPIN, err := newPIN(n.officerPINFile())
	if err != nil {
		return err
	}
	label := "raftkms-" + n.id
	environment, err := pkcs11.CreateSoftHSMTokenWith(library, dir, label, officerPIN, pin)
	if err != nil {
		return err
	}
	n.settings.Module.PKCS11 = config.PKCS11{
		Library: library, TokenLabel: label, PINFile: n.pinFile(), Environment: environment,
	}
	return nil
}

// newPIN makes a PIN and keeps it in a file.
func newPIN(file string) ([]byte, error) {
	random := make([]byte, pinBytes)
	rand.Read(random)
	pin := hex.AppendEncode(nil, random)
	return pin, devfile.WriteAtomic(file, pin)
}

// officerPIN is the PIN of the security officer of the node's token, without
// which it exports no roots; other modules have none.
func (n *node) officerPIN(p plan) (string, error) {
	if p.Module != "pkcs11" {
		return "", nil
	}
	pin, err := config.ReadSecret(n.officerPINFile(), "")
	return string(pin), err
}
