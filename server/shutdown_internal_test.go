package server

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// lines collects a log.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// A leader that is asked to stop hands leadership on even when a caller keeps a
// connection busy for as long as it may: it follows another before its replication
// ends. Without that it leads to its end, and the others find out by its silence.
func TestLeadershipIsHandedOnDespiteConnectionsThatHang(t *testing.T) {
	logs := make(map[string]*lines)
	c := newTrio(t, func(cfg *Config) {
		logs[cfg.NodeID] = new(lines)
		cfg.Logger = slog.New(slog.NewTextHandler(logs[cfg.NodeID], nil))
	})
	leader, before := -1, 0
	await(t, "a leader", func() bool {
		for i, s := range c.nodes {
			if said := len(logs[s.cfg.NodeID].String()); s.member.Load().node.IsLeader() {
				leader, before = i, said
			}
		}
		return leader >= 0
	})
	s := c.nodes[leader]
	conn, err := tls.Dial("tcp", s.cfg.APIListen, &tls.Config{InsecureSkipVerify: true}) // the test's own node on loopback
	must(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /v1.0/%s/kms/create-key HTTP/1.1\r\nHost: kms\r\nContent-Length: 1000\r\n\r\nand no more", c.founded.ProjectID)
	must(t, err)
	await(t, "the connection at the node", func() bool { return s.api.GetOpenConnectionsCount() > 0 })
	must(t, c.ends[leader]())
	said := logs[s.cfg.NodeID].String()[before:]
	if !strings.Contains(said, "closing API connections") {
		t.Error("the connection did not hang, so this test shows nothing")
	}
	if strings.Contains(said, `msg="handing leadership on"`) {
		t.Errorf("leadership was not handed on:\n%s", said)
	}
	if !strings.Contains(said, `msg="entering follower state"`) {
		t.Errorf("it led until its end:\n%s", said)
	}
	await(t, "another leader", func() bool {
		for i, other := range c.nodes {
			if i != leader && other.member.Load().node.IsLeader() {
				return true
			}
		}
		return false
	})
}
