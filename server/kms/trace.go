package kms

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/raftkms/raftkms/fsm/command"
	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/server/audit"
)

// Asked is where an operation puts what its trace may tell of the request.
func (c *Call) Asked() *audit.Details { return &c.asked }

// Answered is where an operation puts what its trace may tell of the answer.
func (c *Call) Answered() *audit.Details { return &c.answered }

// About says which key the call turned out to be about.
func (c *Call) About(key *state.Key) { c.key = key }

// AboutResource says what the call turned out to be about, where that is no key.
func (c *Call) AboutResource(id, name string) { c.record.ResourceID, c.record.ResourceName = id, name }

// Claimed says which access key a request claims to be of, before that is
// proved: the trace of a refusal names it.
func (c *Call) Claimed(accessKeyID string) { c.record.User.AccessKeyID = accessKeyID }

// Remark has the trace say that somebody should look, or must, although the
// call may succeed. The gravest rating counts.
func (c *Call) Remark(rating audit.Rating, message string) {
	if graver(rating, c.record.Rating) {
		c.record.Rating, c.record.Message = rating, message
	}
}

func graver(a, b audit.Rating) bool {
	weight := func(r audit.Rating) int {
		switch r {
		case audit.RatingIncident:
			return 2
		case audit.RatingWarning:
			return 1
		}
		return 0
	}
	return weight(a) > weight(b)
}

// askedContext puts in what a ciphertext is bound to: a map as it is (it is no
// secret, the API says), a text by the beginning of its SHA-256.
func (c *Call) askedContext(bound envelope.Context) {
	if bound.IsNone() {
		return
	}
	if pairs, ok := bound.Pairs(); ok {
		c.asked.Pairs("encryption_context", pairs)
		return
	}
	digest := bound.Digest()
	c.asked.Digest("additional_authenticated_data_sha256", digest[:16])
}

// trace is the record of the call, made when it is over. Only what is named
// here, and what operations have put in, gets into the log.
func (s *Service) trace(c *Call, err error) *audit.Record {
	now := time.Now()
	r := &c.record
	r.TraceName, r.ResourceType, r.Type = c.in.Operation.Name, c.in.Operation.Resource, c.in.Type
	r.SourceIP, r.RequestID, r.UserAgent, r.ResourceURL = c.in.Source, c.in.RequestID, c.in.UserAgent, c.in.URL
	r.NodeID, r.ProjectID = s.nodeID, c.in.Project
	r.Time, r.RecordTime, r.Duration = c.started, now, now.Sub(c.started)
	r.Request, r.Response = &c.asked, &c.answered
	r.ReadOnly = c.room == nil
	if c.principal.UserID != "" || c.principal.AccessKeyID != "" {
		r.User = audit.User{ID: c.principal.UserID, Name: c.principal.UserName, DomainID: c.principal.DomainID, AccessKeyID: c.principal.AccessKeyID}
		if domain, ok := c.Root.Domain(c.principal.DomainID); ok {
			r.User.DomainName = domain.Name
		}
	}
	c.find()
	if r.Rating == "" {
		r.Rating = audit.RatingNormal
	}
	r.Code = "200"
	if c.in.Status != nil {
		status, _ := c.in.Status(nil)
		r.Code = strconv.Itoa(status)
	}
	if err != nil {
		c.traceError(err)
	}
	return r
}

// owners are the projects whose keys the call used, besides its own: who owns a
// key sees every use of it, wherever it was asked for.
func (c *Call) owners() (others [2]string) {
	n := 0
	for _, key := range [...]*state.Key{c.key, c.other} {
		if key != nil && c.in.Project != "" && key.ProjectID != c.in.Project && key.ProjectID != others[0] {
			others[n] = key.ProjectID
			n++
		}
	}
	return others
}

// traceError has the trace tell how the call failed. The words are those for
// the caller; causes are for the process's log.
func (c *Call) traceError(err error) {
	r := &c.record
	r.Code = "500"
	if c.in.Status != nil {
		var status int
		status, r.ErrorCode = c.in.Status(err)
		r.Code = strconv.Itoa(status)
	}
	message := ""
	if failed, ok := errors.AsType[*Error](err); ok {
		message = failed.Message
	}
	c.Remark(c.pendingRating(err), message)
	if r.Message == "" {
		r.Message = message
	}
}

// RunSystem is [Service.Run] for what the node does by itself, like the work of
// the leader's scheduler: its trace is a SystemAction without a source. as is
// who the commands of the call come from.
func (s *Service) RunSystem(ctx context.Context, op Operation, project string, as command.CallerKind, do func(ctx context.Context, c *Call) error) error {
	in := Incoming{Operation: op, RequestID: uuid.NewString(), Project: project, Type: audit.TypeSystemAction}
	return s.Run(ctx, in, func(ctx context.Context, c *Call) error {
		c.caller = command.Caller{Kind: as, ProjectID: project, RequestID: in.RequestID}
		return do(ctx, c)
	})
}

// Note writes the trace of something that has happened to the node, or that it
// has seen: a new leader, a snapshot, roots that came. It asks nobody, so that
// it works when the cluster does not. tell puts in what the trace may tell; err
// is how the event ended.
func (s *Service) Note(ctx context.Context, op Operation, err error, tell func(c *Call)) error {
	c := &Call{in: Incoming{Operation: op, RequestID: uuid.NewString(), Type: audit.TypeSystemAction}, started: time.Now(), Root: s.replica.Root()}
	if tell != nil {
		tell(c)
	}
	if traceErr := s.writeTrace(ctx, c, err); traceErr != nil {
		return untraced("an event of the node", traceErr)
	}
	return nil
}
