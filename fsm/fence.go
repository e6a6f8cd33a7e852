package fsm

import "github.com/raftkms/raftkms/fsm/command"

// fence notes the command if it is fenced and was done, and returns what must be
// released before anybody is told of it.
func (c *call) fence(typ command.Type, body command.Body, done bool) uint64 {
	if done && typ.Fenced() {
		project, key := "", ""
		if scoped, ok := body.(command.Scoped); ok {
			project, key = scoped.Scope()
		}
		c.Fenced(c.index, project, key)
		return c.index
	}
	if done && c.caller.Kind == command.CallerUser {
		return c.FenceWithin(c.caller.ProjectID)
	}
	return c.LastFence()
}
