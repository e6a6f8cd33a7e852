package command

import (
	"errors"
	"fmt"

	"github.com/raftkms/raftkms/fsm/canonical"
)

// MaxSize is the largest encoded command in bytes. Larger ones would delay
// Raft's heartbeats, which share their connection.
const MaxSize = 64 << 10

// The sizes, in bytes, of what describes a command rather than its body.
const (
	maxProposalID = 128
	maxCallerText = 128
)

// ErrMalformed is returned for bytes that are not a command, or a command
// larger than allowed. In the log it means that nodes disagree on the format.
var ErrMalformed = errors.New("malformed command")

// ErrUnknownType is returned for a type that this binary does not know.
var ErrUnknownType = errors.New("unknown command type")

// New returns a command of type t with that body, at the feature level that t
// needs. The caller fills in Proposal and Caller; the leader stamps the time.
func New(t Type, body Body) (Command, error) {
	if body.Type() != t {
		return Command{}, fmt.Errorf("%w: a body of type %v in a command of type %v", ErrMalformed, body.Type(), t)
	}
	return Command{Type: t, Level: t.Level(), Body: canonical.MustMarshal(body)}, nil
}

// Encode returns the one encoding of c, at most [MaxSize] bytes.
func Encode(c Command) ([]byte, error) {
	data := canonical.MustMarshal(c)
	if _, err := Decode(data); err != nil {
		return nil, err
	}
	return data, nil
}

// Decode is the inverse of [Encode]. It refuses everything else, with an error
// wrapping [ErrMalformed] or [ErrUnknownType]. The body is decoded by [DecodeBody].
func Decode(data []byte) (Command, error) {
	if len(data) > MaxSize {
		return Command{}, fmt.Errorf("%w: %d bytes", ErrMalformed, len(data))
	}
	var c Command
	if err := canonical.Unmarshal(data, &c); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := c.check(); err != nil {
		return Command{}, err
	}
	return c, nil
}

func (c *Command) check() error {
	needs := c.Type.Level()
	switch {
	case needs == 0:
		return fmt.Errorf("%w: %d", ErrUnknownType, uint16(c.Type))
	case c.Level < needs:
		return fmt.Errorf("%w: level %d of a %v command", ErrMalformed, c.Level, c.Type)
	case c.Proposal.ID == "" || len(c.Proposal.ID) > maxProposalID:
		return fmt.Errorf("%w: a proposal id of %d bytes", ErrMalformed, len(c.Proposal.ID))
	case c.Time < 0 || c.Proposal.First < 0:
		return fmt.Errorf("%w: a time before 1970", ErrMalformed)
	}
	caller := &c.Caller
	for _, text := range [...]string{caller.UserID, caller.CredentialID, caller.ProjectID, caller.Source, caller.NodeID, caller.RequestID} {
		if len(text) > maxCallerText {
			return fmt.Errorf("%w: %d bytes in a field of the caller", ErrMalformed, len(text))
		}
	}
	return nil
}

// Stamp sets the time of an encoded command to now (Unix ms), and the time of
// its first attempt when it has none. The leader does this just before it
// proposes, with the later of its clock and the replicated time: a first
// attempt stamped behind the reply horizon would be refused. It is also where a command from another node is decoded in full,
// so that nothing that apply could not decode gets into the log.
func Stamp(data []byte, now int64) ([]byte, error) {
	c, err := Decode(data)
	if err != nil {
		return nil, err
	}
	if err := c.checkBody(); err != nil {
		return nil, err
	}
	c.Time = now
	if c.Proposal.First == 0 {
		c.Proposal.First = now
	}
	return Encode(c)
}
