package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIdentityIsKept(t *testing.T) {
	dir := t.TempDir()
	if _, found, err := loadIdentity(dir); found || err != nil {
		t.Fatalf("an empty directory: found %v, error %v", found, err)
	}
	want := identity{ClusterID: "c1c1c1c1-0000-4000-8000-000000000001", NodeID: "n1", ModuleKind: "soft", Canary: "00ff"}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, found, err := loadIdentity(dir)
	if err != nil || !found {
		t.Fatalf("found %v, error %v", found, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(dir, identityFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(dir, identityFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := loadIdentity(dir); err == nil {
		t.Error("a damaged identity was taken")
	}
}

func TestCredentialsAreKept(t *testing.T) {
	dir := t.TempDir()
	want := credentials{keyPKCS8: []byte("key"), certificate: []byte("certificate"), authorities: [][]byte{[]byte("new"), []byte("old")}, gossipKey: []byte("gossip")}
	if err := want.save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := loadCredentials(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(credentials{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if err := writeFile(filepath.Join(dir, nodeKeyFile), encodePEM("CERTIFICATE", []byte("x"))); err != nil {
		t.Fatal(err)
	}
	if _, err := loadCredentials(dir); err == nil {
		t.Error("a certificate was taken for a key")
	}
}

func TestAdministratorIsFresh(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		id := randomHex()
		if len(id) != 32 || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
		if text := randomText(20); len(text) != 20 || seen[text] {
			t.Fatalf("text %q", text)
		} else {
			seen[text] = true
		}
	}
	if a, b := awsAccountID("a"), awsAccountID("b"); len(a) != 12 || a == b || a != awsAccountID("a") {
		t.Errorf("account ids %q and %q", a, b)
	}
}
