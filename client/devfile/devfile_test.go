package devfile_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/raftkms/raftkms/client/devfile"
)

func TestTheFileHoldsExactlyTheAgreedFields(t *testing.T) {
	path := filepath.Join(t.TempDir(), devfile.Name)
	want := &devfile.File{Region: "dev", ProjectName: "dev", SecretKey: "s", Nodes: []devfile.Node{
		{ID: "node-1", PID: 7, URL: "https://127.0.0.1:8440", ClusterAddress: "127.0.0.1:8441", DataDir: "/d"},
		{ID: "node-2", PID: 8, URL: "https://127.0.0.1:8450"},
	}}
	if err := devfile.Write(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := devfile.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error("-got +want\n" + diff)
	}
	if urls := got.URLs(); !slices.Equal(urls, []string{"https://127.0.0.1:8440", "https://127.0.0.1:8450"}) {
		t.Errorf("URLs are %v", urls)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v", info.Mode())
	}

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var raw map[string]any
	if err := json.Unmarshal(text, &raw); err != nil {
		t.Fatal(err)
	}
	f := func(object map[string]any, fields string) {
		t.Helper()
		names := strings.Split(fields, " ")
		slices.Sort(names)
		var present []string
		for name := range object {
			present = append(present, name)
		}
		slices.Sort(present)
		if diff := cmp.Diff(present, names); diff != "" {
			t.Error("fields: -got +want\n" + diff)
		}
	}
	f(raw, "region domain_id domain_name project_id project_name user_id user_name password access_key secret_key aws_account_id ca_file nodes")
	f(raw["nodes"].([]any)[0].(map[string]any), "id pid url cluster_addr data_dir")
}

func TestReplacingLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"one", "two"} {
		if err := devfile.WriteAtomic(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the directory holds %v", entries)
	}
	if text, _ := os.ReadFile(path); string(text) != "two" {
		t.Errorf("the file holds %q", text)
	}
	if err := devfile.WriteAtomic(filepath.Join(dir, "absent", "file"), nil); err == nil {
		t.Error("writing into a missing directory succeeds")
	}
}

func TestReadRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), devfile.Name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := devfile.Read(path)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	f("{", "unexpected end")
	f("{}", "names no nodes")
	if _, err := devfile.Read("/nonexistent/dev.json"); err == nil || !strings.Contains(err.Error(), "is kmsd dev running") {
		t.Errorf("an absent file: %v", err)
	}
}
