package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/raftkms/raftkms/server/wire"
)

// Backup writes a backup of the cluster's state to w. Only a nil error says
// that it is whole.
func (s *Socket) Backup(ctx context.Context, w io.Writer) error {
	answer, err := s.stream(ctx, http.MethodGet, wire.AdminPathBackup, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(w, answer.Body); err != nil {
		return fmt.Errorf("receiving the backup: %w", err)
	}
	return nil
}

// CheckBackup has the node verify all of a backup, and says what it is.
func (s *Socket) CheckBackup(ctx context.Context, r io.Reader) (wire.BackupReply, error) {
	var reply wire.BackupReply
	return reply, s.send(ctx, wire.AdminPathCheckBackup, r, &reply)
}

// RestoreOptions say how a backup is restored.
type RestoreOptions struct {
	Confirm     string // the cluster's id: do it; empty: only say what it would do
	KeepEnabled bool   // keys stay Enabled
	Against     string // data directory of an old node, on the node's machine; empty: none
}

// Restore founds a cluster again from a backup, on a node without one.
func (s *Socket) Restore(ctx context.Context, r io.Reader, o RestoreOptions) (wire.RestoreReply, error) {
	query := url.Values{}
	for name, value := range map[string]string{wire.RestoreConfirm: o.Confirm, wire.RestoreAgainst: o.Against} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if o.KeepEnabled {
		query.Set(wire.RestoreKeepEnabled, "true")
	}
	var reply wire.RestoreReply
	return reply, s.send(ctx, wire.AdminPathRestore+"?"+query.Encode(), r, &reply)
}

// send streams r to the node and decodes its reply.
func (s *Socket) send(ctx context.Context, path string, r io.Reader, reply any) error {
	answer, err := s.stream(ctx, http.MethodPost, path, r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxReplyBytes))
	if err != nil {
		return s.unreachable(answer.Request, err)
	}
	if err := json.Unmarshal(text, reply); err != nil {
		return fmt.Errorf("reading the answer of the admin socket: %w", err)
	}
	return nil
}

// stream does a request that may take as long as its context; a refusal is an
// error.
func (s *Socket) stream(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, body)
	if err != nil {
		return nil, fmt.Errorf("preparing the request: %w", err)
	}
	answer, err := (&http.Client{Transport: s.http.Transport}).Do(r)
	if err != nil {
		return nil, s.unreachable(r, err)
	}
	if answer.StatusCode >= 400 {
		defer answer.Body.Close()
		text, err := io.ReadAll(io.LimitReader(answer.Body, maxReplyBytes))
		if err != nil {
			return nil, fmt.Errorf("reading the answer of the admin socket: %w", err)
		}
		return nil, refusal(r, answer.StatusCode, text)
	}
	return answer, nil
}
