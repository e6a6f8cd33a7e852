package server

import (
	"bytes"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/cluster"
)

// Whatever a library calls its metrics, Prometheus can read them.
func TestRaftSink(t *testing.T) {
	m := newMetrics("test")
	report := m.raftSink()
	report(cluster.Counter, []string{"raft", "apply"}, 2, nil)
	report(cluster.Counter, []string{"raft", "apply"}, 3, nil)
	report(cluster.Gauge, []string{"raft", "last-contact.x"}, 7, []cluster.MetricLabel{{Name: "peer id", Value: "a\"\n\\"}})
	report(cluster.Sample, []string{"raft", "commitTime"}, 1.5, []cluster.MetricLabel{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}})
	var text bytes.Buffer
	m.write(&text)
	for _, want := range []string{
		"raft_apply 5\n",
		"raft_last_contact_x{peer_id=\"a___\"} 7\n",
		"raft_commitTime_bucket{a=\"1\",b=\"2\",le=\"2\"} 1\n",
		"raft_commitTime_bucket{a=\"1\",b=\"2\",le=\"1\"} 0\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s in %s", want, text.String())
		}
	}
}
