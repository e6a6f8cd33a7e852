package server

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/server/wire"
)

// A node that is not ready says why to its operator, in the words of /readyz.
func TestTheStatusSaysWhyANodeIsNotReady(t *testing.T) {
	s, _ := startFounderOf(t)
	f := func(why string) {
		t.Helper()
		status, answer := askAdmin(t, s, "GET", wire.AdminPathStatus, "")
		var reply wire.StatusReply
		must(t, json.Unmarshal([]byte(answer), &reply))
		if status != http.StatusOK || reply.Ready != (why == "") || reply.Ready != (reply.NotReady == "") || !strings.Contains(reply.NotReady, why) {
			t.Errorf("%d %s", status, answer)
		}
	}
	m := s.member.Load()
	await(t, "the node to be ready", func() bool { return m.ready.now() == nil })
	f("")
	s.draining.Store(true)
	f("this node is stopping")
	s.draining.Store(false)
	must(t, s.traces.Close())
	await(t, "the node to notice", func() bool { return m.ready.now() != nil })
	f("this node cannot serve: the trace log is closed")
}
