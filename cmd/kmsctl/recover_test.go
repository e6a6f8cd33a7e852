package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/raftkms/raftkms/cluster/storage"
	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/fsmtest"
)

// Of three nodes one is lost. A leader that was cut off in term 2 has a long tail
// that nobody was told of; in term 3 the other two went on, and a key was
// acknowledged. The survivor to take is the one of the newer term, with the
// shorter log, and only that one has the key.
func TestTheSurvivorOfTheHighestTermIsTaken(t *testing.T) {
	both := []command.Body{fsmtest.Bootstrap(), fsmtest.CreateKey("old")}
	deposed, next := both, both
	for i := range 6 {
		deposed = append(deposed[:len(deposed):len(deposed)], fsmtest.CreateKey(fmt.Sprintf("tail-%d", i)))
	}
	next = append(next[:2:2], nil, fsmtest.CreateKey("acknowledged"))
	p := readPromises(t)
	read := func(text string, err error) (found recovered) {
		t.Helper()
		document, wrong := readDocument(text)
		if wrong == nil {
			wrong = errors.Join(p.check("the document", p["cluster recover"], document), json.Unmarshal([]byte(text), &found))
		}
		if err != nil || wrong != nil {
			t.Fatalf("%v, %v\n%s", err, wrong, text)
		}
		return found
	}
	f := func(id string, terms string, committed uint64, bodies []command.Body) (found recovered, shown string) {
		t.Helper()
		config := survivor(t, id, terms, committed, bodies)
		text, err := recovering(config, "-o", "json")
		if found = read(text, err); found.Done {
			t.Errorf("%s, not confirmed, and it says that it is done", id)
		}
		shown, err = recovering(config) // and nothing is typed
		if err == nil || !strings.Contains(err.Error(), "nothing was done") {
			t.Errorf("%s, not confirmed: %v", id, err)
		}
		if text, err = recovering(config, "-o", "json", "--confirm", found.ClusterID); !read(text, err).Done {
			t.Errorf("%s, confirmed, and it does not say that it is done", id)
		}
		return found, shown
	}
	a, shownA := f("a", "12222222", 2, deposed)
	b, shownB := f("b", "1233", 1, next)
	if a.LastTerm != 2 || a.LastIndex != 8 || a.Keys != 7 {
		t.Errorf("the leader that was cut off: %+v", a)
	}
	if b.LastTerm != 3 || b.LastIndex != 4 || b.Keys != 2 {
		t.Errorf("the one that went on: %+v", b)
	}
	// What may never have been committed is told before anything is typed.
	if u := a.Unsure; a.Committed != 2 || u.Entries != 6 || u.FirstTerm != 2 || u.LastTerm != 2 || len(u.Commands) != 1 || u.Commands["create-key"] != 6 {
		t.Errorf("the leader that was cut off: %+v", a)
	}
	if u := b.Unsure; b.Committed != 1 || u.Entries != 3 || u.FirstTerm != 2 || u.LastTerm != 3 || len(u.Commands) != 1 || u.Commands["create-key"] != 2 {
		t.Errorf("the one that went on: %+v", b)
	}
	const unsure = "entries behind it, of %s: %d; they may not have been committed, and take effect\n +create-key +%d"
	for _, one := range []struct{ shown, term, index, committed, unsure string }{
		{shownA, "2", "8", "2", fmt.Sprintf(unsure, "term 2", 6, 6)}, {shownB, "3", "4", "1", fmt.Sprintf(unsure, "terms 2 to 3", 3, 2)},
	} {
		for row, value := range map[string]string{
			"LAST TERM": one.term, "LAST INDEX": one.index, "COMMITTED": "up to index " + one.committed + " for certain", "UNSURE": one.unsure,
		} {
			if !regexp.MustCompile(`(?m)^` + row + ` +` + value + `$`).MatchString(one.shown) {
				t.Errorf("no %s %s in\n%s", row, value, one.shown)
			}
		}
	}
	// A leader that has just been elected ends its log with an entry of Raft's own.
	// It is the only node, so none is lost.
	c, shownC := f(fsmtest.NodeID, "123", 3, next[:3])
	if c.LastTerm != 3 || c.LastIndex != 3 || c.Committed != 3 || c.Unsure.Entries != 0 || len(c.Lost) != 0 {
		t.Errorf("the one that was just elected: %+v", c)
	}
	if !regexp.MustCompile(`(?m)^UNSURE +nothing$`).MatchString(shownC) {
		t.Errorf("nothing is unsure, and it says\n%s", shownC)
	}

	help, err := recovering("", "--help")
	help = strings.Join(strings.Fields(help), " ")
	if err != nil || !strings.Contains(help, "the one with the highest last term, and among those with the same term the one with the highest last index") {
		t.Errorf("the help says, %v: %s", err, help)
	}
}

// survivor is the configuration of a stopped node, whose log holds these
// commands, nil for an entry of Raft's own, each of the term that its digit says.
// The node has noted how much of that is committed.
func survivor(t *testing.T, id, terms string, committed uint64, bodies []command.Body) (config string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"kmsd.yaml":     fmt.Sprintf("node: {id: %s, data_dir: %q}\napi: {listen: \"127.0.0.1:1\"}\ncluster: {listen: \"127.0.0.1:2\"}\ngossip: {listen: \"127.0.0.1:3\"}\n", id, dir),
		"identity.json": fmt.Sprintf(`{"cluster_id": %q, "node_id": %q, "module_kind": %q}`, fsmtest.ClusterID, id, fsmtest.ModuleKind),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stores, err := storage.Open(storage.Config{
		Dir: filepath.Join(dir, "raft"), ClusterID: fsmtest.ClusterID, NodeID: id, SlowWrite: time.Minute, Logger: hclog.NewNullLogger(),
		Fatal: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	machine := fsmtest.New(t)
	var entries []*raft.Log
	for i, body := range bodies {
		entry := &raft.Log{Index: uint64(i + 1), Term: uint64(terms[i] - '0'), Type: raft.LogNoop}
		if body != nil {
			entry.Type, entry.Data = raft.LogCommand, machine.Entry(machine.Command(body)).Data
		}
		entries = append(entries, entry)
	}
	if err := stores.Log.StoreLogs(entries); err != nil {
		t.Fatal(err)
	}
	if err := stores.NoteCommitted(committed); err != nil {
		t.Fatal(err)
	}
	if err := stores.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "kmsd.yaml")
}

// recovering runs kmsctl cluster recover, with nothing on its standard input.
func recovering(config string, more ...string) (text string, err error) {
	var out bytes.Buffer
	cmd := newRoot()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetIn(strings.NewReader(""))
	cmd.SetArgs(append([]string{"cluster", "recover", "--config", config}, more...))
	err = cmd.Execute()
	return out.String(), err
}
