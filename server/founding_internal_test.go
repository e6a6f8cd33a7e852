package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mark of a cluster that was not founded goes when the node is given another
// one; a log without an identity is not overwritten.
func TestBeginAnew(t *testing.T) {
	s := &Server{cfg: Config{DataDir: t.TempDir()}}
	must(t, s.beginAnew())
	must(t, writeFile(filepath.Join(s.cfg.DataDir, foundingMark), nil))
	must(t, s.beginAnew())
	if s.foundingInterrupted() {
		t.Error("the mark is still there")
	}
	log := filepath.Join(s.cfg.DataDir, raftDir)
	must(t, os.Mkdir(log, 0o700))
	if err := s.beginAnew(); err == nil || !strings.Contains(err.Error(), "a restore was interrupted") || !strings.Contains(err.Error(), "remove "+log) {
		t.Errorf("with a log and no identity: %v", err)
	}
}
