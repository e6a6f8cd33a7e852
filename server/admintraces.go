package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Whatever is asked through the admin socket leaves a trace before its answer,
// also what is refused before the service has heard of it, and what no service
// is asked for. Where the service writes one, that is the trace.

// adminSource is where such requests come from, in traces.
const adminSource = "admin socket"

// adminOperations are what can be asked through the admin socket, by method and
// path. The status of the node is not among them: monitors ask for it all the
// time, and it tells no secret.
func adminOperations() map[string]kms.Operation {
	return map[string]kms.Operation{
		"POST " + wire.AdminPathInit:           kms.OpBootstrap,
		"POST " + wire.AdminPathJoinToken:      kms.OpCreateJoinToken,
		"POST " + wire.AdminPathJoin:           kms.OpJoinCluster,
		"POST " + wire.AdminPathApproveRoots:   kms.OpApproveRoots,
		"POST " + wire.AdminPathBackUpRoots:    kms.OpBackUpRoots,
		"POST " + wire.AdminPathRotateRoots:    kms.OpRotateRoots,
		"POST " + wire.AdminPathVerifyRoots:    kms.OpVerifyRoots,
		"POST " + wire.AdminPathCopyRoots:      kms.OpCopyRoots,
		"POST " + wire.AdminPathDoctor:         kms.OpExamineModule,
		"POST " + wire.AdminPathRemove:         kms.OpRemoveNode,
		"POST " + wire.AdminPathPromote:        kms.OpPromoteNode,
		"POST " + wire.AdminPathDemote:         kms.OpDemoteNode,
		"POST " + wire.AdminPathTransfer:       kms.OpTransferLeadership,
		"POST " + wire.AdminPathRotateGossip:   kms.OpRotateGossipKey,
		"GET " + wire.AdminPathCA:              kms.OpShowCA,
		"POST " + wire.AdminPathCA:             kms.OpRotateCA,
		"GET " + wire.AdminPathUpgrade:         kms.OpShowUpgrade,
		"POST " + wire.AdminPathUpgrade:        kms.OpRaiseLevel,
		"GET " + wire.AdminPathBackup:          kms.OpBackup,
		"POST " + wire.AdminPathCheckBackup:    kms.OpCheckBackup,
		"POST " + wire.AdminPathRestore:        kms.OpRestoreBackup,
		"POST " + wire.AdminPathVerifyErasure:  kms.OpVerifyErasure,
		"POST " + wire.AdminPathVerifyTraces:   kms.OpVerifyTraces,
		"GET " + wire.AdminPathTraceKeys:       kms.OpShowTraceKeys,
		"GET " + wire.AdminPathConsistency:     kms.OpShowConsistency,
		"POST " + wire.AdminPathConsistency:    kms.OpSetConsistency,
		"GET " + wire.AdminPathProviders:       kms.OpListProviders,
		"POST " + wire.AdminPathAddProvider:    kms.OpUpdateProviders,
		"POST " + wire.AdminPathRemoveProvider: kms.OpUpdateProviders,
		"POST " + wire.AdminPathBind:           kms.OpUpdateProviders,
		"POST " + wire.AdminPathUnbind:         kms.OpUpdateProviders,
	}
}

// tracedMark is the key of the mark in the context of a request: whether its
// trace was written.
type tracedMark struct{}

// markTraced is told of every trace, and takes those of the admin socket.
func markTraced(ctx context.Context, record *audit.Record) {
	if record.SourceIP != adminSource && record.Type != audit.TypeSystemAction {
		return // it is the API's, where this would be asked often
	}
	if mark, ok := ctx.Value(tracedMark{}).(*atomic.Bool); ok {
		mark.Store(true)
	}
}

// tracedAdmin has every request to the admin socket traced.
func (s *Server) tracedAdmin(next http.Handler) http.Handler {
	operations := adminOperations()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op, is := operations[r.Method+" "+r.URL.Path]
		if !is {
			next.ServeHTTP(w, r)
			return
		}
		t := &tracingWriter{ResponseWriter: w, server: s, op: op, path: r.URL.Path, started: time.Now()}
		t.ctx = context.WithValue(r.Context(), tracedMark{}, &t.traced)
		next.ServeHTTP(t, r.WithContext(t.ctx))
	})
}

// tracingWriter holds an answer back until its request is traced.
type tracingWriter struct {
	http.ResponseWriter
	server  *Server
	ctx     context.Context
	op      kms.Operation
	path    string
	started time.Time

	traced  atomic.Bool // by the service
	begun   bool
	refused bool // the answer is not given, since the trace could not be written
}

// Unwrap is for [http.ResponseController].
func (t *tracingWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (t *tracingWriter) WriteHeader(status int) {
	if t.begun {
		return
	}
	t.begun = true
	// The service traces a backup when all of it was sent: how it ended counts.
	if streamed := t.op == kms.OpBackup && status == http.StatusOK; streamed || t.traced.Load() {
		t.ResponseWriter.WriteHeader(status)
		return
	}
	if err := t.trace(status); err != nil {
		t.server.cfg.Logger.Error("tracing a request to the admin socket", "operation", t.op.Name, "error", err)
		t.refused = true
		t.ResponseWriter.WriteHeader(http.StatusInternalServerError)
		_ = json.NewEncoder(t.ResponseWriter).Encode(wire.AdminError{Error: "there is no answer, since the trace of the request could not be written: see the log of the node"})
		return
	}
	t.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (t *tracingWriter) Write(p []byte) (int, error) {
	t.WriteHeader(http.StatusOK)
	if t.refused {
		return len(p), nil
	}
	return t.ResponseWriter.Write(p)
}

// trace writes the trace. Why something was refused is not in it: such words
// may quote what was given, and that may be a secret.
func (t *tracingWriter) trace(status int) error {
	now := time.Now()
	record := &audit.Record{
		TraceName: t.op.Name, ResourceType: t.op.Resource, Rating: audit.RatingNormal, SourceIP: adminSource, ResourceURL: t.path,
		RequestID: uuid.NewString(), Code: strconv.Itoa(status), ReadOnly: true,
		Time: t.started, RecordTime: now, Duration: now.Sub(t.started),
	}
	if status != http.StatusOK {
		record.Rating, record.Message = audit.RatingWarning, "refused, or failed: the operator was told why"
	}
	if t.op == kms.OpTransferLeadership || t.op == kms.OpJoinCluster {
		record.ReadOnly = false
	}
	return watchedTraces{t.server}.Append(t.ctx, record)
}
