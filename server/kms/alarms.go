package kms

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/raftkms/raftkms/fsm/state"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/gate"
	"github.com/raftkms/raftkms/server/iam"
)

// Refusals that come one after the other mean that somebody tries doors, or
// that a program has lost its key. Each is traced by itself; a burst of one
// user, one address or about one key is an incident of its own, once.

const (
	// defaultRefusalAlarm is how many refusals within burstWindow are a burst.
	defaultRefusalAlarm = 30
	burstWindow         = time.Minute
	// maxBursts bounds the users, the addresses and the keys that are watched.
	maxBursts = 4096
	// maxTold bounds what an incident lists of one kind.
	maxTold = 8
)

// Subject is what refusals are counted for.
type Subject uint8

// The subjects.
const (
	SubjectUser    Subject = iota // who is known
	SubjectAddress                // from where, when who asks was not established
	SubjectKey                    // about which key, whoever asks
	subjectCount
)

// Subjects returns all of them.
func Subjects() []Subject { return []Subject{SubjectUser, SubjectAddress, SubjectKey} }

// String is the subject's name in metrics.
func (s Subject) String() string { return [...]string{"user", "address", "key"}[s] }

// OpUnusualRefusals are the incidents, by their subjects.
var OpUnusualRefusals = [subjectCount]Operation{
	SubjectUser:    {"unusualRefusals", "", "user"},
	SubjectAddress: {"unusualRefusals", "", "address"},
	SubjectKey:     {"unusualRefusals", "", "cmk"},
}

// burst are the refusals of one subject in one window.
type burst struct {
	began      time.Time
	count      int
	raised     bool // the incident of this burst was written
	codes      map[string]int
	operations map[string]int
}

// alarms counts refusals. The memory it needs is bounded, whoever asks: of each
// kind of subject it watches those that were refused last.
type alarms struct {
	most int // refusals within the window that are too many; negative: never

	mu      sync.Mutex
	watched [subjectCount]*simplelru.LRU[string, *burst]
	raised  [subjectCount]int64
}

func newAlarms(most int) *alarms {
	if most == 0 {
		most = defaultRefusalAlarm
	}
	a := &alarms{most: most}
	for i := range a.watched {
		cache, err := simplelru.NewLRU[string, *burst](maxBursts, nil)
		if err != nil {
			panic(err) // of a size that is not positive
		}
		a.watched[i] = cache
	}
	return a
}

// refused counts a refusal of a subject. alarm says that it makes the burst one
// to be told of: never twice of the same burst, which lasts until there was a
// window with fewer. in is the burst so far; what it lists is for an alarm.
func (a *alarms) refused(of Subject, id, code, operation string, now time.Time) (in burst, alarm bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, known := a.watched[of].Get(id)
	if !known {
		b = new(burst)
		a.watched[of].Add(id, b)
	}
	if since := now.Sub(b.began); since >= burstWindow || since < 0 {
		lasts := b.raised && b.count >= a.most && 0 <= since && since < 2*burstWindow
		*b = burst{began: now, raised: lasts, codes: make(map[string]int), operations: make(map[string]int)}
	}
	b.count++
	countIn(b.codes, code)
	countIn(b.operations, operation)
	alarm = !b.raised && a.most > 0 && b.count >= a.most
	b.raised = b.raised || alarm
	in = *b
	if alarm {
		in.codes, in.operations = maps.Clone(b.codes), maps.Clone(b.operations)
	}
	return in, alarm
}

func countIn(counts map[string]int, name string) {
	if _, known := counts[name]; known || len(counts) < maxTold {
		counts[name]++
	}
}

// listed are names with their counts, in the order of the names.
func listed(counts map[string]int) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%s: %d", name, counts[name]))
	}
	return list
}

// told counts an incident, or has the burst told of again where its trace could
// not be written.
func (a *alarms) told(of Subject, id string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.raised[of]++
		return
	}
	if b, known := a.watched[of].Peek(id); known {
		b.raised = false
	}
}

// RefusalBursts is how many incidents of refusals this node has raised.
func (s *Service) RefusalBursts(of Subject) int64 {
	s.alarms.mu.Lock()
	defer s.alarms.mu.Unlock()
	return s.alarms.raised[of]
}

// unusual tells whether a refusal is one that who is allowed what they ask for
// does not see: what is merely badly asked, or in the way of something else, is
// none.
func unusual(err error) bool {
	if iam.IsRefusal(err) {
		return true
	}
	switch KindOf(err) {
	case KindUnauthenticated, KindForbidden, KindWrongProject, KindNotFound, KindKeyDisabled, KindKeyPendingDeletion,
		KindCiphertext, KindImportUnwrap, KindImportToken, KindImportOtherKey:
		return true
	}
	return false
}

// watchRefusal counts a call that was refused, and writes the incident where it
// is one too many.
func (s *Service) watchRefusal(ctx context.Context, c *Call, err error) {
	if err == nil || !unusual(err) {
		return
	}
	code := c.record.ErrorCode
	if code == "" && c.in.Status != nil {
		_, code = c.in.Status(err)
	}
	if id := c.principal.UserID; id != "" {
		if s.countRefusal(ctx, c, SubjectUser, id, code) {
			return // the key is asked for by who was told of already
		}
	} else if from, parseErr := netip.ParseAddr(c.in.Source); parseErr == nil {
		s.countRefusal(ctx, c, SubjectAddress, gate.Client(from).String(), code)
	}
	if c.key != nil && c.key.ID != "" {
		s.countRefusal(ctx, c, SubjectKey, c.key.ID, code)
	}
}

// countRefusal tells whether the subject is in a burst that was told of.
func (s *Service) countRefusal(ctx context.Context, c *Call, of Subject, id, code string) bool {
	in, alarm := s.alarms.refused(of, id, code, c.in.Operation.Name, time.Now())
	if alarm {
		err := s.raise(ctx, c, of, id, in)
		s.alarms.told(of, id, err)
		if err != nil {
			s.logger.Error("tracing an incident", "incident", OpUnusualRefusals[of].Name, "of", of.String(), "error", err)
		}
	}
	return in.raised
}

// raise writes the incident. It belongs to the project of the key or of who
// asked; what comes from nobody that is known is the cluster's.
func (s *Service) raise(ctx context.Context, c *Call, of Subject, id string, in burst) error {
	who := of.String() + " " + id
	s.logger.Error("unusual refusals: somebody must look", "of", of.String(), "id", id, "refusals", in.count)
	return s.Note(context.WithoutCancel(ctx), OpUnusualRefusals[of], nil, func(told *Call) {
		switch of {
		case SubjectKey:
			told.About(c.key)
			told.in.Project = c.key.ProjectID
		case SubjectUser:
			told.AboutResource(id, c.principal.UserName)
			if c.principal.UserName != "" {
				who = "user " + c.principal.UserName
			}
			if project, ok := c.Root.Project(c.in.Project); ok && project.DomainID == c.principal.DomainID {
				told.in.Project = project.ID
			}
		case SubjectAddress:
			told.AboutResource(id, "")
		}
		told.asked.Number("refusals", int64(in.count))
		told.asked.Number("within_seconds", int64(burstWindow/time.Second))
		told.asked.Text("last_user_id", c.principal.UserID)
		told.asked.Text("last_source_ip", c.in.Source)
		told.asked.Text("last_request_id", c.in.RequestID)
		told.asked.Texts("codes", listed(in.codes))
		told.asked.Texts("operations", listed(in.operations))
		told.Remark(audit.RatingIncident, fmt.Sprintf("%d refusals within a minute: %s", in.count, who))
	})
}

// pendingRating is how the use of a key that waits for its deletion is rated:
// somebody still needs what will be gone, and in the last days nobody else may
// notice in time.
func (c *Call) pendingRating(err error) audit.Rating {
	if KindOf(err) != KindKeyPendingDeletion || c.key == nil || c.key.State != state.PendingDeletion || !c.in.Operation.usesKey() {
		return audit.RatingWarning
	}
	if c.key.Deletion-c.started.UnixMilli() <= warnAhead.Milliseconds() {
		return audit.RatingIncident
	}
	return audit.RatingWarning
}
