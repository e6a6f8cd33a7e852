package huawei

import (
	"context"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/raftkms/raftkms/server/iam"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// serving is one request under way. It is used again for another one, so that
// nothing is allocated for what is the same with each: its functions are bound
// to it once. Nothing keeps it, or what it points to, beyond Serve.
type serving struct {
	dialect  *Dialect
	endpoint *Endpoint
	rc       *fasthttp.RequestCtx
	in       kms.Incoming
	x        exchange
	body     *wipedBody
	said     said
	oldest   time.Duration // see setAge
	unread   error         // why what makes the request one with its repeats cannot be read

	status func(err error) (int, string)
	aged   func(age time.Duration)
	do     func(ctx context.Context, c *kms.Call) error

	stranded func(ctx context.Context, c *kms.Call) (answered bool, err error)
}

func newServing(d *Dialect) *serving {
	s := &serving{dialect: d}
	s.status, s.aged, s.do, s.stranded = s.statusOf, s.setAge, s.perform, s.sendOn
	return s
}

// Serve answers one request of the operation. requestID goes into the trace; the
// front end has put it into the response.
func (e *Endpoint) Serve(ctx context.Context, d *Dialect, rc *fasthttp.RequestCtx, requestID string, path Path) {
	s := d.calls.Get().(*serving)
	defer func() {
		clear(rc.Request.Body())
		*s = serving{dialect: d, said: s.said, status: s.status, aged: s.aged, do: s.do, stranded: s.stranded}
		d.calls.Put(s)
	}()
	s.endpoint, s.rc = e, rc
	s.in = kms.Incoming{
		Operation: e.Operation,
		RequestID: requestID,
		Source:    s.said.source.of(rc.RemoteIP()),
		UserAgent: s.said.agent.of(rc.UserAgent()),
		Project:   path.Project,
		URL:       s.said.path.of(rc.Path()),
		Status:    s.status,
		Aged:      s.aged,
	}
	if d.elsewhere != nil {
		s.in.Stranded = s.stranded
	}
	s.in.Once, s.unread = once(e.Operation, rc)
	s.x = exchange{Service: d.service, path: path, agent: s.in.UserAgent}
	s.body = d.pool.get()
	if err := d.service.Run(ctx, s.in, s.do); err != nil {
		s.body.Close()
		writeAnswer(rc, requestID, e.answerTo(err))
		return
	}
	writeBody(rc, e.success(), s.body)
}

// statusOf says how an error will be answered.
func (s *serving) statusOf(err error) (int, string) {
	a := s.endpoint.answerTo(err)
	return a.status, a.code
}

// setAge says in the response how old the state is that it was made from; of two,
// this node's and a peer's, the older one counts.
func (s *serving) setAge(age time.Duration) {
	s.oldest = max(s.oldest, age)
	s.rc.Response.Header.Set(wire.HeaderStateAge, s.oldest.Round(time.Millisecond).String())
}

// perform is everything that is done for every request, in the order in which it
// happens. It may run twice (see [kms.Service.Run]).
func (s *serving) perform(ctx context.Context, c *kms.Call) (err error) {
	d := s.dialect
	s.x.call = c
	if s.oldest > 0 { // a peer's, to what was asked before from another state
		s.oldest = 0
		s.rc.Response.Header.Del(wire.HeaderStateAge)
	}
	if s.x.caller, err = d.identify(ctx, c, s.rc); err != nil {
		return err
	}
	if s.unread != nil {
		return s.unread
	}
	s.body.bytes, err = s.endpoint.perform(ctx, &s.x, s.rc, s.body.bytes)
	if d.elsewhere != nil && c.NeedsAnotherModule(err) {
		err = s.forward(ctx, err)
	}
	return err
}

// identify finds out who asks, from the request as it was received.
func (d *Dialect) identify(ctx context.Context, c *kms.Call, rc *fasthttp.RequestCtx) (iam.Principal, error) {
	request := iam.Received(rc)
	defer request.Release()
	caller, err := d.door.Identify(ctx, c.Root, request)
	if err != nil {
		c.Claimed(iam.ClaimedKey(request))
		return iam.Principal{}, err
	}
	return caller, c.Identify(ctx, caller)
}
