package campaign

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/raftkms/raftkms/bench/history"
	"github.com/raftkms/raftkms/client/devfile"
	"github.com/raftkms/raftkms/server/wire"
)

// Bounds of what goes on about grants, for the same reasons as the board's.
const (
	maxGranted    = 10  // keys: a new project may have 100
	usesPerKey    = 500 // then another key is shared
	grantees      = 2   // that use a key at the same time
	grantPause    = 30 * time.Millisecond
	betweenUses   = 2 * time.Millisecond
	revokePatient = 30 * time.Second
)

// granting is the owner of keys who gives another account leave to use them and
// takes it back, over and over, while the other account uses them all the time.
// Each asks any node.
type granting struct {
	number         int // of the worker; those of the grantees come after it
	owner, grantee []*direct
	account        string // of the grantee
	prefix         string
	random         *rand.Rand
	recorder       *history.Recorder
	named          int
}

// neighbour makes an account and returns what its administrator calls with.
func neighbour(ctx context.Context, d *direct, file *devfile.File) (*devfile.File, string, error) {
	var request wire.CreateAccountRequest
	request.Domain.Name = "neighbours"
	var reply wire.CreateAccountReply
	if v := d.send(ctx, http.MethodPost, "/v3/domains", request, &reply, d.sign); v.outcome != history.OK {
		return nil, "", fmt.Errorf("making a second account: %s: %w", v.outcome, v.err)
	}
	theirs := *file
	theirs.AccessKey, theirs.SecretKey, theirs.ProjectID = reply.Administrator.Access, string(reply.Administrator.Secret), reply.Project.ID
	return &theirs, reply.Domain.ID, nil
}

// work shares one key after the other until ctx ends.
func (g *granting) work(ctx context.Context) {
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil && g.named < maxGranted {
		g.named++
		name := fmt.Sprintf("%s/granted/%d", g.prefix, g.named)
		var made wire.CreateKeyReply
		if v := pick(g.random, g.owner...).do(whole, string(history.Create), wire.CreateKeyRequest{KeyAlias: name, KeyDescription: name}, &made); v.outcome != history.OK {
			time.Sleep(breath)
			continue
		}
		g.share(ctx, name, made.KeyInfo.KeyID)
	}
}

// share gives and takes leave to use one key until it has been used enough, or
// nobody knows any more which grants there are.
func (g *granting) share(ctx context.Context, name, key string) {
	using, stop := context.WithCancel(ctx)
	defer stop()
	var users sync.WaitGroup
	for i := range grantees {
		random := rand.New(rand.NewPCG(g.random.Uint64(), uint64(i)))
		users.Go(func() {
			defer stop()
			for range usesPerKey {
				if using.Err() != nil {
					return
				}
				c := history.Call{Worker: g.number + 1 + i, Op: history.MakeKey, Name: name}
				if g.record(ctx, pick(random, g.grantee...), key, &c); c.Outcome == history.NotDone {
					time.Sleep(breath)
				}
				time.Sleep(betweenUses)
			}
		})
	}
	for using.Err() == nil {
		grant := history.Call{Worker: g.number, Op: history.Grant, Name: name}
		g.record(ctx, pick(g.random, g.owner...), key, &grant)
		switch grant.Outcome {
		case history.NotDone:
			time.Sleep(breath)
			continue
		case history.OK:
		default:
			stop()
			continue
		}
		time.Sleep(grantPause)
		if !g.revoke(ctx, name, key, grant.Tag) {
			stop()
		}
		time.Sleep(grantPause)
	}
	users.Wait()
}

// revoke asks until the grant is gone. A revocation whose outcome is not known
// is asked for again: that there is no such grant is an answer as good.
func (g *granting) revoke(ctx context.Context, name, key, id string) bool {
	for deadline := g.recorder.Now() + revokePatient; g.recorder.Now() < deadline; time.Sleep(breath) {
		c := history.Call{Worker: g.number, Op: history.Revoke, Name: name, Tag: id}
		g.record(ctx, pick(g.random, g.owner...), key, &c)
		if c.Outcome == history.OK || c.Outcome == history.Refused {
			return true
		}
	}
	return false
}

// record does one call, to its end, and records it.
func (g *granting) record(ctx context.Context, d *direct, key string, c *history.Call) {
	ctx = context.WithoutCancel(ctx)
	c.Node, c.Begin = d.name(), g.recorder.Now()
	var v verdict
	switch c.Op {
	case history.Grant:
		var reply wire.CreateGrantReply
		v = d.do(ctx, string(c.Op), wire.CreateGrantRequest{
			KeyID: key, GranteePrincipal: g.account, GranteePrincipalType: "domain", Operations: []string{"create-datakey"},
		}, &reply)
		c.Tag = reply.GrantID
	case history.Revoke:
		v = d.do(ctx, string(c.Op), wire.EndGrantRequest{KeyID: key, GrantID: c.Tag}, new(wire.EmptyReply))
	default:
		var reply wire.CreateDataKeyReply
		if v = d.do(ctx, string(c.Op), wire.CreateDataKeyRequest{KeyID: key}, &reply); v.outcome == history.OK {
			d.secrets.add("a data key", reply.PlainText)
		}
	}
	c.End = g.recorder.Now()
	c.Outcome, c.Code, c.Request, c.Age = v.outcome, v.code, v.request, v.age
	if v.err != nil {
		c.Error = v.err.Error()
	}
	g.recorder.Leave(*c)
}
