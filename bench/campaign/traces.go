package campaign

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/raftkms/raftkms/bench/history"
)

// traceLine is what a line of a node's traces says, as far as it is judged.
type traceLine struct {
	Name       string `json:"trace_name"`
	Type       string `json:"trace_type"`
	RequestID  string `json:"request_id"`
	Code       string `json:"code"`
	RecordTime int64  `json:"record_time"`
}

// maxTraceLine is more than any line has.
const maxTraceLine = 64 << 10

// collectTraces records what every node has traced, from its files: the nodes
// have ended.
func (r *run) collectTraces() error {
	for _, p := range r.cluster.processes {
		// Of a node that began anew the old traces lie beside the new ones.
		files, err := filepath.Glob(filepath.Join(r.cluster.dir, p.ID(), dataDir+"*", "audit", "traces-*.jsonl*"))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("%s has no traces (%v)", p.ID(), err)
		}
		for _, path := range files {
			err := withText(path, func(text io.Reader) error { return r.readTraces(p.ID(), text) })
			if err != nil {
				return fmt.Errorf("reading the traces of %s: %w", p.ID(), err)
			}
		}
	}
	if len(r.recorder.History().Traces) == 0 {
		return errors.New("no node has traced a call")
	}
	return nil
}

func (r *run) readTraces(node string, text io.Reader) error {
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, maxTraceLine)
	for lines.Scan() {
		raw := strings.TrimSpace(lines.Text())
		if raw == "" {
			continue
		}
		var l traceLine
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			return fmt.Errorf("%.100q: %w", raw, err)
		}
		if l.Type != "ApiCall" || l.RequestID == "" {
			continue // a header, a mark, or nobody's call
		}
		r.recorder.Trace(history.Trace{
			Node: node, Request: l.RequestID, Name: l.Name, Code: l.Code, Recorded: r.recorder.At(time.UnixMilli(l.RecordTime)),
		})
	}
	return lines.Err()
}
