package history

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Op is what a call asks for.
type Op string

// The operations that are recorded and judged.
const (
	Create   Op = "create-key"
	Describe Op = "describe-key"
	Enable   Op = "enable-key"
	Disable  Op = "disable-key"
	MakeKey  Op = "create-datakey"
	OpenKey  Op = "decrypt-datakey"
	Encrypt  Op = "encrypt-data"
	Decrypt  Op = "decrypt-data"
	Rotate   Op = "rotate-on-demand"
)

// Writes says whether the operation changes the state of a key. Rotations do not:
// they are counted; see rotations.go.
func (o Op) Writes() bool { return o == Create || o == Enable || o == Disable }

// Seals says whether the operation makes a ciphertext.
func (o Op) Seals() bool { return o == MakeKey || o == Encrypt }

// Opens says whether the operation opens a ciphertext.
func (o Op) Opens() bool { return o == OpenKey || o == Decrypt }

// Uses says whether the operation uses the key's material.
func (o Op) Uses() bool { return o.Seals() || o.Opens() }

// needsEnabled says whether only an Enabled key lets the operation succeed, and
// stays as it is.
func (o Op) needsEnabled() bool { return o.Uses() || o == Rotate }

// Outcome is what the caller knows after a call.
type Outcome string

// The outcomes.
const (
	// OK: done; the call's result is in its other fields.
	OK Outcome = "ok"
	// Refused: a definite no that follows from the state; see Call.Code.
	Refused Outcome = "refused"
	// NotDone: a definite promise that nothing happened and nothing will (the
	// service said that it cannot serve now, or nobody could be reached). It
	// says nothing about the state.
	NotDone Outcome = "not-done"
	// Unknown: it may have happened, may yet happen, or never.
	Unknown Outcome = "unknown"
)

// Codes with which the service refuses because of the state. Any other code in
// a refusal is one that no state explains.
const (
	CodeNotFound    = "KMS.0207" // there is no such key
	CodeKeyDisabled = "KMS.0209" // a use, or a rotation, of a Disabled key
	CodeNameTaken   = "KMS.1104" // create-key: the name is another key's
	CodeNotDisabled = "KMS.1201" // enable-key: the key is Enabled
	CodeNotEnabled  = "KMS.1301" // disable-key: the key is Disabled
)

// State is the state of a key as describe-key shows it.
type State string

// The states that this package knows.
const (
	Absent   State = ""
	Enabled  State = "Enabled"
	Disabled State = "Disabled"
)

// Call is one call as its caller saw it. Times count from the start of the
// recording.
type Call struct {
	Worker  int           `json:"worker"`
	Node    string        `json:"node,omitempty"` // whom it asked; empty: the client chose, and may have asked several
	Op      Op            `json:"op"`
	Name    string        `json:"name"` // the key's; see the package comment
	Begin   time.Duration `json:"begin"`
	End     time.Duration `json:"end"`
	Outcome Outcome       `json:"outcome"`
	Code    string        `json:"code,omitempty"`  // of the service's answer, unless that was ok
	Error   string        `json:"error,omitempty"` // in words, for people

	// Tag is the description that create-key gave, and the one that
	// describe-key saw.
	Tag   string `json:"tag,omitempty"`
	KeyID string `json:"key_id,omitempty"` // as the service answered, if it did
	State State  `json:"state,omitempty"`  // as describe-key answered

	// Ciphertext is what a call made, or was given to open.
	Ciphertext []byte `json:"ciphertext,omitempty"`
	// Digest is [DigestOf] the plaintext: of what was sealed, or of what came
	// out. Wanted is the digest that an opening should give.
	Digest string `json:"digest,omitempty"`
	Wanted string `json:"wanted,omitempty"`

	// Age is how old the state is from which a use was answered, as the answer says;
	// zero: it says nothing. Our client does not tell: what it is answered may be of
	// any age that may be.
	Age time.Duration `json:"age,omitempty"`

	// Request is the id that the service gave the request, where its answer came.
	Request string `json:"request,omitempty"`

	// Final marks calls made after the last fault was healed.
	Final bool `json:"final,omitempty"`
}

// DigestOf is the SHA-256 of a plaintext in hex: plaintexts are not recorded.
func DigestOf(plaintext []byte) string {
	sum := sha256.Sum256(plaintext)
	return hex.EncodeToString(sum[:])
}

// mayHaveHappened says whether a write took effect or may have.
func (c *Call) mayHaveHappened() bool {
	return c.Op.Writes() && (c.Outcome == OK || c.Outcome == Unknown)
}

// happenedBy is the latest time at which a write that may have happened did.
func (c *Call) happenedBy() time.Duration {
	if c.Outcome == Unknown {
		return forever
	}
	return c.End
}

const forever = time.Duration(1<<63 - 1)

// leaves is the state in which a write that happened leaves its key.
func (c *Call) leaves() State {
	if c.Op == Disable {
		return Disabled
	}
	return Enabled
}

// String says the call in a line.
func (c *Call) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s, %s] worker %d → %s: %s %s", c.Begin, c.End, c.Worker, orAny(c.Node), c.Op, c.Name)
	if c.Tag != "" {
		fmt.Fprintf(&b, " (tag %s)", c.Tag)
	}
	fmt.Fprintf(&b, ": %s", c.Outcome)
	if c.Age > 0 {
		fmt.Fprintf(&b, " (%s old)", c.Age)
	}
	for _, part := range []string{c.Code, string(c.State), c.KeyID, c.Error} {
		if part != "" {
			b.WriteString(" " + part)
		}
	}
	return b.String()
}

func orAny(node string) string {
	if node == "" {
		return "any node"
	}
	return node
}

// Seen is a key in a listing.
type Seen struct {
	KeyID string `json:"key_id"`
	Name  string `json:"name"`
	Tag   string `json:"tag"`
	State State  `json:"state"`
	// Versions is how many versions of the key the same node listed right after;
	// 0: it was not asked.
	Versions int `json:"versions,omitempty"`
}

// Listing is all keys of the project as one node listed them after the last
// fault was healed and every worker had stopped.
type Listing struct {
	Node  string        `json:"node"`
	Begin time.Duration `json:"begin"`
	End   time.Duration `json:"end"`
	Keys  []Seen        `json:"keys"`
}

// Status is what one process said of its replica.
type Status struct {
	Node      string        `json:"node"`
	PID       int           `json:"pid"`             // one process is one incarnation of the node
	Fresh     int           `json:"fresh,omitempty"` // how often the node had begun anew, with nothing
	Leader    string        `json:"leader,omitempty"`
	Begin     time.Duration `json:"begin"`
	End       time.Duration `json:"end"`
	Term      uint64        `json:"term"`
	Commit    uint64        `json:"commit"`
	Applied   uint64        `json:"applied"`
	StateHash string        `json:"state_hash"` // at Applied
}

// Fault is something that was done to the cluster, from its injection to the
// end of its healing.
type Fault struct {
	Kind   string        `json:"kind"`
	Nodes  []string      `json:"nodes"` // one that was met more than once is named as often
	Begin  time.Duration `json:"begin"`
	End    time.Duration `json:"end"`
	Detail string        `json:"detail,omitempty"`
	// Served is when every node served again; zero: that took too long.
	Served time.Duration `json:"served,omitempty"`
}

// Install is a snapshot that a node got from another and took as its state.
type Install struct {
	Node string        `json:"node"`
	At   time.Duration `json:"at"`
}

// History is what was recorded.
type History struct {
	Calls    []Call
	Entries  []Entry
	Granted  []Call // about leave to use a key; see grants.go
	Listings []Listing
	Statuses []Status
	Faults   []Fault
	Installs []Install
	Traces   []Trace
	Leaks    []Leak
	Delayed  []Delayed
	// MaxAge is how old the state may be from which a use of a key is answered; zero:
	// none may be old.
	MaxAge time.Duration
}

// sort puts everything in order of time.
func (h *History) sort() {
	slices.SortStableFunc(h.Calls, func(a, b Call) int { return cmp.Compare(a.Begin, b.Begin) })
	sortEntries(h.Entries)
	slices.SortStableFunc(h.Granted, func(a, b Call) int { return cmp.Compare(a.Begin, b.Begin) })
	slices.SortStableFunc(h.Listings, func(a, b Listing) int { return cmp.Compare(a.Begin, b.Begin) })
	slices.SortStableFunc(h.Statuses, func(a, b Status) int { return cmp.Compare(a.Begin, b.Begin) })
	slices.SortStableFunc(h.Faults, func(a, b Fault) int { return cmp.Compare(a.Begin, b.Begin) })
	slices.SortStableFunc(h.Installs, func(a, b Install) int { return cmp.Compare(a.At, b.At) })
}

// byName splits the calls into those of each name, in order of time, and
// returns the names sorted.
func (h *History) byName() (names []string, calls map[string][]*Call) {
	calls = make(map[string][]*Call)
	for i := range h.Calls {
		c := &h.Calls[i]
		if calls[c.Name] == nil {
			names = append(names, c.Name)
		}
		calls[c.Name] = append(calls[c.Name], c)
	}
	slices.Sort(names)
	return names, calls
}
