package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/raftkms/raftkms/cluster"
	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/hsm/soft/softtest"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// failing is a replica without a leader, or with one that is lost on the way.
type failing struct {
	alone
	barrier, propose error
}

func (f *failing) Barrier(context.Context) error { return f.barrier }

func (f *failing) Propose(context.Context, []byte) (fsm.Result, error) {
	return fsm.Result{}, f.propose
}

// The status on the admin socket tells what is refused for good from what may be
// asked again, and from what may have been done.
func TestTheStatusOfWhatIsNotDone(t *testing.T) {
	f := func(err error, want int) {
		t.Helper()
		w := httptest.NewRecorder()
		if writeAdmin(w, nil, err); w.Code != want || !strings.Contains(w.Body.String(), `"error":"`) {
			t.Errorf("%v: %d %s, want %d", err, w.Code, w.Body, want)
		}
	}
	f(errNoCluster, http.StatusBadRequest)
	f(fmt.Errorf("node a keeps its vote: %w", cluster.ErrMajority), http.StatusBadRequest)
	f(fmt.Errorf("node a stays: %w", cluster.ErrNoLeader), http.StatusServiceUnavailable)
	f(errors.Join(cluster.ErrUnreachable), http.StatusServiceUnavailable)
	f(fmt.Errorf("asking node b: %w", cluster.ErrOutcomeUnknown), http.StatusGatewayTimeout)
	f(fmt.Errorf("rotating: %w", unfinished{fmt.Errorf("asking node b: %w", cluster.ErrOutcomeUnknown)}), http.StatusServiceUnavailable)
	f(kms.Refuse(kms.KindInvalid, "no"), http.StatusBadRequest)
	f(kms.Refuse(kms.KindStale, "no"), http.StatusBadRequest) // of root keys and CAs: something has to be done first

	m := fsmtest.Bootstrapped(t)
	replica := &failing{alone: alone{machine: m.Machine}}
	service := kms.New(kms.Config{
		NodeID: fsmtest.NodeID, Replica: replica, Module: softtest.Open(t), Traces: &kept{}, Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(service.Close)
	s := &Server{machine: m.Machine}
	s.member.Store(&member{service: service})
	raise := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // what is unknown is asked for until then
		defer cancel()
		_, err := s.raiseLevel(ctx, wire.RaiseLevelRequest{Level: 1})
		return err
	}
	replica.barrier = cluster.ErrNoLeader
	f(raise(), http.StatusServiceUnavailable)
	replica.barrier, replica.propose = nil, cluster.ErrNotLeader
	f(raise(), http.StatusServiceUnavailable)
	replica.propose = cluster.ErrOutcomeUnknown
	f(raise(), http.StatusGatewayTimeout)
}
