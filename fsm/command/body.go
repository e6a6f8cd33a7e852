package command

import (
	"fmt"

	"github.com/raftkms/raftkms/fsm/canonical"
)

// Body is what a command of one type carries: one of the structs of command.go.
type Body interface{ Type() Type }

func (Bootstrap) Type() Type       { return TypeBootstrap }
func (CreateKey) Type() Type       { return TypeCreateKey }
func (EnableKey) Type() Type       { return TypeEnableKey }
func (DisableKey) Type() Type      { return TypeDisableKey }
func (CreateJoinToken) Type() Type { return TypeCreateJoinToken }
func (AdmitNode) Type() Type       { return TypeAdmitNode }
func (ApproveRoots) Type() Type    { return TypeApproveRoots }

// DecodeBody returns the body of a command, which must be of the type that B
// is for; else the error wraps [ErrMalformed].
func DecodeBody[B Body](c Command) (B, error) {
	var body B
	if c.Type != body.Type() {
		return body, fmt.Errorf("%w: a %v command read as %v", ErrMalformed, c.Type, body.Type())
	}
	if err := canonical.Unmarshal(c.Body, &body); err != nil {
		return body, fmt.Errorf("%w: the body of a %v command: %w", ErrMalformed, c.Type, err)
	}
	return body, nil
}

// checkBody decodes the body, whatever the type.
func (c *Command) checkBody() error {
	r := c.Type.row()
	if r == nil {
		return fmt.Errorf("%w: %d", ErrUnknownType, uint16(c.Type))
	}
	return r.check(c)
}
